"""Values of a row as JSON has them: what counts as none, and how one is shown."""

import json
import math
from typing import Any

Row = dict[str, Any]


def is_absent(value: object) -> bool:
    """Whether a value says that there is none: null, or the NaN that tables have for it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def says_nothing(text: str) -> bool:
    """Whether a text is white space, and what has no width."""
    return not text.strip().strip("\u200b\u200c\u200d\u2060\ufeff \n")


def listed(value: object) -> Any:
    """A list as it stands, or as JSON text has it, which is all that a cell of a CSV file can hold."""
    if is_absent(value) or value == "":
        return None
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def shown(value: object) -> str:
    """A value in few words, as JSON has it."""
    text = json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace").decode()
    return f"`{text}`" if len(text) <= 50 else f"`{text[:47]}...`"


def group_of(row: Row, column: str | None) -> str | None:
    """What the row has in that column, as a word; None without a column, or where there is nothing."""
    value = row.get(column) if column is not None else None
    return None if is_absent(value) or value == "" else str(value)
