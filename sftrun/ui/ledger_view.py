"""All runs of a ledger as a page sees them: the list, one, several beside each other."""

import threading
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sftrun.errors import LedgerError
from sftrun.run.backend import choose
from sftrun.run.ledger import Ledger
from sftrun.run.listing import find, rows
from sftrun.ui import differences
from sftrun.ui.watched import UNDER_WAY, Watched


class LedgerView:
    """A ledger, and the runs of it that somebody has looked at."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._watched: dict[str, Watched] = {}
        self._lock = threading.Lock()

    def one(self, name: str) -> Watched:
        """The run of an id or a name; RunNotFound, or LedgerError where its files are damaged."""
        return self._opened(find(self.ledger.root, name))

    def overview(self) -> Mapping[str, Any]:
        """The list, the latest first, with how far those are that are under way."""
        listed = rows(self.ledger.root)
        spent = sum((Decimal(row.spent_usd) for row in listed), Decimal(0))
        return {
            "home": str(self.ledger.root),
            "now": time.time(),
            "spent_usd": str(spent),
            "runs": [row._asdict() | self._now(row.id, row.status) for row in listed],
        }

    def compared(self, names: Sequence[str]) -> Mapping[str, Any]:
        """Curves of several runs, and what tells their recipes apart."""
        runs = [self.one(name) for name in dict.fromkeys(names)]
        return {
            "runs": [run.view() for run in runs],
            "differences": differences.between([run.plan for run in runs]),
        }

    def _opened(self, run_id: str) -> Watched:
        with self._lock:
            if run_id not in self._watched:
                folder = self.ledger.folder(run_id)
                self._watched[run_id] = Watched(folder, choose(folder.manifest().executor, self.ledger))
            return self._watched[run_id]

    def _now(self, run_id: str, status: str) -> dict[str, Any]:
        if status not in UNDER_WAY:
            return {}
        try:
            run = self._opened(run_id)
            state = run.state()
        except LedgerError:  # the list says what is wrong with it
            return {}
        spent = state.spent_at(time.time(), run.job.money)
        return {"spent_usd": str(round(spent, 4)), "seconds_left": state.seconds_left, "step": state.step}
