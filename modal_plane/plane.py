"""The face of the control plane: start it on a folder, point the real client at it, make it misbehave.

    with Plane(tmp_path) as plane:
        subprocess.run([...], env={**os.environ, **plane.client_env()})
        plane.preempt()

All methods may be called from any thread; the plane itself runs on an event loop in a thread of its own.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import modal
from modal_proto import api_pb2

from . import catalogue
from .apps import Apps, Workspace
from .billing import Billing, BillingItem
from .calls import Calls
from .container import Containers
from .faults import Fault, HttpFault
from .functions import Functions
from .images import Images
from .logs import Logs
from .proxy import Wire
from .scheduler import Scheduler
from .settings import Settings
from .shared import Dicts, Queues
from .sources import Mounts, Secrets
from .state import STDERR, STDOUT, Call, Task, World
from .storage import Blobs, ContentStore, Site
from .tasks import Tasks
from .thread import LoopThread
from .volumes import Volumes
from .wire import Listener, Router, Rpc

T = TypeVar("T")
TOKEN = ("ak-laptop", "as-laptop")


class Plane:
    """A workspace of Modal on loopback.

    `folder` keeps Volumes and blobs (a second plane on it finds the Volumes again), `python` is the interpreter of
    the containers, `hide` are paths of the host that containers must not see, such as the checkout.  Any field of
    `Settings` may be given by name and changed later at `plane.settings`.
    """

    def __init__(
        self,
        folder: Path | str,
        token: tuple[str, str] = TOKEN,
        *,
        python: str = sys.executable,
        port: int = 0,
        hide: tuple[Path, ...] = (),
        **settings: Any,
    ) -> None:
        self.folder = Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = Settings(**settings)
        self.token, self._port = token, port
        self.world = World(self.folder, self.settings)
        world, contents = self.world, ContentStore(self.folder / "contents")
        self.blobs, self.images, self.secrets = Blobs(world), Images(world), Secrets(world)
        self.mounts, self.volumes = Mounts(world, self.blobs, contents), Volumes(world, contents)
        self.dicts, self.queues, self.bills = Dicts(world), Queues(world), Billing(world)
        hidden = tuple(str(path) for path in hide)
        self._containers = Containers(world, self.images, self.mounts, self.secrets, self.volumes, python, hidden)
        self.scheduler = Scheduler(world, self._containers)
        apps = Apps(world, self.scheduler)
        services = (
            Workspace(world), apps, self.images, self.mounts, self.secrets, self.blobs, self.volumes, self.dicts,
            self.queues, Functions(world, apps, self.scheduler), Calls(world, self.scheduler),
            Tasks(world, self.scheduler), Logs(world), self.bills,
        )  # fmt: skip
        self.router = self._containers.router = Router(world, services, token)
        self._site = Site(world, self.blobs, contents, self.volumes.folder, lambda: self.router.faults)
        self.thread = LoopThread()
        self._wires: list[Wire] = []
        self._cuts = self._silences = 0

    # -- life -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.thread.start()
        self.thread.do(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.thread.do(self._close())
        self.thread.stop()

    def client_env(self) -> dict[str, str]:
        """What a client needs to find this plane instead of Modal."""
        return {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": self.token[0],
            "MODAL_TOKEN_SECRET": self.token[1],
            "MODAL_ENVIRONMENT": self.settings.environment,
            "MODAL_DISABLE_API_PROXY": "1",
            "MODAL_CONFIG_PATH": str(self.folder / "no-modal.toml"),
        }

    def client(self, token: tuple[str, str] | None = None) -> modal.Client:
        """A client for this process: `with plane.client() as client: app.run(client=client)`."""
        return modal.Client(self.url, api_pb2.CLIENT_TYPE_CLIENT, token or self.token)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._wires[0].port}"

    # -- what there is --------------------------------------------------------------------------------------------

    @property
    def calls(self) -> list[Rpc]:
        """Each RPC that came in, of clients and containers, in order."""
        return self.router.calls

    @property
    def missing(self) -> set[str]:
        """RPCs that somebody asked for and the plane does not have."""
        return self.router.missing

    @property
    def faults(self) -> list[Fault | HttpFault]:
        return self.router.faults

    @property
    def bugs(self) -> list[str]:
        """Tracebacks of the plane's own; a test that ends with one has proven nothing."""
        return self.world.bugs

    @property
    def tasks(self) -> list[Task]:
        """Each container, also those that have ended: GPU received, seconds, exit code, why it ended."""
        return list(self.world.tasks.values())

    def count(self, rpc: str) -> int:
        return sum(1 for each in list(self.calls) if each.name == rpc)

    def output(self, call_id: str = "") -> str:
        """What containers said on stdout and stderr."""
        lines = [
            line
            for line in list(self.world.logs)
            if line.source in (STDOUT, STDERR) and line.task_id in self.world.tasks
        ]
        return "".join(line.text for line in lines if not call_id or line.call_id == call_id)

    def volume(self, name: str) -> Path:
        """The committed folder of a Volume; made when there is none."""
        volume = self.volumes.named(name) or self.thread.run(
            lambda: self.volumes.add(name, api_pb2.VOLUME_FS_VERSION_V2)
        )
        return volume.folder

    def add_secret(self, name: str, values: Mapping[str, str]) -> None:
        self.thread.run(lambda: self.secrets.add(name, dict(values)))

    def wait_until(self, condition: Callable[[], T | None], seconds: float = 1200.0, what: str = "condition") -> T:
        """Poll for a true value; a test's only way to wait."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} not met in {seconds} s; bugs of the plane: {self.bugs}")
            time.sleep(0.01)
        return value

    # -- misbehaviour ---------------------------------------------------------------------------------------------

    def inject(self, name: str, **options: Any) -> None:
        """A fault of `catalogue.CATALOGUE` by its name."""
        catalogue.inject(self, name, **options)

    def preempt(self, call_id: str = "", grace_seconds: float | None = None, rank: int | None = None) -> int:
        """Take the containers away that are working (on that call, or that one of each cluster); how many."""
        grace = self.settings.preemption_grace_seconds if grace_seconds is None else grace_seconds
        return self._each(call_id, lambda task: self.scheduler.preempt(task, grace), rank)

    def out_of_memory(self, call_id: str = "") -> int:
        """SIGKILL to the working containers, as the kernel does."""
        return self._each(call_id, lambda task: self.scheduler.end(task, "out of memory"))

    def kill_containers(self, call_id: str = "", why: str = "", rank: int | None = None) -> int:
        """SIGKILL without a reason that the plane would know."""
        return self._each(call_id, lambda task: self.scheduler.end(task, why), rank)

    def cut_wire(self, seconds: float | None = None) -> None:
        """Break the clients' connections and refuse new ones, for so long or until `mend_wire`."""
        self.thread.do(self._cut())
        if seconds is not None:
            self.thread.later(seconds, partial(self._mend, self._cuts))

    def mend_wire(self) -> None:
        self.thread.do(self._mend(self._cuts))

    def go_silent(self, seconds: float) -> None:
        """Accept, and answer nobody for so long: a hanging network rather than a broken one."""
        self.thread.do(self._silence())
        self.thread.later(seconds, partial(self._speak, self._silences))

    def expire(self, call_id: str) -> None:
        """Forget the result of a call."""
        self.thread.run(lambda: self.scheduler.expire(self.world.calls[call_id]))

    def bill_usage(self, interval: datetime | None = None) -> list[BillingItem]:
        """Enter what containers used into the billing report; see `Billing.bill_usage`."""
        return self.thread.run(lambda: self.bills.bill_usage(interval))

    def working(self, call_id: str = "") -> list[Task]:
        """Containers that have fetched their input and owe its answer."""
        tasks = [task for task in self.world.running_tasks() if task.has_fetched]
        return [task for task in tasks if (call := task.current_call) and call_id in ("", call.id)]

    def find_call(self, call_id: str) -> Call:
        return self.world.calls[call_id]

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self._server = Listener(self.router.servable(None))
        await self._server.start("127.0.0.1", 0)
        sockets = self._server._server.sockets  # type: ignore[union-attr]
        http_port = await self._site.open()
        self._wires = [Wire(sockets[0].getsockname()[1]), Wire(http_port)]
        await self._wires[0].open(self._port)
        await self._wires[1].open()
        self.world.direct_http_url = f"http://127.0.0.1:{http_port}"
        self.world.client_http_url = f"http://127.0.0.1:{self._wires[1].port}"
        self._serving = asyncio.ensure_future(self.scheduler.serve())
        self._serving.add_done_callback(self._scheduler_ended)

    async def _close(self) -> None:
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)
        await self.scheduler.close()
        for wire in self._wires:
            await wire.close()
        await self._site.close()
        await self._server.end()
        await self.router.close()

    def _scheduler_ended(self, serving: "asyncio.Task[None]") -> None:
        if not serving.cancelled() and (error := serving.exception()):
            self.bugs.append(f"the scheduler stopped: {error!r}")

    async def _cut(self) -> None:
        self._cuts += 1
        for wire in self._wires:
            await wire.cut()

    async def _mend(self, cut: int) -> None:
        """Unless it was cut again meanwhile: the longer cut holds."""
        if cut == self._cuts:
            for wire in self._wires:
                await wire.open()

    async def _silence(self) -> None:
        self._silences += 1
        for wire in self._wires:
            wire.silence()

    async def _speak(self, silence: int) -> None:
        if silence == self._silences:
            for wire in self._wires:
                wire.resume()

    def _each(self, call_id: str, act: Callable[[Task], None], rank: int | None = None) -> int:
        def on_all() -> int:
            tasks = [task for task in self.working(call_id) if rank in (None, task.rank)]
            for task in tasks:
                act(task)
            return len(tasks)

        return self.thread.run(on_all)
