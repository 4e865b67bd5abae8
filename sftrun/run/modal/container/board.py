"""Where a job on Modal shows its events while it runs: pages of lines in a `modal.Dict`, and a place to ask for a stop.

The record is `events.jsonl` on the run's Volume, which others see only after a commit; the board is a view of it, about
a second old, for whoever watches.  A page holds the lines of PAGE sequence numbers, so that nothing that was posted is
ever missed, a watcher reads only what is new, and the whole of a long run fits into a Dict's value limits.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from sftrun.disk import outside

PAGE = 64
FLUSH_SECONDS = 1.0


class Store(Protocol):
    """What of a `modal.Dict` is used."""

    def get(self, key: str, default: str | None = None) -> str | None: ...

    def put(self, key: str, value: str, *, skip_if_exists: bool = False) -> object: ...


def page_key(run_id: str, page: int) -> str:
    return f"{run_id}/{page}"


def stop_key(run_id: str) -> str:
    return f"{run_id}/stop"


def call_key(run_id: str) -> str:
    """The id of the call that trains: left there by the preparing call, then claimed by the call itself."""
    return f"{run_id}/call"


def remote_key(run_id: str) -> str:
    """How to reach the run on Modal (`modal_call.Remote`), for those who did not start it."""
    return f"{run_id}/remote"


def end_key(run_id: str, seq: int) -> str:
    return f"{run_id}/end/{seq}"


def close(store: Store, run_id: str, line: str) -> str:
    """Put down the last word of an attempt that could not say it itself; the first one who does so is right."""
    key = end_key(run_id, seq_of(line))
    if store.put(key, line, skip_if_exists=True):
        return line
    return store.get(key) or line


def read(store: Store, run_id: str, after: int, *, has_ended: bool = False) -> list[str]:
    """The lines with a `seq` above `after`, in order; of a call that has ended also what was said in its
    place (more than once where several could not even begin).

    A board that has been wiped (a Dict forgets what nobody touched for a week) has none of them, or not the first.
    """
    lines = _pages(store, run_id, after)
    last = seq_of(lines[-1]) if lines else after
    while has_ended and (said := store.get(end_key(run_id, last + 1))):
        lines.append(said)
        last += 1
    return lines


def _pages(store: Store, run_id: str, after: int) -> list[str]:
    lines: list[str] = []
    page = (after + 1) // PAGE
    while text := store.get(page_key(run_id, page)):
        found = text.splitlines()
        lines += [line for line in found if seq_of(line) > after]
        if seq_of(found[-1]) % PAGE != PAGE - 1:
            break
        page += 1
    return lines


def seq_of(line: str | bytes) -> int:
    """The sequence number of an event's line; 0 of what is none."""
    try:
        seq = outside.parse_object(line).get("seq")
    except outside.Damaged:
        return 0
    return seq if isinstance(seq, int) else 0


class Board:
    """The job's side: lines go up about once a second, from a thread of its own, so that training never waits for it.

    `on_stop` is called when somebody asks for a stop, until it has once gone well.  A store that does not answer is
    tried again at the next tick; the record on the disk has everything meanwhile.
    """

    def __init__(self, store: Store, run_id: str, on_stop: Callable[[], None]) -> None:
        self._store, self._run_id, self._on_stop = store, run_id, on_stop
        self._waiting: list[str] = []
        self._page: tuple[int, list[str]] | None = None
        self._guard, self._done = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._serve, name="board", daemon=True)
        self._thread.start()

    def post(self, line: str) -> None:
        """Take a line; returns at once."""
        with self._guard:
            self._waiting.append(line)

    def close(self) -> None:
        """Flush what is left."""
        self._done.set()
        self._thread.join(timeout=30 * FLUSH_SECONDS)

    def _serve(self) -> None:
        asked = False
        while not self._done.wait(FLUSH_SECONDS):
            with suppress(Exception):
                self._flush()
                if not asked and self._store.get(stop_key(self._run_id)):
                    self._on_stop()
                    asked = True
        for _ in range(3):
            with suppress(Exception):
                return self._flush()
        return None

    def _flush(self) -> None:
        with self._guard:
            lines = list(self._waiting)
        for line in lines:
            page = seq_of(line) // PAGE
            if self._page is None or self._page[0] != page:
                self._put()
                self._page = (page, self._before(page, seq_of(line)))
            if not self._page[1] or seq_of(self._page[1][-1]) < seq_of(line):  # a flush that failed comes again
                self._page[1].append(line)
        if lines:
            self._put()
        with self._guard:
            del self._waiting[: len(lines)]

    def _before(self, page: int, seq: int) -> list[str]:
        """What an earlier attempt put on the page that this one goes on with."""
        text = self._store.get(page_key(self._run_id, page)) or ""
        return [line for line in text.splitlines() if seq_of(line) < seq]

    def _put(self) -> None:
        if self._page is not None:
            self._store.put(page_key(self._run_id, self._page[0]), "\n".join(self._page[1]))
