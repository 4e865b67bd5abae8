"""Answers of base and tuned model, side by side, after a run has ended.

    python -m sftrun.job.train.answer REQUEST.json

The request: {"job": a JobSpec, "prompts": [..], "max_new_tokens": 128, "temperature": 0.0}.  Without `prompts` they are
read from stdin, one {"prompt": ..} a line, until it ends: a chat keeps the model loaded.  Each answer is a line on
stdout: {"prompt", "base", "tuned"}.  What went wrong is the last line of stderr; exit code 1.
"""

import gc
import json
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from sftrun.contract import output_marker
from sftrun.contract.choices import DataFormat
from sftrun.contract.jobspec import JobSpec
from sftrun.job.failures import JobFailure, translate
from sftrun.job.supervise.process import DEFAULTS, guard, needs_hub
from sftrun.strict import Strict


class Request(Strict):
    """What is asked.  `prompts` of None: they come by stdin."""

    job: JobSpec
    prompts: list[str] | None = None
    max_new_tokens: int = 128
    temperature: float = 0.0


class Asked(NamedTuple):
    """What is known of the rows that were trained on."""

    format: DataFormat
    are_conversations: bool
    ends: tuple[str, ...]


class Answerer:
    """Base and tuned model, loaded once; with an adapter the two are one model with the adapter on and off."""

    def __init__(self, job: JobSpec) -> None:
        from sftrun.job.prepare import row_tokenizer
        from sftrun.job.train import generation, loading, saved_tokenizer

        marker = output_marker.read(job.output_dir)
        if marker is None:
            raise JobFailure(
                "model",
                f"no finished run stands in {job.output_dir}: no {output_marker.MARKER}",
                "train it to the end first",
            )
        self.job = job
        form = marker.format
        self.rows = Asked(form, marker.are_conversations or form == "messages", marker.ends)
        saved = job.model.model_copy(update={"name_or_path": job.output_dir, "revision": None})
        self.tokens = row_tokenizer.of_model(saved, job.rows)
        self.tokenizer = saved_tokenizer.load(saved, self.tokens)
        self.base = loading.load_model(job.model, job.quantization, job.step, is_whole=True, room=loading.room(job))
        self.tuned = loading.load_tuned(job, self.base)
        self.ends = generation.saved(job.output_dir, self.base, self.tokenizer, marker.ends).eos_token_id

    def ask(self, prompt: str, max_new_tokens: int, temperature: float) -> tuple[str, str]:
        """(base's answer, tuned model's answer) to a prompt, put as a training row would have it."""
        from sftrun.job.train import samples

        text = samples.wrap(prompt, self.job.rows, self.rows, self.tokens)
        options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature}
        options["has_special_tokens"] = self.rows.are_conversations
        with samples.without_adapter(self.tuned):
            loading = self.base if self.job.lora is None else self.tuned
            base = next(samples.generate(loading, self.tokenizer, [text], self.ends, **options))
        return base, next(samples.generate(self.tuned, self.tokenizer, [text], self.ends, **options))


def main(request_file: str) -> int:
    """Answer until there is nothing more to ask."""
    request = Request.model_validate_json(Path(request_file).read_bytes())
    _set_environment(request.job)
    with redirect_stdout(sys.stderr):  # libraries print what they like
        answerer = Answerer(request.job)
    for prompt in request.prompts if request.prompts is not None else _typed():
        with redirect_stdout(sys.stderr):
            base, tuned = answerer.ask(prompt, request.max_new_tokens, request.temperature)
        print(json.dumps({"prompt": prompt, "base": base, "tuned": tuned}), flush=True)  # noqa: T201
    return 0


def _typed() -> Iterator[str]:
    for line in sys.stdin:
        if line.strip():
            yield str(json.loads(line)["prompt"])


def _set_environment(job: JobSpec) -> None:
    """Before the libraries are loaded: they read it then."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    if not needs_hub(job):
        os.environ["HF_HUB_OFFLINE"] = "1"


if __name__ == "__main__":
    gc.disable()  # as in `worker`
    guard()
    try:
        sys.exit(main(sys.argv[1]))
    except Exception as error:
        failure = translate(error)
        if failure.kind == "error":
            import traceback

            traceback.print_exc()
        print(failure.message + (f" ({failure.help})" if failure.help else ""), file=sys.stderr)  # noqa: T201
        sys.exit(1)
