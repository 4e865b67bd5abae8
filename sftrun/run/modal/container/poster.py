"""The job's side of the board: its lines go up while it runs, and a stop that was asked for there is heard."""

import threading
from collections.abc import Callable
from contextlib import suppress

from sftrun.run.modal.board import PAGE, Store, lines_of, page_key, seq_of, stop_key

FLUSH_SECONDS = 1.0


class Poster:
    """Lines go up about once a second, from a thread of its own, so that training never waits for it.

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
        return [line for line in lines_of(text) if seq_of(line) < seq]

    def _put(self) -> None:
        if self._page is not None:
            self._store.put(page_key(self._run_id, self._page[0]), "\n".join(self._page[1]))
