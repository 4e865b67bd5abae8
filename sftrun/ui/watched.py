"""One run as a page sees it: its events read once, what is new of them each time somebody looks."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sftrun.recipe.secrets import mask
from sftrun.report.show import figures
from sftrun.report.show.progress import stage_words
from sftrun.report.summary import report
from sftrun.run import billing
from sftrun.run.backend import Backend
from sftrun.run.execute import seen_now
from sftrun.run.ledger import RunFolder
from sftrun.run.lost import explain_loss
from sftrun.run.state import RunState, advance
from sftrun.run.tail import Tail
from sftrun.ui.curves import Curves

LOG_BYTES: Final = 16_384
LOG_LINES: Final = 100
SYNC_SECONDS: Final = 3.0
UNDER_WAY: Final = ("running", "starting")


class Watched:
    """A run's files, kept open in mind; several threads may look at once."""

    def __init__(self, folder: RunFolder, backend: Backend) -> None:
        self.folder, self.backend = folder, backend
        self.manifest, self.plan, self.job = folder.manifest(), folder.plan(), folder.job()
        self._tail, self._state, self._curves = Tail(folder.events), RunState(), Curves()
        self._synced, self._lock = 0.0, threading.Lock()

    def state(self) -> RunState:
        """How the run stands now."""
        with self._lock:
            self._bring()
            for event in self._tail.read():
                self._state = advance(self._state, event)
                self._curves.hear(event, self._state, self.job.money)
            return seen_now(self._state, self.folder, self.backend)

    def view(self) -> Mapping[str, Any]:
        """All that the page of the run shows, as JSON has it."""
        state = self.state()
        made = report(self.manifest, self.plan, state, self.job.output_dir, billing.read(self.folder), self.job.money)
        now = time.time()
        return {
            "report": made.model_dump(mode="json", exclude={"loss", "evals"}),
            "under_way": state.status in UNDER_WAY,
            "stage": stage_words(state.stage) if state.stage else "",
            "seconds": state.seconds_at(now) if state.status in UNDER_WAY else state.seconds,
            "seconds_left": state.seconds_left if state.status == "running" else None,
            "usd": str(round(state.spent_at(now, self.job.money), 4)),
            "usd_expected": str(self.plan.cost.job_usd[1]) if self.plan.cost else None,
            "why": explain_loss(self.folder, state) if state.status == "lost" else "",
            "again": self.manifest.command,
            "created": self.manifest.created,
            "curves": self._curves.columns(),
            "log": self._log(),
            "recipe": mask((self.folder.path / "recipe.yaml").read_text("utf-8", "replace")),
            "decisions": [decision.model_dump(mode="json") for decision in self.plan.decisions],
        }

    def _bring(self) -> None:
        """What a job elsewhere has said since, now and then."""
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self.backend.sync(self.folder)
            if self._state.outcome is None:
                self.backend.sync_log(self.folder)
            self._synced = time.monotonic()

    def _log(self) -> list[str]:
        """The last lines of the worker's output."""
        return [figures.printable(mask(line)) for line in _last_lines(self.folder.log)]


def _last_lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - LOG_BYTES, 0))
            lines = file.read().decode("utf-8", "replace").rstrip("\n").split("\n")
    except OSError:
        return []
    # a progress bar rewrites its line: what it said last is what stands
    return [line.rpartition("\r")[2] for line in lines[size > LOG_BYTES :]][-LOG_LINES:]
