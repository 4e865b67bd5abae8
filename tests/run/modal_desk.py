"""A user's desk with a Modal of its own on loopback: what the tests of the executor share."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modal_plane import Plane
from tests import patience

ROOT = Path(__file__).parent.parent.parent
WAIT = patience.SECONDS
RECIPE = """
version: 1
name: remote
model: {name_or_path: "builtin:tiny", dtype: float32}
lora: {r: 4, lora_alpha: 8}
dataset: {train: train.jsonl}
trainer:
  max_steps: 100
  per_device_train_batch_size: 2
  max_length: 64
  learning_rate: 1.0e-3
  logging_steps: 1
  save_steps: 20
  bf16: false
compute: {executor: modal, gpu: none, timeout: 10m, retries: 3, image: {env: {OMP_NUM_THREADS: "1"}}}
secrets: [huggingface]
volumes: {/out: outputs}
output: {dir: /out/adapter}
tags: {team: tests}
"""
ROWS = [{"instruction": f"say {word}", "output": word * 3} for word in ("red", "blue", "green", "amber") * 8]


class Desk:
    """A user's folder, terminal and ledger, with a Modal of its own."""

    def __init__(self, folder: Path, plane: Plane) -> None:
        self.folder, self.plane = folder, plane
        (folder / "recipe.yaml").write_text(RECIPE)
        (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))

    def start(
        self, *words: str, home: str = "ledger", python: str = sys.executable, stdin: int | None = None, **more: str
    ) -> subprocess.Popen[str]:
        environment = {**os.environ, **self.plane.client_env(), "SFTRUN_HOME": str(self.folder / home), **more}
        command = [python, "-m", "sftrun.cli.main", *words]
        pipes = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=self.folder, env=environment, text=True, **pipes)  # type: ignore[call-overload,no-any-return]

    def run(self, *words: str) -> str:
        """What a command that ends well prints."""
        process = self.start(*words)
        printed, said = process.communicate(timeout=WAIT)
        assert process.returncode == 0, said
        return printed

    def events(self, *words: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(*words, "--format", "json").splitlines()]

    def record(self) -> str:
        """The committed record of the run on its Volume; empty while there is none."""
        files = list(self.plane.volume("outputs").glob(".sftrun/runs/*/events.jsonl"))
        return files[0].read_text() if files else ""

    def wait_for(self, text: str) -> None:
        self.plane.wait_until(lambda: text in self.record(), WAIT, text)


TOKEN = "hf_plantedPLANTEDplanted"


@contextmanager
def opened(folder: Path, **settings: Any) -> Iterator[Desk]:
    """A desk while its Modal is up; at the end nothing may have been asked of that which it does not know."""
    with Plane(folder / "plane", **settings) as plane:
        plane.add_secret("huggingface", {"HF_TOKEN": TOKEN})
        yield Desk(folder, plane)
    assert not plane.bugs
    assert not plane.missing


def losses(seen: list[dict[str, Any]]) -> dict[int, float]:
    """The loss of each step, as the last attempt that took it says."""
    return {event["step"]: event["loss"] for event in seen if event["kind"] == "step"}


def recorded(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(line) for line in desk.record().splitlines()]


def started(seen: list[dict[str, Any]]) -> list[tuple[int, int | None]]:
    """(attempt, the step that it goes on from)."""
    return [(event["attempt"], event["resumed_from"]) for event in seen if event["kind"] == "started"]
