"""What transformers' model types can do, as `tools/breadth.py` found it on tiny models of each: docs/models.md.

The table is of the locked libraries.  A type that is not in it was never tried.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from sftrun.contract.choices import Attention

TABLE: Final = Path(__file__).with_name("capabilities.json")
ATTENTIONS: Final[tuple[Attention, ...]] = ("eager", "sdpa", "varlen")


class Capabilities(NamedTuple):
    """`faults`: name of a trial -> what was found; a trial that went well is not in it."""

    faults: Mapping[str, str]

    @property
    def keeps_rows_apart(self) -> frozenset[Attention]:
        """Kernels under which rows of one sequence do not see each other."""
        if "builds" in self.faults:
            return frozenset()
        return frozenset(name for name in ATTENTIONS if f"apart-{name}" not in self.faults)

    @property
    def has_sdpa(self) -> bool:
        return not {"runs-sdpa", "builds"} & self.faults.keys()


def find(model_type: str) -> Capabilities | None:
    """None where the type was not tried."""
    entry = table().get(model_type)
    return None if entry is None else Capabilities(entry["faults"])


def table() -> Mapping[str, dict[str, dict[str, str]]]:
    """What was found, by type."""
    return _table()["models"]


def has_language_model(model_type: str) -> bool:
    """False where transformers knows the type and loads no causal language model of it."""
    return model_type not in _table()["without_language_model"]


def libraries() -> str:
    """What the table is of, in words."""
    return ", ".join(f"{name} {number}" for name, number in _table()["libraries"].items())


@cache
def _table() -> Mapping[str, Mapping[str, dict[str, dict[str, str]]]]:
    found: Mapping[str, Mapping[str, dict[str, dict[str, str]]]] = json.loads(TABLE.read_text("utf-8"))
    return found
