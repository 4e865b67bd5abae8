"""One row a run, for ten thousand runs in a blink.

A row is read from a run's manifest and the end of its events.  Rows are kept in `index.json` beside the size and time
of the two files they came from; a row whose files have changed is read anew, so that the index is never a second
truth: delete it and nothing is lost.  The standard library alone: importing pydantic would cost more than the listing.
"""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

from sftrun.contract.executors import executor
from sftrun.contract.record_files import EVENTS, LOCK
from sftrun.disk import outside
from sftrun.disk.commands import write_file
from sftrun.disk.flock import holder
from sftrun.errors import LedgerError, RunNotFound
from sftrun.run.folders import RUN_ID, runs_folder
from sftrun.units import LAST_MOMENT

_TAIL_BYTES = 32768
_FORMAT = 1
_ENDED = ("finished", "stopped", "failed")
Stamp = tuple[int, int, int, int]
_KINDS = (str, str, int | float, str, str, int, int, int | float | None, str, str)  # of a row, behind its id


class Row(NamedTuple):
    """One run in a list; a tuple, as ten thousand of them are made at once.

    `status` is that of `run.state`, or `damaged` with what is wrong in `problem`.
    """

    id: str
    name: str = ""
    status: str = "damaged"
    created: float = 0.0
    executor: str = ""
    model: str = ""
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    spent_usd: str = "0"
    problem: str = ""


def rows(root: Path) -> list[Row]:
    """All runs of a ledger, the latest first."""
    runs = runs_folder(root)
    known = _read_index(root)
    fresh: dict[str, tuple[Stamp, Row]] = {}
    for run_id in _ids(runs):
        stamp = _stamp(f"{runs}/{run_id}")
        old = known.get(run_id)
        fresh[run_id] = old if old is not None and old[0] == stamp else (stamp, _read_row(runs / run_id))
    ended = {run_id: kept for run_id, kept in fresh.items() if kept[1].status in _ENDED}
    if ended != known:
        _write_index(root, ended)
    listed = [row if row.status in _ENDED else _with_life(runs / row.id, row) for _, row in fresh.values()]
    return sorted(listed, key=lambda row: (-row.created, row.id))


def find(root: Path, name: str) -> str:
    """The id of the run that `name` means: an id, a unique prefix of one, or a recipe's name for its latest."""
    listed = rows(root)
    if any(row.id == name for row in listed):
        return name
    if by_name := [row.id for row in listed if row.name == name]:
        return by_name[0]
    begun = [row.id for row in listed if name and row.id.startswith(name)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        shown = ", ".join(begun[:5])
        raise RunNotFound(f"`{name}` begins {len(begun)} runs: {shown}", help="type more of the id")
    raise RunNotFound(f"no run answers to `{name}` in `{root}`", help=_nearest(name, listed))


def _nearest(name: str, listed: Iterable[Row]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, sorted({row.name for row in listed if row.name}), n=1)
    return f"did you mean `{near[0]}`?" if near else "`sftrun runs` lists the runs of this folder"


def _ids(runs: Path) -> list[str]:
    try:
        return [name for name in os.listdir(runs) if RUN_ID.fullmatch(name)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LedgerError(
            f"can't read the ledger `{runs}`: {(error.strerror or '').lower()}",
            help="check who owns it, or set SFTRUN_HOME to a folder of your own",
        ) from error


def _stamp(folder: str) -> Stamp:
    return (*_size_and_time(f"{folder}/run.json"), *_size_and_time(f"{folder}/events.jsonl"))


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (-1, -1)
    return (found.st_size, found.st_mtime_ns)


def _read_row(folder: Path) -> Row:
    try:
        manifest: dict[str, Any] = outside.read_object(folder / "run.json")
        row = Row(
            id=folder.name,
            name=str(manifest["name"]),
            status="starting",
            created=_moment(manifest["created"]),
            executor=str(manifest["executor"]),
            model=str(manifest["model"]),
        )
        return _with_events(row, _last_events(folder / EVENTS))
    except FileNotFoundError as error:
        return Row(id=folder.name, problem=f"{Path(str(error.filename)).name} is missing")
    except OSError as error:
        return Row(id=folder.name, problem=f"can't read it: {(error.strerror or '').lower()}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Row(id=folder.name, problem="run.json or events.jsonl is damaged")


def _moment(value: Any) -> float:
    at = float(value)
    if not 0 <= at <= LAST_MOMENT:
        raise ValueError(at)
    return at


def _count(value: Any) -> int:
    number = int(value)
    if not 0 <= number <= 2**53:
        raise ValueError(number)
    return number


def _money(value: Any) -> str:
    """An amount as it stands; whoever adds it up may take it for one."""
    try:
        is_sum = isinstance(value, str) and 0 <= Decimal(value) <= 10**9
    except InvalidOperation:
        is_sum = False
    if not is_sum:
        raise ValueError(value)
    return str(value)


def _last_events(path: Path) -> list[dict[str, Any]]:
    """The last events, newest first; a torn or foreign line is left out."""
    try:
        with outside.open_file(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _TAIL_BYTES, 0))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    events = []
    for line in reversed(lines if size <= _TAIL_BYTES else lines[1:]):
        with suppress(outside.Damaged):
            event: dict[str, Any] = outside.parse_object(line)
            if "kind" in event:
                events.append(event)
                if event["kind"] in ("step", "started"):
                    break
    return events


def _with_events(row: Row, events: list[dict[str, Any]]) -> Row:
    if not events:
        return row
    last = events[0]
    ended = last["kind"] in _ENDED
    row = row._replace(status=last["kind"] if ended else "running")
    if ended:
        step = _count(last.get("step", 0))
        row = row._replace(spent_usd=_money(last.get("spent_usd", "0")), step=step, total_steps=step)
    logged = events[-1]
    if logged["kind"] == "step":
        at, total, loss = _count(logged["step"]), _count(logged["total_steps"]), float(logged["loss"])
        row = row._replace(step=row.step or at, total_steps=total, loss=loss)
    return row


def _with_life(folder: Path, row: Row) -> Row:
    """Correct the status by who holds the run's lock now."""
    if row.status not in ("starting", "running"):
        return row
    if not executor(row.executor).is_here or holder(folder / LOCK) is not None:
        return row
    return row._replace(status="lost")


def _read_index(root: Path) -> dict[str, tuple[Stamp, Row]]:
    try:
        data: dict[str, Any] = outside.read_object(root / "index.json")
        if data["format"] != _FORMAT:
            return {}
        return {i: (tuple(stamp), _row(i, values)) for i, stamp, values in data["rows"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _row(run_id: str, values: list[Any]) -> Row:
    if len(values) != len(_KINDS) or not all(map(isinstance, values, _KINDS)):
        raise outside.Damaged("holds a row of other values")
    row = Row(run_id, *values)
    return row._replace(created=_moment(row.created), spent_usd=_money(row.spent_usd))


def _write_index(root: Path, fresh: dict[str, tuple[Stamp, Row]]) -> None:
    entries = [[i, stamp, row[1:]] for i, (stamp, row) in fresh.items()]
    with suppress(LedgerError):  # a ledger that can't be written can still be read
        write_file(
            root / "index.json", json.dumps({"format": _FORMAT, "rows": entries}, separators=(",", ":")), durable=False
        )
