"""Runs a task as a local process through Modal's own container entry point.

Each container has a unix socket of its own (that is how the plane knows who asks), private copies of its Volumes,
a fresh HOME, an environment that holds only what its image and Secrets say, and it is killed with all its children.
"""

import asyncio
import codecs
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from modal_proto import api_pb2

from . import processes
from .apps import layout
from .images import Images
from .sources import Mounts, Secrets
from .state import STDERR, STDOUT, Task, World
from .volumes import Volumes
from .wire import Listener, Router

LAUNCH = Path(__file__).with_name("launch.py")
LINE_END = re.compile(r"(?<=\n)|(?<=\r)(?!\n)")
PIPE_SECONDS = 5.0
KILLED = -signal.SIGKILL
CODE_ROOT = "root"  # Modal mounts source code below /root and starts there


class Containers:
    """The `Launcher` of the scheduler."""

    def __init__(
        self,
        world: World,
        images: Images,
        mounts: Mounts,
        secrets: Secrets,
        volumes: Volumes,
        python: str,
        hide: tuple[str, ...],
    ):
        self.world, self.images, self.mounts, self.secrets, self.volumes = world, images, mounts, secrets, volumes
        self.python, self.hide = python, hide
        self.router: Router | None = None
        self._killed: set[str] = set()

    async def run(self, task: Task) -> int:
        folder = self.world.folder / "containers" / task.id
        sockets = Path(tempfile.mkdtemp(prefix="mp-"))  # a unix socket's path has at most 107 bytes
        assert self.router is not None
        server = Listener(self.router.servable(task))
        try:
            await server.start(path=str(sockets / "plane.sock"))
            await asyncio.sleep(self.world.settings.start_seconds)
            plan = await asyncio.to_thread(self._prepare, task, folder, sockets / "plane.sock")
            return await self._process(task, plan)
        finally:
            await server.end()
            await self.volumes.release(task)
            await asyncio.to_thread(self._clean, task, folder, sockets)

    def interrupt(self, task: Task) -> None:
        """As Modal does: to the main process alone; a trainer below it must be told by its parent."""
        if task.pid:
            with suppress(ProcessLookupError):
                os.kill(task.pid, signal.SIGINT)

    def kill(self, task: Task) -> None:
        self._killed.add(task.id)
        if task.pid and task.is_alive:
            processes.kill_all(task.id, task.pid)

    async def _process(self, task: Task, plan: list[str]) -> int:
        if task.id in self._killed:
            return KILLED
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *plan, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
        )
        task.pid, task.started_at = process.pid, time.time()
        assert process.stdout
        assert process.stderr
        pumps = [self._tell(task, process.stdout, STDOUT), self._tell(task, process.stderr, STDERR)]
        said = asyncio.gather(*pumps)
        if task.id in self._killed:
            self.kill(task)
        code = await process.wait()
        processes.kill_all(task.id, task.pid)  # grandchildren would keep the pipes open
        with suppress(TimeoutError):  # somebody may have cleared its environment and hold them still
            await asyncio.wait_for(said, PIPE_SECONDS)
        process._transport.close()  # type: ignore[attr-defined]
        return code

    async def _tell(self, task: Task, stream: asyncio.StreamReader, source: int) -> None:
        """Whole lines, also those that a progress bar ends with a carriage return."""
        decoder, rest = codecs.getincrementaldecoder("utf-8")("replace"), ""
        while data := await stream.read(1 << 16):
            *lines, rest = LINE_END.split(rest + decoder.decode(data))
            for line in lines:
                self.world.log(line, source, app_id=task.app.id, task=task)
        if rest:
            self.world.log(rest, source, app_id=task.app.id, task=task)

    def _prepare(self, task: Task, folder: Path, socket: Path) -> list[str]:
        """Lay out all that the container needs; the command line that starts it."""
        for name in ("root", "home", "tmp", f"code/{CODE_ROOT}"):
            (folder / name).mkdir(parents=True)
        self.mounts.materialise(task.definition.mount_ids, folder / "code")
        volumes = [
            (
                self._volume_source(task, mount, folder),
                os.path.normpath(mount.mount_path),
                "ro" if mount.read_only else "rw",
            )
            for mount in task.definition.volume_mounts
        ]
        (folder / "arguments").write_bytes(self._arguments(task).SerializeToString())
        prefix = namespace_command()
        binds = volumes + self._extra_binds(task, folder) if prefix else []
        if not prefix:
            for source, target, _ in volumes:
                _link(source, target)
        plan = {
            "root": str(folder / "root") if prefix else "",
            "binds": [(source, _real(target), mode) for source, target, mode in binds],
            "cwd": str(folder / "code" / CODE_ROOT),
            "argv": [self.python, "-m", "modal._container_entrypoint"],
            "env": self._environment(task, folder, socket),
        }
        (folder / "plan.json").write_text(json.dumps(plan))
        return [*prefix, sys.executable, "-I", "-S", str(LAUNCH), str(folder / "plan.json")]

    def _environment(self, task: Task, folder: Path, socket: Path) -> dict[str, str]:
        code = str(folder / "code" / CODE_ROOT)
        settings = self.world.settings
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "PYTHONPATH": code,
            "PYTHONUNBUFFERED": "1",
            **self.images.environment(task.definition.image_id),
            **self.secrets.environment(task.definition.secret_ids),
            **settings.container_env,
            "MODAL_SERVER_URL": f"unix://{socket}",
            "MODAL_TASK_ID": task.id,
            "MODAL_IMAGE_ID": task.definition.image_id,
            "MODAL_IS_REMOTE": "1",
            "MODAL_ENVIRONMENT": settings.environment,
            "MODAL_CLOUD_PROVIDER": "CLOUD_PROVIDER_AWS",
            "MODAL_REGION": "local",
            "MODAL_HEARTBEAT_INTERVAL": str(settings.heartbeat_interval_seconds),
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(folder / "arguments"),
            **(
                {"SFTRUN_TEST_GPU": task.gpu.rstrip("!+"), "SFTRUN_TEST_GPU_COUNT": str(task.gpu_count)}
                if task.gpu
                else {}
            ),
        }

    def _arguments(self, task: Task) -> api_pb2.ContainerArguments:
        return api_pb2.ContainerArguments(
            task_id=task.id,
            function_id=task.function.id,
            app_id=task.app.id,
            function_def=task.definition,
            environment_name=self.world.settings.environment,
            app_layout=layout(self.world, task.app),
        )

    def _volume_source(self, task: Task, mount: api_pb2.VolumeMount, folder: Path) -> str:
        copy = self.volumes.working_copy(mount.volume_id, task, folder / "volumes" / mount.volume_id)
        source = copy.working / mount.sub_path.strip("/")
        source.mkdir(parents=True, exist_ok=True)
        return str(source)

    def _extra_binds(self, task: Task, folder: Path) -> list[tuple[str, str, str]]:
        """Mounted files at their own paths, hidden folders, and the name by which cluster peers find themselves."""
        code, empty = folder / "code", folder / "empty"
        empty.mkdir()
        mounted = [path for top in code.iterdir() for path in (top.iterdir() if top.is_dir() else (top,))]
        binds = [(str(path), "/" + path.relative_to(code).as_posix(), "rw") for path in mounted]
        binds += [(str(empty), path, "rw") for path in self.hide]
        if task.cluster_id:
            hosts = folder / "hosts"
            hosts.write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost i6pn.modal.local\n")
            binds.append((str(hosts), "/etc/hosts", "rw"))
        return binds

    def _clean(self, task: Task, folder: Path, sockets: Path) -> None:
        """A container's own files are gone with it, uncommitted ones too."""
        if not namespace_command():
            for mount in task.definition.volume_mounts:
                _unlink(os.path.normpath(mount.mount_path), folder)
        shutil.rmtree(sockets, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


@cache
def namespace_command() -> tuple[str, ...]:
    """How to get a mount namespace here: as root, as a user, or not at all (then paths are symbolic links)."""
    if os.environ.get("MODAL_PLANE_NO_NAMESPACE"):
        return ()
    for command in (("unshare", "-m"), ("unshare", "-Urm")):
        with suppress(OSError):
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
    return ()


def _real(target: str) -> str:
    """A target below a link of the host (`/var/run`) has to be grafted where the link leads."""
    return os.path.join(os.path.realpath(os.path.dirname(target)), os.path.basename(target))


def _link(source: str, target: str) -> None:
    """Without a namespace: one container at a time may have a path, and its folder must be ours to write."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(target):
        os.unlink(target)
    os.symlink(source, target)


def _unlink(target: str, folder: Path) -> None:
    if os.path.islink(target) and os.readlink(target).startswith(str(folder)):
        os.unlink(target)
