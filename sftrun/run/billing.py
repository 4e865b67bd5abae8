"""What somebody else says that a run cost, kept beside its record: asked for once, shown from then on.

The run's own count (`spent_usd`) stays what budgets are held by: a bill knows whole hours alone, and comes later.
"""

from decimal import Decimal

from sftrun.disk import outside
from sftrun.run.ledger import RunFolder
from sftrun.strict import Strict

FILE = "billed.json"


class Billed(Strict):
    """The provider's own figure for the hours before `through` (seconds since 1970), before credits."""

    usd: Decimal
    through: float
    asked_at: float


def write(folder: RunFolder, billed: Billed) -> None:
    folder.write({FILE: billed.model_dump_json(indent=2) + "\n"})


def read(folder: RunFolder) -> Billed | None:
    """What was last heard; None where nobody has asked."""
    try:
        return outside.read_model(Billed, folder.path / FILE)
    except (OSError, outside.Damaged):
        return None
