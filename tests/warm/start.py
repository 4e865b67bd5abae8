"""Starts processes of the job through a server that has its libraries loaded: as `subprocess.Popen`, but at once."""

import atexit
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sftrun.job.supervise import process
from tests import warm

# Before any test changed it.
AT_FIRST = dict(os.environ)
ROOT = Path(__file__).parent.parent.parent
# As the environment of a worker without a GPU that needs nothing of the Hub (`process.base_environment`).
AS_A_WORKER = process.DEFAULTS | {
    "CUDA_VISIBLE_DEVICES": "",
    "TORCHDYNAMO_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",
}

# What makes torchrun's agent one that forks.
FORKING_AGENT = {"PYTHONPATH": str(ROOT / "tests" / "warm" / "agent"), "TORCHDYNAMO_DISABLE": "1"}


class _Warm(subprocess.Popen[Any]):
    """A process of `python -m MODULE`, which the server forks and waits for."""

    def _execute_child(
        self,
        args: Any,
        executable: Any,
        preexec: Any,
        close: Any,
        pass_fds: Iterable[int],
        cwd: Any,
        env: Any,
        *rest: Any,
    ) -> None:
        assert warm.is_allowed, "a test that starts a job is slow: mark it so"
        *_, c_in, _in, _out, c_out, _err, c_err = rest[:9]
        asked = {"command": args, "env": dict(os.environ if env is None else env), "cwd": str(cwd or os.getcwd())}
        streams = [own if given == -1 else given for own, given in enumerate((c_in, c_out, c_err))]
        self._server = _ask(json.dumps(asked).encode(), streams)
        self._answers = self._server.makefile("r")
        self.pid = int(self._answers.readline())
        self._child_created = True
        self._close_pipe_fds(c_in, _in, _out, c_out, _err, c_err)  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """As `os.waitpid`, of a process that is another's child."""
        if wait_flags & os.WNOHANG and not _has_come(self._server):
            return 0, 0
        with self._server, self._answers:
            return self.pid, int(self._answers.readline())

    def _internal_poll(self, _deadstate: int | None = None, **_: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                pid, code = self._try_wait(os.WNOHANG)
                if pid:
                    self._handle_exitstatus(code)
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode

    def _handle_exitstatus(self, sts: int, **_: Any) -> None:
        self.returncode = sts


# a job on a GPU begins as it does for a user: the server's libraries were told that there is none
HAS_GPU = Path("/dev/nvidia0").exists()
Warm = _Warm if sys.platform == "linux" and not HAS_GPU else subprocess.Popen


def run(command: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    """As `subprocess.run` with what it says in text."""
    with Warm(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _has_come(server: socket.socket) -> bool:
    return bool(select.select([server], [], [], 0)[0])


def _ask(request: bytes, streams: Sequence[int]) -> socket.socket:
    asking = socket.socket(socket.AF_UNIX)
    asking.connect(_server())
    socket.send_fds(asking, [len(request).to_bytes(8, "big")], streams)
    asking.sendall(request)
    return asking


@cache
def _server() -> str:
    """The address of this process's server, which is started once and ends with it."""
    folder = tempfile.mkdtemp(prefix="warm-")
    place = f"{folder}/socket"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen(64)
    env = AT_FIRST | AS_A_WORKER | {"PYTHONPATH": os.pathsep.join((str(ROOT), AT_FIRST.get("PYTHONPATH", "")))}
    command = [sys.executable, "-P", "-m", "tests.warm.server", str(listener.fileno())]
    server = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.PIPE, pass_fds=(listener.fileno(),))
    atexit.register(_end, server, folder)
    listener.close()
    return place


def _end(server: "subprocess.Popen[bytes]", folder: str) -> None:
    server.communicate()
    shutil.rmtree(folder, ignore_errors=True)
