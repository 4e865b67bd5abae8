"""What runs in Modal's container: the supervisor, with a Volume to commit and a board to post on.

Imported where click, rich and ruamel are not.  `execute` is reentrant: Modal starts the same input again after a
preemption or a retry, and the supervisor goes on from the last committed checkpoint.
"""

import errno
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import modal

from sftrun.contract import events, stopping
from sftrun.contract.events import AnyEvent
from sftrun.contract.jobspec import JobSpec
from sftrun.contract.record_files import EVENTS
from sftrun.disk import files, outside
from sftrun.errors import RunBusy
from sftrun.job.supervise import checkpoints
from sftrun.job.supervise.entry import supervise
from sftrun.run.modal.board import call_key, read, remote_key, seq_of
from sftrun.run.modal.container import cluster, fetch
from sftrun.run.modal.container.poster import Poster
from sftrun.run.modal.handover import REFUSED, JobCrashed, Order

COMMIT_TRIES = 4
BUSY = 6
# a new container may help with these; with the others it would only cost the same again
_WORTH_A_RETRY = {"killed", "stalled", "error"}


class NextAttemptError(JobCrashed):
    """Raised so that Modal's retry starts the next attempt; the checkpoint is committed."""


Verdict = Literal["done", "again", "taken"]


def execute(text: str) -> int:
    """Run or resume the job of an `Order`; the exit code of the supervisor."""
    began = time.monotonic()
    order = outside.parse_model(Order, text)
    machines = cluster.here(_dict(order)) if order.job.nodes > 1 else None
    if machines is not None and machines.rank > 0:
        return cluster.follow(order.job, machines, _volume(order, order.volume).reload)
    try:
        return _execute(order, began, machines) if _claim(order) else BUSY
    except JobCrashed:
        raise
    except RunBusy:
        return BUSY
    except Exception as error:
        raise JobCrashed(f"{type(error).__name__}: {error}") from None
    finally:
        if machines is not None:
            machines.dismiss()


def _execute(order: Order, began: float, machines: cluster.Cluster | None) -> int:
    record, store = Path(order.job.record_dir), _dict(order)
    record.mkdir(parents=True, exist_ok=True)
    stopping.clear(record)  # before the board is read, which hears of a new one but once
    lost = recover(record, read(store, order.job.run_id, _last_seq(record), has_ended=True))
    _describe(order, record)
    forget_unrecorded(order.job, _events(record))
    board = Poster(store, order.job.run_id, lambda: stopping.request(record, "user"))
    volume = _volume(order, order.volume)
    for line in lost:
        board.post(line)  # what was said in the place of an attempt stands on no page yet
    try:
        job = _shortened(order.job, time.monotonic() - began)
        code = _supervise(job, board, volume, machines)
    finally:
        board.close()
        with suppress(Exception):  # all that counts was committed with its event
            _volume(order, order.cache).commit()
    match verdict(_events(record)):
        case "taken":
            raise KeyboardInterrupt
        case "again":
            raise NextAttemptError(f"run {order.job.run_id} goes on in a new container")
        case "done":
            return code


def _supervise(job: JobSpec, board: Poster, volume: modal.Volume, machines: cluster.Cluster | None) -> int:
    run = partial(supervise, emit=board.post, commit=lambda: commit(volume), stop_reason="preempted")
    if machines is None:
        return run(job)
    lead = cluster.Lead(machines, lambda: stopping.request(job.record_dir, "preempted"))

    def call_others() -> None:
        commit(volume)  # they must see the checkpoints that were dropped here as dropped
        lead.call()

    try:
        return run(job.model_copy(update={"cluster": machines.spec()}), peers=lead.failure, ready=call_others)
    finally:
        lead.close()


def _shortened(job: JobSpec, seconds: float) -> JobSpec:
    """Modal's clock has been running for so long when the supervisor's begins."""
    left = None if job.timeout_seconds is None else max(job.timeout_seconds - seconds, 1.0)
    return job.model_copy(update={"timeout_seconds": left})


def _claim(order: Order) -> bool:
    """Whether this call may work at the run: of two that were started for it, the first one does."""
    store, key, mine = _dict(order), call_key(order.job.run_id), modal.current_function_call_id() or ""
    if not store.put(key, mine, skip_if_exists=True):
        other = store.get(key)
        if other != mine and _is_pending(str(other)):
            return False
        store.put(key, mine)
    told = {**outside.parse_object(order.remote), "call_id": mine, "preparing": False}
    store.put(remote_key(order.job.run_id), json.dumps(told))
    return True


def _is_pending(call_id: str) -> bool:
    call: modal.FunctionCall[Any] = modal.FunctionCall.from_id(call_id)
    try:
        call.get(timeout=0)
    except TimeoutError:
        return True
    except BaseException:
        return False
    return False


