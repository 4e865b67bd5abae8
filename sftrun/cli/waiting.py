"""A bar for what may take long: on stderr, for people, and only once it has taken a second."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

PATIENCE_SECONDS = 1.0
_PARTS = 1000


@contextmanager
def bar(label: str = "reading rows") -> Iterator[Callable[[int, int], None] | None]:
    """Yields what to tell (done, whole) to; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    began = time.monotonic()
    shown = click.progressbar(length=_PARTS, label=label, file=sys.stderr)
    entered = False

    def tell(done: int, whole: int) -> None:
        nonlocal entered
        if not entered and time.monotonic() - began < PATIENCE_SECONDS:
            return
        if not entered:
            shown.__enter__()
            entered = True
        shown.update(round(_PARTS * done / max(whole, 1)) - shown.pos)

    try:
        yield tell
    finally:
        if entered:
            shown.__exit__(None, None, None)
