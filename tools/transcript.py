"""Write docs/transcript.md: the commands of a first half hour, run for real, with what they print.

    python tools/transcript.py

Each command runs in an empty folder with a ledger of its own, its output as it is when it goes to no terminal.  One
step kills the worker with SIGKILL when the run has its first checkpoint, and the next `apply` goes on from there.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "transcript.md"


@dataclass(frozen=True)
class Scene:
    """One command with a sentence before it; `meanwhile` acts on the ledger while it runs."""

    words: str
    command: str
    meanwhile: Callable[[Path], None] | None = None


def kill_worker_after_a_checkpoint(ledger: Path) -> None:
    """Wait for the first checkpoint, then SIGKILL the process that trains."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        for events in ledger.glob("runs/*/events.jsonl"):
            if '"kind":"checkpoint"' in events.read_text():
                kill_the_worker_of(events.parent)
                return
        time.sleep(0.2)


def kill_the_worker_of(record: Path) -> None:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            mine = str(record).encode() in (process / "environ").read_bytes() + b" ".join(words)
        except OSError:
            continue
        if b"sftrun.job.train.worker" in words and mine:
            os.kill(int(process.name), signal.SIGKILL)


SCENES = (
    Scene("Before anything runs: is the recipe right?", "sftrun validate recipes/quickstart.yaml"),
    Scene("What would be done, and why?", "sftrun apply recipes/quickstart.yaml --dry-run"),
    Scene(
        "Run it; here its worker is killed with `kill -9` after the first checkpoint.",
        "sftrun apply recipes/quickstart.yaml",
        kill_worker_after_a_checkpoint,
    ),
    Scene("Apply again: it goes on from the last whole checkpoint.", "sftrun apply recipes/quickstart.yaml"),
    Scene("Apply once more: there is nothing to do.", "sftrun apply recipes/quickstart.yaml"),
    Scene("What has been run here?", "sftrun runs"),
    Scene("Ask base and tuned model.", 'sftrun generate quickstart "{prompt}"'),
    Scene("Take the adapter along.", "sftrun pull quickstart adapter && ls adapter"),
)


def play(scene: Scene, folder: Path) -> str:
    """Run one scene; what it printed."""
    environment = dict(os.environ) | {
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    running = subprocess.Popen(
        scene.command,
        shell=True,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if scene.meanwhile is not None:
        scene.meanwhile(folder / ".sftrun")
    printed, _ = running.communicate(timeout=900)
    code = f"(exit status {running.returncode})\n" if running.returncode else ""
    return printed.replace(str(folder), "~/project").rstrip() + "\n" + code


def first_prompt() -> str:
    """The first of the quickstart's sample prompts."""
    text = (ROOT / "recipes" / "quickstart.yaml").read_text()
    match = re.search(r"prompts:\s*\n\s*- (.+)", text)
    assert match is not None
    return shlex.split(match[1])[0] if match[1][0] in "\"'" else match[1]


def main() -> None:
    parts = [
        "# A first half hour\n",
        "Made by `python tools/transcript.py`; every line below was printed by the program.\n",
    ]
    prompt = first_prompt()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        shutil.copytree(ROOT / "recipes", folder / "recipes")
        for scene in SCENES:
            filled = Scene(scene.words, scene.command.replace("{prompt}", prompt), scene.meanwhile)
            print(f"$ {filled.command}", flush=True)
            parts.append(f"{filled.words}\n\n```console\n$ {filled.command}\n{play(filled, folder)}```\n")
    TARGET.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
