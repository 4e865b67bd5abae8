"""The process that is forked: it loads the libraries, then starts what it is asked to.

    python -m tests.warm.server LISTENER        the descriptor of a bound socket; ends when its stdin does

A request is {"command", "env", "cwd"} with three descriptors; the answer is the process's id, and later its exit code.
"""

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Any

from sftrun.job.supervise import process
from tests.warm.forks import Forks

subprocess.Popen = Forks  # type: ignore[misc]  # before anybody takes it by name

MODULES = (
    "sftrun.job.train.make_trainer", "sftrun.job.train.callbacks", "sftrun.job.train.samples", "sftrun.job.train.save",
    "sftrun.job.train.loading", "sftrun.job.fast.fast_path", "sftrun.job.supervise.supervisor",
    "sftrun.job.prepare.prepared", "sftrun.job.prepare.shards", "sftrun.job.supervise.preparer",
    "bitsandbytes", "transformers.models.qwen2.modeling_qwen2", "torch.distributed.run",
)  # fmt: skip


def main(listener: socket.socket) -> None:
    """Until nobody holds the other end of stdin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who reads the terminal says when it is over
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([listener, 0], [], [])
        if 0 in ready:
            return
        asker, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            attend(asker)
            os._exit(0)
        asker.close()


def attend(asker: socket.socket) -> None:
    """Start one process and stay with it to its end, as its parent."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    asked, streams = receive(asker)
    if process.SUPERVISOR in asked["env"]:
        asked["env"][process.SUPERVISOR] = str(os.getpid())
    started = subprocess.Popen(
        asked["command"], env=asked["env"], cwd=asked["cwd"], stdin=streams[0], stdout=streams[1], stderr=streams[2]
    )
    for own in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), own)
    for descriptor in streams:
        os.close(descriptor)
    _say(asker, started.pid)
    _say(asker, started.wait())


def _say(asker: socket.socket, number: int) -> None:
    """To who may have gone."""
    with suppress(OSError):
        asker.sendall(f"{number}\n".encode())


def receive(asker: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A request's length in a line of its own with the descriptors, then its JSON."""
    head, descriptors, _, _ = socket.recv_fds(asker, 8, 3)
    body, length = b"", int.from_bytes(head, "big")
    while len(body) < length:
        body += asker.recv(length - len(body))
    return json.loads(body), descriptors


def load() -> None:
    """What a job loads, and no thread left over that a fork would miss."""
    import importlib

    gc.disable()  # as the worker does
    for name in MODULES:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    load()
    main(socket.socket(fileno=int(sys.argv[1])))
