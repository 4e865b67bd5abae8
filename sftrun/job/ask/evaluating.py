"""The recipe's `evaluation` inside a run: the base model is asked before training, the tuned one after it is saved.

Each answer is an event, so that the record has it whatever happens next; a later attempt asks what is missing.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sftrun.contract.answers import ModelName
from sftrun.contract.events import Answered, Asking
from sftrun.contract.jobspec import JobSpec
from sftrun.contract.record_files import EVENTS
from sftrun.job.ask.batched import Asker, Key, Settings
from sftrun.job.ask.questions import Reader
from sftrun.job.channel import Channel
from sftrun.job.supervise import record
from sftrun.job.train import generation
from sftrun.job.train.samples import Rows
from sftrun.rows.tokenizer import Tokens

LOOK_SECONDS: Final = 0.5


def ask(
    spec: JobSpec,
    name: ModelName,
    model: Any,
    tokenizer: Any,
    tokens: Tokens,
    rows: Rows,
    channel: Channel,
    between: Callable[[], None],
) -> None:
    """Ask one model what it has not answered yet."""
    assert spec.evaluation is not None
    wanted = spec.evaluation
    questions = Reader(spec.rows, rows.format, tokens, spec.trainer.max_length).all_of(wanted)
    done = _agreed(answered(spec.record_dir, name), channel)
    tested = sum(question.part == "test" for question in questions)
    channel.say(Asking(model=name, rows=len(questions), test_rows=tested, done=len(done)))
    settings = Settings(
        max_new_tokens=wanted.max_new_tokens,
        temperature=wanted.temperature,
        ends=generation.config(model, tokenizer, rows.ends).eos_token_id,
        is_sharded=spec.step.sharding == "fsdp",
        rank=channel.rank,
        processes=max(spec.gpu_count, 1) * spec.nodes,
    )
    for answer in Asker(model, tokenizer, settings, now_and_then(between)).answers(name, questions, done):
        channel.say(Answered(answer=answer))


def answered(folder: str, name: ModelName) -> frozenset[Key]:
    """What stands in the record already."""
    path = Path(folder, EVENTS)
    found = map(record.parse_line, path.read_bytes().splitlines()) if path.exists() else ()
    answers = (event.answer for event in found if isinstance(event, Answered))
    return frozenset((answer.part, answer.index) for answer in answers if answer.model == name)


def now_and_then(call: Callable[[], None]) -> Callable[[], None]:
    """`call`, but not for every token."""
    last = 0.0

    def sometimes() -> None:
        nonlocal last
        if time.monotonic() - last > LOOK_SECONDS:
            call()
            last = time.monotonic()

    return sometimes


def _agreed(done: frozenset[Key], channel: Channel) -> frozenset[Key]:
    """What the first process knows: the record is on its machine alone."""
    import torch.distributed as group

    if not (group.is_available() and group.is_initialized()):
        return done
    told = [done if channel.rank == 0 else None]
    group.broadcast_object_list(told)
    assert told[0] is not None
    return told[0]
