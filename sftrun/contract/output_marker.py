"""`sftrun.json`: which run's result stands in a folder.  The job writes it last; any machine may read it."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict

from sftrun.contract.choices import DataFormat
from sftrun.disk import outside
from sftrun.strict import Strict

MARKER = "sftrun.json"


class OutputMarker(Strict):
    """What stands in it; what a later release adds is passed over.

    `ends`: the tokens that turns were trained to end with; `system`: the system turn that all rows began with;
    `saved_step`: whose weights they are, where that isn't the last step.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore")

    version: Literal[1] = 1
    run_id: str
    name: str
    base_model: str
    revision: str | None
    adapter: bool
    format: DataFormat
    are_conversations: bool = False  # older ones do not say it
    ends: tuple[str, ...] = ()
    system: str | None = None
    step: int
    saved_step: int | None = None
    train_loss: float
    memory_gb: float


def read(folder: str | Path) -> OutputMarker | None:
    """The marker of a folder, or None where no run of ours has ended."""
    try:
        return outside.read_model(OutputMarker, Path(folder) / MARKER)
    except (OSError, outside.Damaged):
        return None


def parse(text: bytes) -> OutputMarker | None:
    """The marker of its text; None for what is none."""
    try:
        return outside.parse_model(OutputMarker, text)
    except outside.Damaged:
        return None