def _describe(order: Order, record: Path) -> None:
    told = {**outside.parse_object(order.remote), "call_id": modal.current_function_call_id() or "", "preparing": False}
    for name, text in {**order.files, "remote.json": json.dumps(told)}.items():
        files.write(record / name, text)


def recover(record: Path, lines: list[str]) -> list[str]:
    """Put what an earlier attempt posted and could not commit at the record's end: watchers have seen it.

    Returns the lines that were put there.
    """
    if not lines or seq_of(lines[0]) != _last_seq(record) + 1:
        return []
    record.mkdir(parents=True, exist_ok=True)
    with (record / EVENTS).open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)  # a torn last line is no line
        file.write("".join(f"{line}\n" for line in lines).encode())
    return lines


def forget_unrecorded(job: JobSpec, seen: list[AnyEvent]) -> None:
    """Drop checkpoints that the record does not know.

    A worker trains on while a commit fails, and Modal commits once more when the container ends: to go on from there
    would leave a hole in the curve.
    """
    last = next((event.step for event in reversed(seen) if isinstance(event, events.Checkpoint)), 0)
    for step, path in checkpoints.steps(job.checkpoints_dir):
        if step > last:
            checkpoints.discard(path)


def prepare(text: str, function_id: str) -> str:
    """On a cheap container: make ready what the GPU would wait for, then start `execute`; its call's id, or a refusal.

    `execute` is spawned from here and not by the client: a detached App keeps its last top-level call alone.
    """
    order = outside.parse_model(Order, text)
    store, key = _dict(order), call_key(order.job.run_id)
    if spawned := store.get(key):  # this container was taken away after it had done its work
        return str(spawned)
    cache = _volume(order, order.cache)
    try:
        fetch.fetch(order.job)
        fetch.tokenise(order.job)
        for mark in order.ready:
            fetch.mark(Path(os.environ["HF_HOME"]).parent / mark)
        commit(cache)
        call_id = str(modal.Function.from_id(function_id).spawn(text).object_id)
    except Exception as error:
        refusal = fetch.refusal(error, order.job)
        if fetch.is_final(error):
            return f"{REFUSED}{events.dump(refusal)}"
        raise JobCrashed(refusal.message) from None
    store.put(key, call_id, skip_if_exists=True)
    return call_id


def verdict(seen: list[AnyEvent]) -> Verdict:
    """What to tell Modal after an attempt: all is said, start another, or this container is being taken away."""
    last = seen[-1] if seen else None
    match last:
        case events.Stopped(reason="preempted"):
            return "taken"
        case events.Stopped(reason="timeout"):
            return "again"
        case events.Failed() if last.failure in _WORTH_A_RETRY and not _failed_here_before(seen):
            return "again"
        case _:
            return "done"


def _failed_here_before(seen: list[AnyEvent]) -> bool:
    """Whether the attempt before failed too, with no checkpoint since: a third try would cost the same again."""
    failures = [index for index, event in enumerate(seen) if isinstance(event, events.Failed)]
    if len(failures) < 2:
        return False
    between = seen[failures[-2] : failures[-1]]
    return not any(isinstance(event, events.Checkpoint) for event in between)


def _last_seq(record: Path) -> int:
    seen = _events(record)
    return seen[-1].seq if seen else 0


def _events(record: Path) -> list[AnyEvent]:
    found: list[AnyEvent] = []
    file = record / EVENTS
    for line in file.read_bytes().splitlines() if file.exists() else ():
        with suppress(ValueError):
            found.append(events.parse(line))
    return found


def commit(volume: modal.Volume, pause: Callable[[float], None] = time.sleep) -> None:
    """Make what is on the Volume durable; tried again, then an OSError, which the supervisor knows how to say.

    Modal's client has tried ninety times by itself where the service was not there; what it raises is final or full.
    """
    for attempt in range(COMMIT_TRIES):
        try:
            volume.commit()
            return
        except modal.exception.ResourceExhaustedError as error:
            raise OSError(errno.ENOSPC, f"the Volume is full: {error}", f"Volume `{volume.name}`") from None
        except (modal.exception.Error, OSError, RuntimeError) as error:
            if attempt == COMMIT_TRIES - 1:
                raise OSError(errno.EIO, f"it can't be committed: {error}", f"Volume `{volume.name}`") from None
            pause(2.0**attempt)


def _volume(order: Order, name: str) -> modal.Volume:
    return modal.Volume.from_name(name, environment_name=order.environment)


def _dict(order: Order) -> "modal.Dict":
    return modal.Dict.from_name(order.board, environment_name=order.environment, create_if_missing=True)
