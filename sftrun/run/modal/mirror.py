"""The run's folder as a mirror of its record on Modal: new lines once and in order, and a true last word.

A call may end without one (ended at once, a container that crashed too often, an image that can't import the job):
what Modal says of it is then put down as the event that the job would have written, on the board where every watcher
and the next attempt find it.
"""

import os
import time

import modal

from sftrun.contract import events
from sftrun.contract.events import AnyEvent, Failed, Stopped
from sftrun.contract.record_files import EVENTS, LOG
from sftrun.disk import outside
from sftrun.disk.flock import exclusive
from sftrun.errors import RemoteError
from sftrun.run.ledger import RunFolder
from sftrun.run.modal import board, call
from sftrun.run.modal.call import Answer, Remote
from sftrun.run.modal.handover import REFUSED, JobCrashed
from sftrun.run.modal.wire_errors import redacted
from sftrun.run.state import RunState, fold
from sftrun.run.tail import Tail

_TAIL_BYTES = 1 << 18


def take(folder: RunFolder, known: Remote) -> None:
    """Append what is new on the board; the Volume's record fills a gap."""
    with exclusive(folder.path / "sync-lock"):
        after = last_seq(folder)
        lines = board.read(call.board(), folder.id, after)
        if [board.seq_of(line) for line in lines] != list(range(after + 1, after + 1 + len(lines))):
            lines = _from_volume(known, after) or lines
        _append(folder, lines)


def settle(folder: RunFolder, known: Remote, answer: Answer) -> None:
    """The call has ended: read all that there is, then see to it that the record ends with a word."""
    with exclusive(folder.path / "sync-lock"):
        _append(folder, board.read(call.board(), folder.id, last_seq(folder), has_ended=True))
        recorded = _from_volume(known, 0)
        if answer.end == "forgotten" and not recorded:
            raise _not_here(folder.id, known)
        after = last_seq(folder)
        _append(folder, [line for line in recorded if board.seq_of(line) > after])
        fetch_log(folder, known)
        state = fold(Tail(folder.events).read())
        if state.outcome is None or state.outcome.seq <= known.since:
            _append(folder, [_said_for_it(folder, state, last_word(state, answer))])
        known = call.read(folder) or known
        call.write(folder, known.model_copy(update={"settled": True, "said": answer.said or None}))


def _not_here(run_id: str, known: Remote) -> RemoteError:
    return RemoteError(
        f"Modal knows neither the call nor the record of run {run_id} here; its page is {known.dashboard}",
        help="use the token and the environment that it was started with; it is only found there",
    )


def never_began(folder: RunFolder, message: str, help: str | None) -> None:
    """Nothing runs, and this is why: for a start that was refused."""
    with exclusive(folder.path / "sync-lock"):
        state = fold(Tail(folder.events).read())
        event = Failed(failure="error", stage="start", message=redacted(message), help=help)
        _append(folder, [_said_for_it(folder, state, event)])


def renew(folder: RunFolder, known: Remote) -> None:
    """Before another attempt: the mirror may not be ahead of the record that the attempt will go on with."""
    with exclusive(folder.path / "sync-lock"):
        lines = _from_volume(known, 0)
        last = board.seq_of(lines[-1]) if lines else 0
        more = board.read(call.board(), folder.id, last, has_ended=True)
        if more and board.seq_of(more[0]) == last + 1:
            lines += more
        text = "".join(f"{redacted(line)}\n" for line in lines)
        if lines and folder.events.exists() and folder.events.read_text() != text:
            folder.write({EVENTS: text})


def last_word(state: RunState, answer: Answer) -> Stopped | Failed:
    """What the job would have said of its end."""
    checkpoint = state.checkpoint.path if state.checkpoint else None
    spent = state.spent_usd
    match answer.end:
        case "cancelled":
            return Stopped(reason="user", step=state.step, checkpoint=checkpoint, spent_usd=spent)
        case "timeout":
            return Stopped(reason="timeout", step=state.step, checkpoint=checkpoint, spent_usd=spent)
    return failure(state, answer).model_copy(update={"spent_usd": spent})


