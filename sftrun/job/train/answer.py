"""Answers of base and tuned model, side by side, after a run has ended.

    python -m sftrun.job.train.answer REQUEST.json

The request: {"job": a JobSpec, "prompts": [..], "max_new_tokens": 128, "temperature": 0.0}.  Without `prompts` they
are read from stdin, one `Question` a line, until it ends: a chat keeps the model loaded.  Each answer is a line on
stdout: {"prompt", "base", "tuned"}.  What went wrong is the last line of stderr; exit code 1.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from sftrun.contract import output_marker
from sftrun.contract.choices import DataFormat
from sftrun.contract.jobspec import JobSpec
from sftrun.contract.question import Question
from sftrun.job import asked_process
from sftrun.job.failures import JobFailure
from sftrun.strict import Strict


class Request(Strict):
    """What is asked.  `prompts` of None: questions come by stdin."""

    job: JobSpec
    prompts: list[str] | None = None
    max_new_tokens: int = 128
    temperature: float = 0.0


class Asked(NamedTuple):
    """What is known of the rows that were trained on."""

    format: DataFormat
    are_conversations: bool
    ends: tuple[str, ...]
    system: str | None


class Answerer:
    """Base and tuned model, loaded once; with an adapter the two are one model with the adapter on and off."""

    def __init__(self, job: JobSpec) -> None:
        from sftrun.job.prepare import row_tokenizer
        from sftrun.job.train import added_tokens, generation, loading, saved_tokenizer

        marker = output_marker.read(job.output_dir)
        if marker is None:
            raise JobFailure(
                "model",
                f"no finished run stands in {job.output_dir}: no {output_marker.MARKER}",
                "train it to the end first",
            )
        self.job = job
        form = marker.format
        self.rows = Asked(form, marker.are_conversations or form == "messages", marker.ends, marker.system)
        saved = job.model.model_copy(update={"name_or_path": job.output_dir, "revision": None})
        self.tokens = row_tokenizer.of_model(saved, job.rows)
        self.tokenizer = saved_tokenizer.load(saved, self.tokens)
        self.base = loading.load_model(job.model, job.quantization, job.step, is_whole=True, room=loading.room(job))
        added_tokens.fit(self.base, self.tokens)
        self.tuned = loading.load_tuned(job, self.base)
        self.ends = generation.saved(job.output_dir, self.base, self.tokenizer, marker.ends).eos_token_id

    def ask(self, question: Question, max_new_tokens: int, temperature: float) -> tuple[str, str]:
        """(base's answer, tuned model's answer), asked as a training row would have it.  Each knows its own answers."""
        from sftrun.job.train import samples

        if question.system is not None and not self.rows.are_conversations:
            form = self.rows.format
            raise JobFailure("data", f"rows of {form} have no place for a system turn", "leave `--system` out")
        options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature}
        options["has_special_tokens"] = self.rows.are_conversations

        def answer(model: Any, before: list[tuple[str, str]]) -> str:
            text = samples.wrap(
                question.prompt, self.job.rows, self.rows, self.tokens, system=question.system, before=before
            )
            return next(samples.generate(model, self.tokenizer, [text], self.ends, **options))

        with samples.without_adapter(self.tuned):
            untuned = self.base if self.job.lora is None else self.tuned
            base = answer(untuned, [(said.prompt, said.base) for said in question.before])
        return base, answer(self.tuned, [(said.prompt, said.tuned) for said in question.before])


def main(request_file: str) -> int:
    """Answer until there is nothing more to ask."""
    request = Request.model_validate_json(Path(request_file).read_bytes())
    asked_process.set_environment(request.job)
    with redirect_stdout(sys.stderr):  # libraries print what they like
        answerer = Answerer(request.job)
    for question in _given(request.prompts) if request.prompts is not None else _typed():
        with redirect_stdout(sys.stderr):
            base, tuned = answerer.ask(question, request.max_new_tokens, request.temperature)
        print(json.dumps({"prompt": question.prompt, "base": base, "tuned": tuned}), flush=True)  # noqa: T201
    return 0


def _given(prompts: Sequence[str]) -> Iterator[Question]:
    return (Question(prompt=prompt) for prompt in prompts)


def _typed() -> Iterator[Question]:
    for line in sys.stdin:
        if line.strip():
            yield Question.model_validate_json(line)


if __name__ == "__main__":
    asked_process.run(main)
