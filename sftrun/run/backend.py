"""What an executor must be able to do.  The rest of a run (start, record, fold, stop) is the same everywhere.

A run's events are always read from its folder: an executor whose job is elsewhere brings them there in `sync`.
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

from sftrun.contract.answers import Answer, Begun
from sftrun.contract.executors import executor
from sftrun.contract.jobspec import JobSpec
from sftrun.contract.question import Question
from sftrun.disk.flock import Holder
from sftrun.job.supervise.examiner import Done
from sftrun.plan.types import Plan
from sftrun.run.billing import Billed
from sftrun.run.ledger import Ledger, RunFolder


class Backend(Protocol):
    """One executor.

    `stops_with_its_terminal`: Ctrl-C while watching asks for a stop, as of a program that runs here; otherwise it
    detaches.  `linger_seconds`: how long a holder may stay after a run's last word; one who stays longer is stuck.
    """

    @property
    def stops_with_its_terminal(self) -> bool: ...

    @property
    def linger_seconds(self) -> float: ...

    def check(self, plan: Plan) -> None:
        """Raise an SftrunError if `plan` can't be started here at all; before anything is written."""

    def job(self, plan: Plan, run_id: str) -> JobSpec:
        """The job's spec with the paths of the job's machine."""

    def start(self, folder: RunFolder) -> None:
        """Start the job of `folder` and return once it holds the run's lock (or has already ended)."""

    def holder(self, folder: RunFolder) -> Holder | None:
        """Who supervises the run now; None if nobody does."""

    def sync(self, folder: RunFolder) -> None:
        """Bring what is new of the events into the folder."""

    def sync_log(self, folder: RunFolder) -> None:
        """Bring what the worker printed into the folder."""

    def request_stop(self, folder: RunFolder) -> None:
        """Ask for a stop at the next step, with a checkpoint."""

    def kill(self, folder: RunFolder) -> None:
        """End the job at once; what came after the last checkpoint is lost."""

    def about(self, folder: RunFolder) -> tuple[str, ...]:
        """What only the executor knows of the run, as lines for a person; often nothing."""

    def ask_billed(self, folder: RunFolder) -> Billed:
        """The provider's own figure of what the run cost; raises an SftrunError where there is none."""

    def output_owner(self, folder: RunFolder) -> str | None:
        """The id of the run whose adapter stands in this run's output folder; None if there is none."""

    def download(self, folder: RunFolder, into: Path) -> None:
        """Copy the output folder's files into `into`."""

    def evaluate(self, folder: RunFolder, job: JobSpec, done: Done) -> Iterator[Begun | Answer]:
        """The rows of `job.evaluation` asked of base and tuned model: their number, then each answer as it comes."""

    def answer(
        self, folder: RunFolder, questions: Iterator[Question], *, max_new_tokens: int, temperature: float
    ) -> Iterator[Sequence[str]]:
        """(base's answer, tuned model's answer) to each question, as they come."""


def choose(name: str, ledger: Ledger) -> Backend:
    """The backend of the recipe's `compute.executor`; what it needs is imported only where it is asked for."""
    module, _, kind = executor(name).backend.partition(":")
    backend: Backend = getattr(import_module(module), kind)(ledger)
    return backend
