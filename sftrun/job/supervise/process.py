"""The worker as a process: how it is started, what it inherits, and how it ends.

It gets its own session (a terminal's Ctrl-C is for the supervisor), a pipe for its events (libraries print to stdout),
the lock's descriptor, and it asks the kernel to be killed when the supervisor dies (`guard`).
"""

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import sftrun
from sftrun.contract import stopping
from sftrun.contract.jobspec import JobSpec
from sftrun.contract.record_files import LOG

EVENTS = "SFTRUN_EVENTS"
SUPERVISOR = "SFTRUN_SUPERVISOR_PID"
OWN_DESCRIPTORS = "/dev/fd/"
# Quiet and offline where nothing is to be fetched; what the user set himself stands.
DEFAULTS = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "TOKENIZERS_PARALLELISM": "true",
    "PYTORCH_ALLOC_CONF": "expandable_segments:True",
    # OpenMP's threads spin for some 50 us, then sleep: spinning for ever (the default) makes steps ten times as long
    # where another process has the core, not at all (PASSIVE) twice as long where none has
    "GOMP_SPINCOUNT": "20000",
    "PYTHONUNBUFFERED": "1",
    "PYTHONFAULTHANDLER": "1",
}


@dataclass
class Worker:
    """A running worker; `events` is the reading end of its pipe."""

    process: subprocess.Popen[bytes]
    events: int
    log: Path
    log_begin: int

    def kill(self) -> None:
        """End it and all of its processes at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def end(self, seconds: float) -> int:
        """Kill it and wait; one that hangs inside the kernel (a dead network disk) can't be waited for."""
        self.kill()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL


def start(spec: JobSpec, job_file: Path, lock: int | None, deadline: float | None = None) -> Worker:
    """Start the worker; its output goes to `record_dir/worker.log`.

    `deadline`, by the machine's monotonic clock: when it has to stop by itself, should nobody watch it any more.
    """
    log = Path(spec.record_dir) / LOG
    reading, writing = os.pipe()
    try:
        with log.open("ab") as output:
            begin = output.tell()
            process = subprocess.Popen(
                command(spec, job_file),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,) if lock is None else (writing, lock),
                start_new_session=True,
                env=environment(spec, writing) | stopping.by_itself(deadline),
            )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return Worker(process, reading, log, begin)


def command(spec: JobSpec, job_file: Path) -> list[str]:
    """One process, or torchrun's agent with one process a GPU."""
    processes = max(1, spec.gpu_count)
    if processes * spec.nodes > 1:
        agent = [*isolated("sftrun.job.supervise.launch"), f"--nproc-per-node={processes}", f"--nnodes={spec.nodes}"]
        return [*agent, *_rendezvous(spec), "-m", "sftrun.job.train.worker", str(job_file)]
    return [*isolated("sftrun.job.train.worker"), str(job_file)]


def _rendezvous(spec: JobSpec) -> list[str]:
    """torchrun's static one: process 0, which speaks for all, must be on the machine that keeps the record."""
    if spec.cluster is None:
        return ["--standalone"]
    at = spec.cluster
    return [f"--node-rank={at.rank}", f"--master-addr={at.address}", f"--master-port={at.port}"]


def environment(spec: JobSpec, writing: int) -> dict[str, str]:
    """What the worker sees.  The pipe goes by name, so that `launch` can pass it on."""
    return base_environment(spec) | {EVENTS: f"{OWN_DESCRIPTORS}{writing}"}


def base_environment(spec: JobSpec) -> dict[str, str]:
    """What every process beside the model sees."""
    env = DEFAULTS | dict(os.environ)
    env |= {"PYTHONPATH": python_path(), "PYTHONSAFEPATH": "1"}  # the latter for what torchrun starts
    env[SUPERVISOR] = str(os.getpid())
    if spec.cpu_threads:
        env["OMP_NUM_THREADS"] = str(spec.cpu_threads)
    env["CUDA_VISIBLE_DEVICES"] = _visible(spec.gpu_count)
    if spec.gpu_count == 0 and not spec.step.compiled:
        # bitsandbytes decorates with torch.compile: a second of imports, and a C++ compiler at the first step
        env.setdefault("TORCHDYNAMO_DISABLE", "1")
    if not needs_hub(spec):
        env["HF_HUB_OFFLINE"] = "1"
    return env


def python_path() -> str:
    """What a child that runs with -P needs to find this very package, from a checkout too.

    Whole paths alone: an empty or a relative one means the child's working folder, whose files are not ours to run.
    """
    said = [os.path.abspath(part) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    return os.pathsep.join([*said, str(Path(sftrun.__file__).parent.parent)])


def isolated(module: str) -> tuple[str, ...]:
    """The command line of one of our modules.  -P: a `datasets.py` in the working folder is not ours to import."""
    return (sys.executable, "-P", "-m", module)


def _visible(count: int) -> str:
    """The first GPUs of those that this process may use: transformers would split a batch over all that it sees."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = listed.split(",") if listed else [str(index) for index in range(count)]
    return ",".join(names[:count])


def needs_hub(spec: JobSpec) -> bool:
    """Whether the model or the data has to come from the Hub."""
    name = spec.model.name_or_path
    sources = (spec.dataset.train, spec.dataset.eval)
    here = name.startswith("builtin:") or os.path.isabs(name)
    return not here or any(source is not None and source.hub for source in sources)


def guard() -> None:
    """In the worker: die with the one who started it, and say where it hangs when it is asked (`death.where`).

    Called before anything slow is imported.
    """
    import faulthandler

    faulthandler.register(signal.SIGUSR1, all_threads=False)
    die_with_parent()
    parent = os.environ.get(SUPERVISOR)
    if parent is not None and "RANK" not in os.environ and os.getppid() != int(parent):
        os._exit(1)  # it died before the kernel was asked


def die_with_parent() -> None:
    """Ask the kernel for it."""
    import ctypes

    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
