"""Ask a finished run: a process beside the model answers prompts from base and tuned model.

The same border as for training: JSON lines to a child process, so that no ML library is loaded here and a crash there
is a message here.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from sftrun.contract.jobspec import JobSpec
from sftrun.contract.question import Question
from sftrun.disk import outside
from sftrun.disk.commands import translated
from sftrun.errors import RunFailed
from sftrun.job.supervise.process import isolated, python_path

ANSWERER = isolated("sftrun.job.train.answer")


def ask(
    job: JobSpec, questions: Iterator[Question], *, max_new_tokens: int, temperature: float
) -> Iterator[Sequence[str]]:
    """(base's answer, tuned model's answer) to each question, as they come; the model is loaded once."""
    with tempfile.TemporaryDirectory(prefix="sftrun-ask-") as folder:
        request, said = Path(folder, "request.json"), Path(folder, "stderr")
        body = {"job": job.model_dump(mode="json"), "max_new_tokens": max_new_tokens, "temperature": temperature}
        request.write_text(json.dumps(body))
        with said.open("wb") as stderr, translated("start the model", request):
            process = subprocess.Popen(
                [*ANSWERER, str(request)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=os.environ | {"PYTHONPATH": python_path()},
            )
        try:
            for question in questions:
                yield _exchange(process, question, said)
        finally:
            process.kill()
            process.communicate()


def _exchange(process: "subprocess.Popen[str]", question: Question, said: Path) -> Sequence[str]:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(question.model_dump_json() + "\n")
        process.stdin.flush()
        answer = outside.parse_object(process.stdout.readline())
        return (str(answer["base"]), str(answer["tuned"]))
    except (OSError, ValueError, KeyError) as error:
        process.kill()
        process.wait()
        raise RunFailed(
            f"the model gave no answer: {_last_line(said)}", help="`sftrun doctor` looks at this machine"
        ) from error


def _last_line(said: Path) -> str:
    """What went wrong: the answerer's last line on stderr."""
    lines = said.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "its process was killed"
