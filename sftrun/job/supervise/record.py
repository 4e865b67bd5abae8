"""`events.jsonl`, the truth about a run: appended by the supervisor alone, read whole once at its start.

A line counts when its newline is there and it parses.  What a crash left torn at the end is cut away, and said.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from pydantic import ValidationError

from sftrun.contract import events
from sftrun.contract.events import AnyEvent
from sftrun.contract.jobspec import MoneySpec
from sftrun.contract.record_files import EVENTS

DURABLE = (events.Started, events.Checkpoint, events.Finished, events.Stopped, events.Failed)


@dataclass
class Past:
    """What earlier attempts left behind."""

    last_seq: int = 0
    attempts: int = 0
    device: str | None = None
    spent_usd: Decimal = Decimal(0)  # as the last attempt that could say it counted, at the prices of its time
    seconds: float = 0.0  # since then: of attempts that were cut off, from stage `start` to their last event
    reached_save: bool = False
    rows_to_ask: int = 0
    tuned_answers: int = 0
    finished: events.Finished | None = None
    checkpoint: events.Checkpoint | None = None
    torn_bytes: int = 0
    began_at: float = 0.0
    last_at: float = 0.0

    @property
    def is_evaluated(self) -> bool:
        """Whether the tuned model has answered all that it was asked."""
        return 0 < self.rows_to_ask <= self.tuned_answers


@dataclass
class Record:
    """The open file.  `append` stamps, writes, and flushes to the disk what must outlive a power cut."""

    path: Path
    past: Past = field(default_factory=Past)

    def __post_init__(self) -> None:
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.past, self._end = _read(self.path)
        if self.past.torn_bytes:
            os.ftruncate(self._file, self._end)
        self.seq = self.past.last_seq

    def append(self, event: AnyEvent, at: float) -> tuple[AnyEvent, str]:
        """The event with its number and time, and its line; raises OSError, leaving no half line."""
        event = event.model_copy(update={"seq": self.seq + 1, "at": at})
        line = events.dump(event)
        self._write((line + "\n").encode(), durable=isinstance(event, DURABLE))
        self.seq += 1
        return event, line

    def close(self) -> None:
        os.close(self._file)

    def _write(self, data: bytes, *, durable: bool) -> None:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            if durable:
                os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(data)


def parse_line(line: bytes) -> AnyEvent | None:
    """The event, or None for what is no event of ours."""
    try:
        return events.parse(line)
    except ValidationError:
        return None


def has_answered(folder: str, prompts: Sequence[str]) -> bool:
    """Whether the base model has answered all of these in an attempt before: its answers are no others now."""
    path = Path(folder, EVENTS)
    found = map(parse_line, path.read_bytes().splitlines()) if path.exists() else ()
    asked = {
        event.index: event.prompt for event in found if isinstance(event, events.Sample) and event.when == "before"
    }
    return [asked.get(index) for index in range(len(prompts))] == list(prompts)


def _read(path: Path) -> tuple[Past, int]:
    """What stands there, and the length of its whole part.  A bad line in the middle is left alone: only ends tear."""
    past, whole, size = Past(), 0, 0
    with path.open("rb") as file:
        for line in file:
            size += len(line)
            event = parse_line(line) if line.endswith(b"\n") else None
            if event is not None:
                whole = size
                _fold(past, event)
    past.torn_bytes = size - whole
    past.seconds += past.last_at - past.began_at
    return past, whole


def _fold(past: Past, event: AnyEvent) -> None:
    match event:
        case events.Stage(name="start"):
            past.seconds += past.last_at - past.began_at
            past.began_at = past.last_at = event.at
        case events.Started():
            past.attempts += 1
            past.device = event.device
            past.finished = None
        case events.Stage(name="save"):
            past.reached_save = True
        case events.Finished() | events.Stopped() | events.Failed():
            past.finished = event if isinstance(event, events.Finished) else past.finished
            past.spent_usd, past.seconds = max(past.spent_usd, event.spent_usd), 0.0
            past.began_at = past.last_at = event.at
        case events.Asking():
            past.rows_to_ask = event.rows
        case events.Answered():
            past.tuned_answers += event.answer.model == "tuned"
        case events.Checkpoint():
            past.checkpoint = event
    past.last_seq = max(past.last_seq, event.seq)
    if not isinstance(event, events.Note):  # it may be the next supervisor's, said when an attempt is long over
        past.last_at = max(past.last_at, event.at)  # a clock that is set back takes no time away


def spent(past: Past, money: MoneySpec) -> Decimal:
    """Money of earlier attempts: what the plan knew, or what the record shows if that is more."""
    since = Decimal(str(round(past.seconds, 3))) * money.rate(past.device)
    return max(money.spent_usd, past.spent_usd + since)
