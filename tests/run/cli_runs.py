"""A folder with a recipe, and the command line run in it as a process, with the fake supervisor behind."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import patience

FAKE_CLI = str(Path(__file__).parent / "fake_cli.py")
RECIPE = """\
version: 1
name: tryout
model: {name_or_path: Qwen/Qwen2.5-0.5B-Instruct, dtype: float32}
lora: {r: 4}
dataset: {train: data.jsonl, format: prompt_completion}
trainer: {max_steps: 20, logging_steps: 1, save_steps: 5, learning_rate: 1.0e-3}
compute: {executor: local, gpu: none}
volumes: {/out: results}
output: {dir: /out/tryout}
samples: {prompts: ["hello"]}
"""


@dataclass
class Place:
    """A working folder with `r.yaml` in it."""

    path: Path

    @classmethod
    def make(cls, path: Path) -> "Place":
        (path / "r.yaml").write_text(RECIPE)
        rows = [json.dumps({"prompt": f"question {i} ", "completion": f"answer {i}"}) for i in range(40)]
        (path / "data.jsonl").write_text("\n".join(rows))
        return cls(path)

    def environment(self, **more: str) -> dict[str, str]:
        """Ours without what would colour or move the ledger."""
        kept = {k: v for k, v in os.environ.items() if k not in ("SFTRUN_HOME", "COLUMNS", "NO_COLOR", "FORCE_COLOR")}
        return kept | {"TERM": "xterm-256color"} | more

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, FAKE_CLI, *arguments]

    def sftrun(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run one command to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.path,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=patience.SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Start one command and leave it running."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.path,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    @property
    def runs(self) -> list[Path]:
        return sorted((self.path / ".sftrun" / "runs").glob("[0-9a-f]*"))

    @property
    def run(self) -> Path:
        """The only run."""
        (only,) = self.runs
        return only

    def events(self, run: Path | None = None) -> list[dict[str, Any]]:
        file = (run or self.run) / "events.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def kinds(self) -> list[str]:
        return [event["kind"] for event in self.events()]

    def release(self) -> None:
        """Let a supervisor go on that was started with FAKE_HOLD_AT."""
        (self.run / "go").touch()

    def wait_for_step(self, step: int) -> None:
        wait_until(lambda: bool(self.runs) and any(e.get("step", 0) >= step for e in self.events()))


def wait_until(is_so: Callable[[], bool], seconds: float = patience.SECONDS) -> None:
    """Look again and again; fail loudly after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