def failure(state: RunState, answer: Answer) -> Failed:
    """Modal's reason in our words."""
    stage, said = state.stage or "start", answer.said or "no reason given"
    if isinstance(answer.error, ImportError):
        package = (getattr(answer.error, "name", None) or "?").split(".")[0]
        help = f"add `{package}` to `compute.image.pip`"
        return Failed(failure="package", stage="start", message=f"the image lacks `{package}`: {said}", help=help)
    if isinstance(answer.error, JobCrashed):
        return Failed(failure="error", stage=stage, message=said, help="see `sftrun logs`, then apply it again")
    resume = "apply it again: it goes on from its last checkpoint" if state.checkpoint else "apply it again"
    match answer.end:
        case "returned":
            if isinstance(answer.value, str) and answer.value.startswith(REFUSED):
                return _refusal(answer.value.removeprefix(REFUSED))
            message = "the job's container ended without a word" if state.seq else f"it did not begin: {answer.value}"
            return Failed(failure="error", stage=stage, message=message, help=resume)
        case "expired" | "forgotten":
            return Failed(failure="killed", stage=stage, message=f"Modal no longer knows its end: {said}", help=resume)
        case "never_began":
            return Failed(failure="error", stage="start", message=f"its container did not start: {said}", help=resume)
        case _:
            kind: events.FailureKind = "out_of_memory" if "out of memory" in said else "killed"
            help = f"raise `compute.memory`, then {resume}" if kind == "out_of_memory" else resume
            return Failed(failure=kind, stage=stage, message=f"its container failed: {said}", help=help)


def _refusal(said: str) -> Failed:
    try:
        return outside.parse_model(Failed, redacted(said))
    except outside.Damaged:
        return Failed(
            failure="error", stage="start", message=f"it did not begin: {redacted(said)}", help="apply it again"
        )


def last_seq(folder: RunFolder) -> int:
    """The number of the last whole event in the mirror; 0 for none.  A line that is no event is passed over."""
    try:
        with folder.events.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            whole = file.read().rpartition(b"\n")[0].split(b"\n")
    except FileNotFoundError:
        return 0
    return next((seq for line in reversed(whole) if (seq := board.seq_of(line))), 0)


def _said_for_it(folder: RunFolder, state: RunState, event: AnyEvent) -> str:
    spent = state.spent_at(state.active_at, folder.job().money)
    stamped = event.model_copy(update={"seq": last_seq(folder) + 1, "at": time.time(), "spent_usd": spent})
    return board.close(call.board(), folder.id, events.dump(stamped))


def _append(folder: RunFolder, lines: list[str]) -> None:
    """What a watcher that was killed has left torn at the end is cut away first."""
    if not lines:
        return
    with folder.events.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        file.truncate(size - len(file.read().rpartition(b"\n")[2]))
        # a library may have printed a token: the Volume is the user's own, this folder may be shown around
        file.write("".join(f"{redacted(line)}\n" for line in lines).encode())


def fetch_log(folder: RunFolder, known: Remote) -> None:
    """The worker's output, as far as it was committed."""
    try:
        text = b"".join(call.volume(known.volume).read_file(f"{known.record}/{LOG}"))
    except (FileNotFoundError, modal.exception.NotFoundError):
        return
    folder.write({LOG: redacted(text.decode(errors="replace"))})


def _from_volume(known: Remote, after: int) -> list[str]:
    try:
        data = b"".join(call.volume(known.volume).read_file(f"{known.record}/{EVENTS}"))
    except (FileNotFoundError, modal.exception.NotFoundError):
        return []
    whole = data.rpartition(b"\n")[0].split(b"\n")
    return [line.decode() for line in whole if board.seq_of(line) > after]
