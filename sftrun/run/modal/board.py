"""Where a job on Modal shows its events while it runs: pages of lines in a `modal.Dict`, and a place to ask for a stop.

The record is `events.jsonl` on the run's Volume, which others see only after a commit; the board is a view of it, about
a second old, for whoever watches.  A page holds the lines of PAGE sequence numbers, so that nothing that was posted is
ever missed, a watcher reads only what is new, and the whole of a long run fits into a Dict's value limits.
"""

from typing import Protocol

from sftrun.disk import outside

PAGE = 64


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
    """How to reach the run on Modal (`call.Remote`), for those who did not start it."""
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
        found = lines_of(text)
        lines += [line for line in found if seq_of(line) > after]
        if seq_of(found[-1]) % PAGE != PAGE - 1:
            break
        page += 1
    return lines


def lines_of(page: str) -> list[str]:
    """By newlines alone: an answer of a model may hold a character that `splitlines` takes for one."""
    return page.split("\n")


def seq_of(line: str | bytes) -> int:
    """The sequence number of an event's line; 0 of what is none."""
    try:
        seq = outside.parse_object(line).get("seq")
    except outside.Damaged:
        return 0
    return seq if isinstance(seq, int) else 0
