"""The ledger: what is kept of every run, as plain files in `.sftrun/` (or where SFTRUN_HOME says).

    runs/<id>/run.json       which run this is: name, identity, generation, when and by whom
              recipe.yaml    the recipe as written
              plan.json      the plan as resolved, with its reasons
              lock.json      packages, model commit, data hash, prices and their date
              job.json       what the job was given
              events.jsonl   what the job said: the record; all else about a run's course is a fold over it
              worker.log     what the worker printed
              remote.json    how to find a run on Modal; build.log, how its image was built
              report.json    the summary of a run that ended, derived from the events
              billed.json    what the provider says that it cost, where somebody has asked
    volumes/<name>/          the local twin of a Modal Volume

A run's folder appears whole, by a rename.  Its id is a hash of the plan's identity and a generation, which `--force`
counts up, so that the same recipe always finds its run again: the oldest identity, which an older release gave it too.
"""

import hashlib
import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from sftrun.contract import record_files
from sftrun.contract.choices import ExecutorName
from sftrun.contract.jobspec import JobSpec
from sftrun.disk import files as disk_files
from sftrun.disk import outside
from sftrun.disk.commands import make_folder, translated, write_file
from sftrun.errors import LedgerError
from sftrun.plan.types import Plan
from sftrun.run.folders import RUN_ID, ledger_folder, runs_folder
from sftrun.strict import Strict
from sftrun.units import LAST_MOMENT

_GAP = 32  # generations that may have been deleted before a later one is missed


class Manifest(Strict):
    """run.json: which run this is."""

    version: Literal[1] = 1
    id: Annotated[str, Field(pattern=f"^{RUN_ID.pattern}$")]
    name: str
    identity: str
    generation: Annotated[int, Field(ge=1, le=2**31)]
    created: Annotated[float, Field(ge=0, le=LAST_MOMENT)]
    user: str
    host: str
    executor: ExecutorName
    model: str
    recipe_file: str
    overrides: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The command line that applies this very recipe again, from the present working folder."""
        file = Path(self.recipe_file)
        shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
        return shlex.join(["sftrun", "apply", str(shown), *(w for o in self.overrides for w in ("--set", o))])


class Lock(Strict):
    """lock.json: what the run rests on outside of the recipe.  The GPU received stands in the events."""

    version: Literal[1] = 1
    packages: dict[str, str]
    model: str
    model_commit: str | None = None
    model_sha256: str | None = None
    adapter: str | None = None
    adapter_sha256: str | None = None
    train_sha256: str | None = None
    eval_sha256: str | None = None
    sources_sha256: dict[str, str | None] = {}
    gpus: tuple[str, ...] = ()
    prices_date: str | None = None
    usd_per_second: str | None = None


Stored = TypeVar("Stored", bound=Strict)


@dataclass(frozen=True)
class RunFolder:
    """One run's files.  Paths only: nothing is read until it is asked for."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def events(self) -> Path:
        return self.path / record_files.EVENTS

    @property
    def log(self) -> Path:
        return self.path / record_files.LOG

    @property
    def build_log(self) -> Path:
        return self.path / "build.log"

    @property
    def lock(self) -> Path:
        return self.path / record_files.LOCK

    def manifest(self) -> Manifest:
        return self.load("run.json", Manifest)

    def plan(self) -> Plan:
        return self.load("plan.json", Plan)

    def job(self) -> JobSpec:
        return self.load("job.json", JobSpec)

    def locked(self) -> Lock:
        return self.load("lock.json", Lock)

    def write(self, files: Mapping[str, str]) -> None:
        """Replace some of the files, each atomically."""
        for name, text in files.items():
            write_file(self.path / name, text)

    def load(self, name: str, kind: type[Stored]) -> Stored:
        """The model in one of the files; LedgerError where it can't be read or is none."""
        path = self.path / name
        try:
            with translated("read", path):
                return outside.read_model(kind, path)
        except outside.Damaged as error:
            raise LedgerError(
                f"`{path}` is damaged: it {error}",
                help=f"restore it, or move `{self.path}` away and apply the recipe again",
            ) from error


@dataclass(frozen=True)
class Ledger:
    """All runs below one folder."""

    root: Path

    @classmethod
    def open(cls) -> "Ledger":
        """The ledger of SFTRUN_HOME, or of the working folder.  It need not exist yet."""
        return cls(ledger_folder())

    @property
    def runs(self) -> Path:
        return runs_folder(self.root)

    def folder(self, run_id: str) -> RunFolder:
        return RunFolder(self.runs / run_id)

    def starting_lock(self, run_id: str) -> Path:
        """Held while a run is being started; it must exist before the run's folder does."""
        return self.root / "locks" / run_id

    def ids(self) -> list[str]:
        """All run ids, in no order; empty where there is no ledger."""
        if not self.runs.exists():
            return []
        with translated("read the ledger", self.runs):
            return [name for name in os.listdir(self.runs) if RUN_ID.fullmatch(name)]

    def latest_generation(self, identity: str) -> int:
        """The highest generation of this identity that has a folder; 0 if there is none."""
        known, latest, generation = set(self.ids()), 0, 1
        while generation <= latest + _GAP:
            latest = generation if run_id(identity, generation) in known else latest
            generation += 1
        return latest

    def create(self, manifest: Manifest, files: Mapping[str, str]) -> RunFolder:
        """Make a run's folder with all its files at once."""
        make_folder(self.runs)
        _ignore_in_git(self.root)
        final = self.folder(manifest.id)
        beside = RunFolder(self.runs / f".new-{manifest.id}-{os.getpid()}")
        try:
            make_folder(beside.path)
            beside.write({**files, "run.json": manifest.model_dump_json(indent=2) + "\n"})
            with translated("write", final.path):
                os.rename(beside.path, final.path)
        except BaseException:
            shutil.rmtree(beside.path, ignore_errors=True)
            raise
        disk_files.flush_names(self.runs)
        return final


def run_id(identity: str, generation: int) -> str:
    """10 hex digits that name a generation of an identity."""
    return hashlib.sha256(f"{identity}{generation}".encode()).hexdigest()[:10]


def _ignore_in_git(root: Path) -> None:
    path = root / ".gitignore"
    if not path.exists():
        write_file(path, "*\n")
