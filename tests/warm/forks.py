"""A `Popen` that starts a Python module as a fork of this process, which has loaded what the module would load.

A start of its own takes three seconds of one core, most of it imports of torch, transformers and TRL; a fork a few
hundredths.  All else is a process as it is: session, descriptors, environment, signals, exit.  What is not a module of
ours, or would see other libraries, is started as ever.
"""

import atexit
import importlib
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

OURS = ("sftrun.job.", "tests.job.")
NEED_NO_LIBRARY = ("sftrun.job.supervise.entry", "tests.job.")
# Variables that the libraries read while they are loaded.  The CUDA runtime can't be forked once it has looked around.
READ_BY_IMPORTS = ("HF_", "TRANSFORMERS_", "TRL_", "TORCHDYNAMO_")
HAS_GPU = Path("/dev/nvidiactl").exists()
READ_WITH_A_GPU = ("CUDA_VISIBLE_DEVICES",) if HAS_GPU else ()
LOADED_WITH = dict(os.environ)
LEAVE = os._exit  # whatever becomes of that one
PATH = [part for part in sys.path if part and part not in os.environ.get("PYTHONPATH", "").split(os.pathsep)]


class Forks(subprocess.Popen[Any]):
    """`subprocess.Popen`, faster for modules of ours."""

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
        *_, c_in, _in, _out, c_out, _err, c_err = rest[:9]
        if not can_fork(args, os.environ if env is None else env):
            super()._execute_child(args, executable, preexec, close, pass_fds, cwd, env, *rest)  # type: ignore[misc]
            return
        is_leader = rest[-2]
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            become(args, env, cwd, (c_in, c_out, c_err), pass_fds, is_leader=is_leader)
        self._child_created = True
        self._close_pipe_fds(c_in, _in, _out, c_out, _err, c_err)  # type: ignore[attr-defined]


def can_fork(command: Any, env: Mapping[str, str]) -> bool:
    """Whether the command is `python -m` with a module of ours whose libraries would be loaded as they were here."""
    module = module_of(command)
    if module is None:
        return False
    return module.startswith(NEED_NO_LIBRARY) or _what_imports_read(env) == _what_imports_read(LOADED_WITH)


def _what_imports_read(env: Mapping[str, str]) -> dict[str, str]:
    names = READ_BY_IMPORTS + READ_WITH_A_GPU
    return {name: value for name, value in env.items() if name.startswith(names)}


def module_of(command: Any) -> str | None:
    """The module of ours that a command line runs."""
    if isinstance(command, (list, tuple)) and command[0] == sys.executable and "-m" in command:
        module = command[command.index("-m") + 1]
        return module if module.startswith(OURS) else None
    return None


def become(
    command: list[str],
    env: Mapping[str, str] | None,
    cwd: str | None,
    streams: tuple[int, int, int],
    kept: Iterable[int],
    *,
    is_leader: bool,
) -> NoReturn:
    """In the forked process: run the command as a fresh interpreter would, and end."""
    code = 1
    try:
        _reset_signals()
        if is_leader:
            os.setsid()
        _take_descriptors(streams, set(kept))
        os.chdir(cwd or ".")
        Path("/proc/self/comm").write_text(str(module_of(command)).rpartition(".")[2])
        _take_environment(env, command)
        _take_threads()
        code = _run(command)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
        LEAVE(code)


def _run(command: list[str]) -> int:
    module, *arguments = command[command.index("-m") + 1 :]
    sys.argv = [module, *arguments]
    sys.modules.pop(module, None)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return _exit_code(end.code)
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    return 0


def _exit_code(given: Any) -> int:
    if given is None or isinstance(given, int):
        return given or 0
    sys.stderr.write(f"{given}\n")
    return 1


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _take_descriptors(streams: tuple[int, int, int], kept: set[int]) -> None:
    """Streams become 0, 1 and 2; of the others only `kept` stay open."""
    beside = [os.dup(own) if given == -1 else os.dup(given) for own, given in enumerate(streams)]
    for own, copy in enumerate(beside):
        os.dup2(copy, own)
    for found in list(map(int, os.listdir("/proc/self/fd"))):
        if found > 2 and found not in kept:
            with suppress(OSError):
                os.close(found)
    for descriptor in kept:
        os.set_inheritable(descriptor, True)


def _take_environment(env: Mapping[str, str] | None, command: list[str]) -> None:
    if env is not None:
        os.environ.clear()
        os.environ.update(env)
    given = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    sys.path[:] = [*([] if "-P" in command else [os.getcwd()]), *given, *PATH]
    importlib.invalidate_caches()
    is_unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False, buffering=1 if is_unbuffered else -1)
    sys.stderr = os.fdopen(2, "w", closefd=False, buffering=1)
    sys.modules.pop("sitecustomize", None)
    with suppress(ModuleNotFoundError):
        importlib.import_module("sitecustomize")


def _take_threads() -> None:
    """torch makes its pool of threads anew after a fork; two threads that ask for it first, at once, find none."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
