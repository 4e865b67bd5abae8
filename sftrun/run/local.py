"""Runs on this machine: a supervisor in a session of its own, which outlives the command that started it.

Modal's Volumes become folders of the ledger, so that a recipe needs no change to run here.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from sftrun.contract import output_marker, stopping
from sftrun.contract.answers import Answer, Begun
from sftrun.contract.jobspec import JobSpec, MoneySpec
from sftrun.contract.question import Question
from sftrun.disk import outside
from sftrun.disk.commands import make_folder, translated
from sftrun.disk.flock import Holder, holder, send
from sftrun.errors import LedgerError, MissingPackages, RunFailed, SftrunError
from sftrun.facts.machine import machine
from sftrun.facts.values import Machine
from sftrun.job.supervise.answerer import ask
from sftrun.job.supervise.examiner import Done, examine
from sftrun.job.supervise.process import isolated, python_path
from sftrun.plan.assemble import Places, jobspec
from sftrun.plan.check.budget import reserve_seconds
from sftrun.plan.estimate import memory
from sftrun.plan.types import Plan
from sftrun.run import folders
from sftrun.run.billing import Billed
from sftrun.run.ledger import Ledger, RunFolder
from sftrun.run.sessions import kill_session

PACKAGES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")
SUPERVISOR = isolated("sftrun.job.supervise.entry")
INSTALL = "pip install 'sftrun[local]'"
_POLL_SECONDS = 0.02
_TAIL_LINES = 5
_KILL_SECONDS = 5.0


@dataclass(frozen=True)
class Local:
    """The executor `local`."""

    ledger: Ledger
    stops_with_its_terminal: ClassVar[bool] = True
    linger_seconds: ClassVar[float] = 10.0  # a supervisor that has said its last word has things to put away

    def check(self, plan: Plan) -> None:
        missing = missing_packages(needs_bitsandbytes=plan.quantization is not None)
        if missing:
            raise MissingPackages(f"running here needs {', '.join(missing)}", help=INSTALL)

    def job(self, plan: Plan, run_id: str) -> JobSpec:
        root = self.ledger.root
        where = Places(
            record_dir=str(self.ledger.folder(run_id).path),
            cache_dir=str(root / "cache"),
            mounts=folders.mounts(root, plan.recipe.volumes),
        )
        return jobspec(plan, run_id, where, _money(plan))

    def start(self, folder: RunFolder) -> None:
        with translated("start the run", folder.path):
            stopping.clear(folder.path)
            before = _size(folder.events)
        make_folder(Path(folder.job().output_dir).parent)
        process = self._spawn(folder)
        while process.poll() is None:
            who = holder(folder.lock)
            if who is not None and who.pid == process.pid:
                return
            time.sleep(_POLL_SECONDS)
        if _size(folder.events) == before and holder(folder.lock) is None:
            raise _stillborn(folder, process.returncode)

    def holder(self, folder: RunFolder) -> Holder | None:
        return holder(folder.lock)

    def sync(self, folder: RunFolder) -> None:
        """Nothing to bring: the job writes into the folder itself."""

    def sync_log(self, folder: RunFolder) -> None:
        """The worker writes its log into the folder itself."""

    def request_stop(self, folder: RunFolder) -> None:
        with translated("ask for a stop", folder.path):
            stopping.request(folder.path, "user")

    def kill(self, folder: RunFolder) -> None:
        """A second signal makes the supervisor kill its worker and say so; one that doesn't listen is killed itself."""
        who = holder(folder.lock)
        deadline = time.monotonic() + _KILL_SECONDS
        while who is not None:
            if not who.is_here():
                raise _out_of_reach(folder, who)
            if time.monotonic() > deadline:
                return kill_session(who.pid)
            send(who, signal.SIGTERM)
            time.sleep(5 * _POLL_SECONDS)
            who = holder(folder.lock)
        return None

    def about(self, folder: RunFolder) -> tuple[str, ...]:
        return ()

    def ask_billed(self, folder: RunFolder) -> Billed:
        raise SftrunError(
            f"run {folder.id} ran on this machine, for which nobody sends a bill", help="leave --billed out"
        )

    def output_owner(self, folder: RunFolder) -> str | None:
        marker = output_marker.read(folder.job().output_dir)
        return marker.run_id if marker else None

    def download(self, folder: RunFolder, into: Path) -> None:
        output = Path(folder.job().output_dir)
        try:
            shutil.copytree(output, into, dirs_exist_ok=True, ignore=shutil.ignore_patterns("checkpoint-*"))
        except shutil.Error as error:
            raise LedgerError(f"can't copy `{output}`: {error.args[0][0][2]}", help="check the disk") from error

    def evaluate(self, folder: RunFolder, job: JobSpec, done: Done) -> Iterator[Begun | Answer]:
        missing = missing_packages(needs_bitsandbytes=job.quantization is not None)
        if missing:
            raise MissingPackages(f"evaluating here needs {', '.join(missing)}", help=INSTALL)
        require_room(folder.plan(), machine())
        return examine(job, done)

    def answer(
        self, folder: RunFolder, questions: Iterator[Question], *, max_new_tokens: int, temperature: float
    ) -> Iterator[Sequence[str]]:
        missing = missing_packages(needs_bitsandbytes=False)
        if missing:
            raise MissingPackages(f"answering here needs {', '.join(missing)}", help=INSTALL)
        require_room(folder.plan(), machine())
        return ask(folder.job(), questions, max_new_tokens=max_new_tokens, temperature=temperature)

    def _spawn(self, folder: RunFolder) -> subprocess.Popen[bytes]:
        log = folder.path / "supervisor.log"
        with translated("start the run", log), log.open("ab") as output:
            return subprocess.Popen(
                [*SUPERVISOR, str(folder.path / "job.json")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # the events again, as a stream
                stderr=output,
                cwd=folder.path,
                env=os.environ | {"PYTHONPATH": python_path()},
                start_new_session=True,
            )


def _out_of_reach(folder: RunFolder, who: Holder) -> SftrunError:
    """No signal goes to a number that means another process here."""
    at = f"{who.describe(time.time())} is at it" if who.pid else "who is at it has not said where"
    return SftrunError(
        f"run {folder.id} can't be ended from this machine: {at}",
        help=f"`sftrun cancel {folder.id}` without --now reaches it too; or repeat this on `{who.host}`",
    )


def _money(plan: Plan) -> MoneySpec:
    rate, limit = plan.compute.machine_usd_per_second, plan.recipe.budget.max_usd
    return MoneySpec(usd_per_second=rate, max_usd=limit, reserve_seconds=reserve_seconds(plan.cost) if rate else 0.0)


def require_room(plan: Plan, here: Machine) -> None:
    """A model whose weights were sharded over GPUs answers over as many; there may be fewer of them now."""
    needed, gpus = memory.answering_gb(plan), min(plan.compute.gpu_count, here.gpu_count)
    if plan.step.sharding == "fsdp" and needed is not None and needed > gpus * here.gpu_memory_gb:
        has = f"{gpus} × {here.gpu_memory_gb:.0f} GB" if gpus else "no GPU"
        raise RunFailed(
            f"answering takes about {needed:.0f} GB of GPU memory, of which this machine has {has}",
            help="`sftrun pull` the result to a machine that has it",
        )


def missing_packages(*, needs_bitsandbytes: bool) -> list[str]:
    """Packages that a local run needs and this environment has not; found without importing them."""
    needed = (*PACKAGES, "bitsandbytes") if needs_bitsandbytes else PACKAGES
    return [name for name in needed if find_spec(name) is None]


def _stillborn(folder: RunFolder, code: int) -> RunFailed:
    log = folder.path / "supervisor.log"
    lines = outside.read_bytes(log).decode(errors="replace").splitlines()[-_TAIL_LINES:]
    said = "".join(f"\n  | {line}" for line in lines)
    return RunFailed(f"the supervisor of run {folder.id} ended before it began (exit {code}){said}", help=f"see {log}")


def _size(path: Path) -> int:
    return os.stat(path).st_size if path.exists() else 0
