"""Read `events.jsonl` while it grows: only whole lines, each once, from where one stopped.

A torn line (its writer was killed in the middle) is skipped and counted; the next attempt begins on a line of its own.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from sftrun.contract.events import AnyEvent, parse
from sftrun.disk import outside
from sftrun.disk.commands import translated

_CHUNK_BYTES = 1 << 20


@dataclass
class Tail:
    """A reading position in a growing file of events.  `offset` stands at the start of a line, always.

    So a torn end may be cut away, and written over, by the next attempt: what was read of it is not remembered.
    """

    path: Path
    offset: int = 0
    skipped: int = 0
    is_torn: bool = False

    def read(self) -> Iterator[AnyEvent]:
        """The events since the last call; none while the file is not there."""
        for line in self._lines():
            event = _understood(line)
            if event is None:
                self.skipped += 1
            else:
                yield event

    def _lines(self) -> Iterator[bytes]:
        while chunk := self._more():
            whole, newline, rest = chunk.rpartition(b"\n")
            self.is_torn = bool(rest)
            if not newline and len(rest) < outside.MAX_BYTES:
                return
            if not newline:  # no event is so long
                self.offset, self.skipped = self.offset + len(rest), self.skipped + 1
                continue
            self.offset += len(whole) + 1
            yield from (line for line in whole.split(b"\n") if line.strip())

    def _more(self) -> bytes:
        """What follows `offset`: some whole lines, unless the file ends within one."""
        with translated("read the events", self.path):
            try:
                with outside.open_file(self.path) as file:
                    self.offset = min(self.offset, file.seek(0, os.SEEK_END))
                    file.seek(self.offset)
                    chunk = file.read(_CHUNK_BYTES)
                    return chunk if b"\n" in chunk else chunk + file.readline(outside.MAX_BYTES)
            except FileNotFoundError:
                return b""


def _understood(line: bytes) -> AnyEvent | None:
    try:
        return parse(line)
    except ValidationError:
        return None
