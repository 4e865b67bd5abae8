"""Ledgers: one run's files are harmed, and no command may crash, hang, or lose sight of the other runs.

The ledger has a finished run, a failed one and one on Modal, all made by the real commands with the tests' supervisor
behind, which trains nothing.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tools.fuzz import harming
from tools.fuzz.trying import at, sftrun

ROOT = Path(__file__).parent.parent.parent
FAKE = ROOT / "tests" / "run" / "fake_cli.py"
RECIPE = """\
version: 1
name: {name}
model: {{name_or_path: "builtin:tiny", dtype: float32}}
lora: {{r: 4}}
dataset: {{train: data.jsonl, format: prompt_completion}}
trainer: {{max_steps: 6, logging_steps: 1, save_steps: 2, learning_rate: 1.0e-3}}
compute: {{executor: local, gpu: none}}
volumes: {{/out: results}}
output: {{dir: /out/{name}}}
samples: {{prompts: ["hello"]}}
tags: {{team: one}}
"""
REMOTE = {
    "app_id": "ap-0123456789abcdefghijkl",
    "call_id": "fc-0123456789abcdefghijkl",
    "dashboard": "https://modal.com/apps/x",
    "volume": "results",
    "record": ".sftrun/runs/x",
    "started": 1790000000.0,
    "user": "ada",
    "settled": True,
}


@dataclass(frozen=True)
class Template:
    """A folder with a sound ledger: the run that is harmed, and what is left alone."""

    folder: Path
    harmed: tuple[str, ...]
    sound: str


def template(folder: Path) -> Template:
    """Made once."""
    rows = [json.dumps({"prompt": f"question {i} ", "completion": f"answer {i}"}) for i in range(40)]
    (folder / "data.jsonl").write_text("\n".join(rows))
    ids = [_run(folder, name, fails=name == "failed") for name in ("sound", "finished", "failed", "remote")]
    remote = folder / ".sftrun" / "runs" / ids[3]
    manifest = json.loads((remote / "run.json").read_text()) | {"executor": "modal"}
    (remote / "run.json").write_text(json.dumps(manifest))
    (remote / "remote.json").write_text(json.dumps(REMOTE))
    (remote / "billed.json").write_text(json.dumps({"usd": "1.5", "through": 1790000000.0, "asked_at": 1790000000.0}))
    return Template(folder, tuple(ids[1:]), ids[0])


def _run(folder: Path, name: str, *, fails: bool) -> str:
    (folder / f"{name}.yaml").write_text(RECIPE.format(name=name))
    env = os.environ | {"PYTHONPATH": str(ROOT)} | ({"FAKE_FAIL_AT": "4"} if fails else {})
    before = _ids(folder)
    subprocess.run(
        [sys.executable, str(FAKE), "apply", f"{name}.yaml"],
        cwd=folder,
        env=env,
        check=fails is False,
        capture_output=True,
    )
    (new,) = _ids(folder) - before
    return new


def _ids(folder: Path) -> set[str]:
    return {path.name for path in (folder / ".sftrun" / "runs").glob("[0-9a-f]*")}


def harm(sound: Template, work: Path, chance: Random) -> tuple[str, str]:
    """A copy of the folder with one run harmed; its id, and how."""
    harming.copied(sound.folder, work)
    run = chance.choice(sound.harmed)
    folder = work / ".sftrun" / "runs" / run
    files = sorted(path for path in folder.iterdir() if path.is_file())
    if chance.random() < 0.1:
        files = [path for path in (work / ".sftrun" / "index.json", work / "sftrun.toml") if path.exists()] or files
    how = [harming.file(path, chance) for path in chance.sample(files, min(len(files), chance.choice((1, 1, 2))))]
    return run, f"{', '.join(how)} of {run}"


def judge(sound: Template, work: Path, run: str) -> Sequence[str]:
    """What is wrong with what the commands make of it."""
    return at(work, lambda: list(_faults(sound.sound, run)))()


def _faults(sound: str, run: str) -> Iterator[str]:
    os.environ["SFTRUN_HOME"] = str(Path(".sftrun").absolute())
    commands = (
        ("runs",),
        ("runs", "--format", "json"),
        ("show", run),
        ("show", run, "--format", "json"),
        ("report", run),
        ("report", run, "--html", "-"),
        ("costs", "--by", "month"),
        ("costs", "--format", "json"),
        ("logs", run),
        ("cancel", run),
        ("cancel", run, "--now"),
        ("attach", run),
        ("pull", run, "pulled"),
        ("estimate-cost", "sound.yaml"),
        ("runs", "--refresh"),
    )
    for command in commands:
        said = sftrun(*command)
        yield from said.faults(command)
        if command[0] in ("runs", "costs") and said.code and "--refresh" not in command:
            yield f"`{' '.join(command)}` exits {said.code}: {said.err.strip()}"
        if command == ("runs", "--format", "json") and said.code == 0:
            rows = {row["id"]: row for row in json.loads(said.out)["runs"]}
            if rows.get(sound, {}).get("status") != "finished" or run not in rows:
                yield f"`runs` lost sight of a run: {sorted(rows)}"
    for command in (("show", sound), ("cancel", sound), ("logs", sound)):
        if (said := sftrun(*command)).code:
            yield f"`{' '.join(command)}`, of a sound run, exits {said.code}: {said.err.strip()}"
