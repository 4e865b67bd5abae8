"""Rows asked of a finished run: a process beside the model, as for `generate`, whose answers come one a line."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sftrun.contract.answers import Answer, Begun, ModelName, PartName
from sftrun.contract.jobspec import JobSpec
from sftrun.disk import outside
from sftrun.disk.commands import translated
from sftrun.errors import RunFailed
from sftrun.job.supervise.process import isolated, python_path

EVALUATOR = isolated("sftrun.job.ask.evaluator")
Done = Mapping[ModelName, Sequence[tuple[PartName, int]]]


def examine(job: JobSpec, done: Done) -> Iterator[Begun | Answer]:
    """What is to be answered, then the answers that are not `done`."""
    with tempfile.TemporaryDirectory(prefix="sftrun-evaluate-") as folder:
        request, said = Path(folder, "request.json"), Path(folder, "stderr")
        told = {"job": job.model_dump(mode="json"), "done": {name: list(keys) for name, keys in done.items()}}
        with said.open("wb") as stderr, translated("start the model", request):
            request.write_text(json.dumps(told))
            env = os.environ | {"PYTHONPATH": python_path()}
            process = subprocess.Popen([*EVALUATOR, str(request)], stdout=subprocess.PIPE, stderr=stderr, env=env)
        try:
            yield from _heard(process, said)
        finally:
            process.kill()
            process.communicate()


def _heard(process: "subprocess.Popen[bytes]", said: Path) -> Iterator[Begun | Answer]:
    assert process.stdout is not None
    if first := process.stdout.readline():
        yield outside.parse_model(Begun, first)
    yield from (outside.parse_model(Answer, line) for line in process.stdout)
    if process.wait():
        lines = said.read_text(errors="replace").splitlines()
        raise RunFailed(
            f"the model gave no answer: {lines[-1] if lines else 'its process was killed'}",
            help="`sftrun doctor` looks at this machine",
        )
