"""What a line of a data file comes to: a row, none, or why there is none."""

from typing import Literal, NamedTuple

from sftrun.rows.plain import Row


class Broken(NamedTuple):
    """A line that holds no row, and why.  `line` counts from 1; of .json and .parquet it is the entry's number."""

    file: str
    line: int
    kind: Literal["syntax", "form"]
    message: str
    column: int = 1


Line = tuple[int, Row | Broken | None]
