"""What runs in Modal's container: the supervisor, with a Volume to commit and a board to post on.

Imported where click, rich and ruamel are not.  `execute` is reentrant: Modal starts the same input again after a
preemption or a retry, and the supervisor goes on from the last committed checkpoint.
"""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import modal

from sftrun.contract import events
from sftrun.contract.events import AnyEvent
from sftrun.contract.jobspec import JobSpec
from sftrun.job.entry import supervise
from sftrun.run.board import Board, next_key, read, seq_of
from sftrun.strict import Strict

COMMIT_TRIES = 4
# a new container may help with these; with the others it would only cost the same again
_WORTH_A_RETRY = {"killed", "stalled", "error"}


class Order(Strict):
    """What the client hands to the container."""

    job: JobSpec
    board: str
    volumes: tuple[str, ...]
    environment: str | None = None


class NextAttemptError(Exception):
    """Raised so that Modal's retry starts the next attempt; the checkpoint is committed."""


Verdict = Literal["done", "again", "taken"]


def execute(text: str) -> int:
    """Run or resume the job of an `Order`; the exit code of the supervisor."""
    order = Order.model_validate_json(text)
    record = Path(order.job.record_dir)
    recover(record, read(_dict(order), order.job.run_id, _last_seq(record)))
    board = Board(_dict(order), order.job.run_id, lambda: _ask_to_stop(record))
    volumes = [modal.Volume.from_name(name, environment_name=order.environment) for name in order.volumes]
    try:
        code = supervise(order.job, emit=board.post, commit=lambda: _commit(volumes), stop_reason="preempted")
    finally:
        board.close()
        _commit(volumes)
    match verdict(_events(record)):
        case "taken":
            raise KeyboardInterrupt
        case "again":
            raise NextAttemptError(f"run {order.job.run_id} goes on in a new container")
        case "done":
            return code


def recover(record: Path, lines: list[str]) -> None:
    """Put what an earlier attempt posted and could not commit at the record's end: watchers have seen it."""
    if not lines or seq_of(lines[0]) != _last_seq(record) + 1:
        return
    record.mkdir(parents=True, exist_ok=True)
    with (record / "events.jsonl").open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)  # a torn last line is no line
        file.write("".join(f"{line}\n" for line in lines).encode())


def prepare(text: str, function_id: str) -> str:
    """On a cheap container: fetch what the GPU would wait for, then start `execute`; the id of its call."""
    order = Order.model_validate_json(text)
    fetch(order.job)
    _commit([modal.Volume.from_name(name, environment_name=order.environment) for name in order.volumes])
    call = modal.Function.from_id(function_id).spawn(text)
    _dict(order).put(next_key(order.job.run_id), call.object_id)
    return str(call.object_id)


def fetch(job: JobSpec) -> None:
    """The model at its commit and the Hub's data sets into the cache Volume (HF_HOME lies on it)."""
    from huggingface_hub import snapshot_download

    if not job.model.name_or_path.startswith(("builtin:", "/")):
        snapshot_download(
            job.model.name_or_path, revision=job.model.revision, ignore_patterns=["*.bin", "*.pth", "*.gguf"]
        )
    for source in (job.dataset.train, job.dataset.eval):
        if source is not None and source.hub is not None:
            snapshot_download(source.hub, revision=source.revision, repo_type="dataset")


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
    file = record / "events.jsonl"
    for line in file.read_bytes().splitlines() if file.exists() else ():
        with suppress(ValueError):
            found.append(events.parse(line))
    return found


def _ask_to_stop(record: Path) -> None:
    beside = record / f".stop-{os.getpid()}"
    beside.write_text(json.dumps({"reason": "user"}))
    beside.replace(record / "stop")


def _commit(volumes: list[modal.Volume], pause: Callable[[float], None] = time.sleep) -> None:
    """Make what is on the Volumes durable; a commit that fails is tried again, then raised."""
    for volume in volumes:
        for attempt in range(COMMIT_TRIES):
            try:
                volume.commit()
                break
            except (modal.exception.Error, OSError):
                if attempt == COMMIT_TRIES - 1:
                    raise
                pause(2.0**attempt)


def _dict(order: Order) -> modal.Dict:
    return modal.Dict.from_name(order.board, environment_name=order.environment, create_if_missing=True)
