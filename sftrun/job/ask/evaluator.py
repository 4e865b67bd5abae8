"""Rows asked of a finished run's models: the process that `sftrun evaluate` starts.

    python -m sftrun.job.ask.evaluator REQUEST.json

Lines on stdout: a `Begun`, then one `Answer` each.  What went wrong is the last line of stderr; exit code 1.
"""

import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from sftrun.contract.answers import Answer, Begun, ModelName, PartName
from sftrun.contract.jobspec import JobSpec
from sftrun.job import asked_process
from sftrun.strict import Strict

if TYPE_CHECKING:
    from sftrun.job.ask.questions import Question
    from sftrun.job.train.answer import Answerer


class Request(Strict):
    """The job with the `evaluation` that is wanted, and what each model has answered before."""

    job: JobSpec
    done: dict[ModelName, tuple[tuple[PartName, int], ...]] = {}


def main(request_file: str) -> int:
    """Answer all that is not done."""
    request = Request.model_validate_json(Path(request_file).read_bytes())
    asked_process.set_environment(request.job)
    said = sys.stdout
    with redirect_stdout(sys.stderr):  # libraries print what they like
        for line in _lines(request):
            print(line, file=said, flush=True)
    return 0


def _lines(request: Request) -> Iterator[str]:
    from sftrun.job.ask.questions import Reader
    from sftrun.job.train.answer import Answerer

    job = request.job
    assert job.evaluation is not None
    answerer = Answerer(job)
    reader = Reader(job.rows, answerer.rows.format, answerer.tokens, job.trainer.max_length)
    questions = reader.all_of(job.evaluation)
    tested = sum(question.part == "test" for question in questions)
    yield Begun(rows=len(questions), test_rows=tested).model_dump_json()
    for answer in _answers(request, answerer, questions):
        yield answer.model_dump_json()


def _answers(request: Request, answerer: "Answerer", questions: "list[Question]") -> Iterator[Answer]:
    from sftrun.job.ask.batched import Asker, Settings
    from sftrun.job.train import samples

    job, wanted = request.job, request.job.evaluation
    assert wanted is not None
    settings = Settings(wanted.max_new_tokens, wanted.temperature, answerer.ends)
    with samples.without_adapter(answerer.tuned):
        base = answerer.base if job.lora is None else answerer.tuned
        asker = Asker(base, answerer.tokenizer, settings, lambda: None)
        yield from asker.answers("base", questions, frozenset(request.done.get("base", ())))
    asker = Asker(answerer.tuned, answerer.tokenizer, settings, lambda: None)
    yield from asker.answers("tuned", questions, frozenset(request.done.get("tuned", ())))


if __name__ == "__main__":
    asked_process.run(main)
