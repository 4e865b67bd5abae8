"""How far a transfer is: a bar over itself on a terminal, a line now and then elsewhere, neither for what is short.

Modal's client reports each piece from a thread of its own.
"""

import sys
import time
from collections.abc import Callable
from typing import TextIO

from sftrun.units import age

PATIENCE_SECONDS = 2.0
REDRAW_SECONDS = 0.1
LINE_SECONDS = 10.0
WIDTH = 24
Say = Callable[[str], None]


class Transfer:
    """A context manager; `done` says in the past tense what is done (`uploaded`, `pulled`), `total` is in bytes."""

    def __init__(
        self, done: str, total: int, say: Say, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.moved = 0
        self._done, self._total, self._say, self._clock = done, total, say, clock
        self._stream = stream or sys.stderr
        self._has_bar = self._stream.isatty()
        self._began = clock()
        self._shown_at = self._began + PATIENCE_SECONDS - (REDRAW_SECONDS if self._has_bar else LINE_SECONDS)
        self._is_drawn = False

    def __enter__(self) -> "Transfer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._is_drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
        seconds = self._clock() - self._began
        if kind is None and seconds >= PATIENCE_SECONDS:
            self._say(f"{self._done} {self.moved / 1e6:,.1f} MB in {age(seconds)}, {self._rate(seconds)}")

    def move(self, *_: object, advance: float = 0.0, **__: object) -> None:
        """Modal's client calls this for each piece, with a negative one for what has to be sent again."""
        self.moved += int(advance)
        now = self._clock()
        if now - self._shown_at < (REDRAW_SECONDS if self._has_bar else LINE_SECONDS):
            return
        self._shown_at = now
        whole, rate = f"{self._total / 1e6:,.1f} MB", self._rate(now - self._began)
        if self._has_bar:
            self._is_drawn = True
            share = min(max(self.moved, 0) / max(self._total, 1), 1.0)
            bar = "━" * round(share * WIDTH) + " " * (WIDTH - round(share * WIDTH))
            self._stream.write(f"\r\x1b[K  {bar} {share:4.0%} of {whole}, {rate}")
            self._stream.flush()
        else:
            self._say(f"{self._done} {self.moved / 1e6:,.1f} of {whole}, {rate}")

    def _rate(self, seconds: float) -> str:
        return f"{self.moved / max(seconds, 0.001) / 1e6:,.1f} MB/s"
