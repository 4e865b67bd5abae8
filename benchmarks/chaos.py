"""A fault campaign: runs of the small model on a Modal of one's own, harmed at random moments.

    python benchmarks/chaos.py --runs 40 --seed 1 [--write docs/reliability.md]

Each run is a user's: `sftrun apply`, in half of the runs killed at a random moment, and `apply` again while it is not
finished.  One to three faults are drawn from the plane's catalogue and happen at random moments.  Afterwards the record
must be whole, the loss curve that of an undisturbed run, no step twice, what the commands said true, and no container
left.  A run that misses any of these is listed with its seed, so that `--seed N --runs 1` shows it again.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from chaos_harms import HARMS  # noqa: E402

from modal_plane import Plane  # noqa: E402

PATIENCE_SECONDS = 180.0
APPLIES = 6
MARKS = ("<!-- chaos begins -->", "<!-- chaos ends -->")
ENDS = {0: "finished", 3: "failed", 4: "stopped"}
RECIPE = """
version: 1
name: chaos
model: {name_or_path: "builtin:tiny", dtype: float32}
lora: {r: 4, lora_alpha: 8}
dataset: {train: train.jsonl}
trainer: {max_steps: 24, per_device_train_batch_size: 2, max_length: 64, learning_rate: 1.0e-3, logging_steps: 1,
  save_steps: 4, bf16: false}
compute: {executor: modal, gpu: none, timeout: 10m, retries: 3, image: {env: {OMP_NUM_THREADS: "1"}}}
volumes: {/out: outputs}
output: {dir: /out/adapter}
"""


@dataclass
class Outcome:
    """One run: what was done to it, how its commands ended, and what was found wrong."""

    seed: int
    harms: list[str]
    is_killed: bool
    codes: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    attempts: int = 0
    struck: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; each next one has the next number")
    parser.add_argument("--only", action="append", choices=sorted(HARMS), help="draw from these faults alone")
    parser.add_argument("--write", type=Path, help="put the table between the marks of this file")
    parser.add_argument("--keep", type=Path, help="keep one JSON line a run here, and count those of earlier calls too")
    parser.add_argument("--evidence", type=Path, help="keep the files of runs that went wrong below this folder")
    asked = parser.parse_args()
    true_curve, length = undisturbed()
    outcomes = _kept(asked.keep)
    for seed in range(asked.seed, asked.seed + asked.runs):
        outcome = one(seed, true_curve, length, asked.only or sorted(HARMS), asked.evidence)
        outcomes.append(outcome)
        print(line(outcome), flush=True)
        if asked.keep:
            with asked.keep.open("a") as file:
                file.write(json.dumps(vars(outcome)) + "\n")
    print(table(outcomes))
    if asked.write:
        before, _, rest = asked.write.read_text().partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        asked.write.write_text(f"{before}{MARKS[0]}\n\n{table(outcomes)}\n{MARKS[1]}{after}")


def undisturbed() -> tuple[dict[int, float], float]:
    """The loss curve that every run must have, and the seconds that one takes here: faults fall into those."""
    with desk() as (folder, plane):
        began = time.monotonic()
        assert _client(folder, plane).wait(PATIENCE_SECONDS) == 0
        return curve(record(plane)), time.monotonic() - began


def one(
    seed: int, true_curve: dict[int, float], length: float, names: list[str], evidence: Path | None = None
) -> Outcome:
    """One run with its faults."""
    draw = random.Random(seed)
    outcome = Outcome(seed, draw.choices(names, k=draw.randint(1, 3)), is_killed=draw.random() < 0.5)
    began = time.monotonic()
    with desk() as (folder, plane):
        done = threading.Event()
        moments = sorted(draw.uniform(0.0, length) for _ in outcome.harms)
        plan = list(zip(moments, outcome.harms, strict=True))
        harmer = threading.Thread(target=_harm, args=(plane, draw, plan, outcome, done))
        harmer.start()
        try:
            _use(folder, plane, outcome, draw.uniform(1.0, length))
        finally:
            done.set()
            harmer.join()
        _judge(folder, plane, outcome, true_curve)
        if outcome.wrong and evidence:
            shutil.copytree(folder, evidence / str(seed), dirs_exist_ok=True, ignore_dangling_symlinks=True)
            (evidence / str(seed) / "output").write_text(
                plane.output() + "".join(each.text for each in plane.world.logs)
            )
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def _harm(
    plane: Plane, draw: random.Random, plan: list[tuple[float, str]], outcome: Outcome, done: threading.Event
) -> None:
    began = time.monotonic()
    for moment, name in plan:
        if done.wait(max(0.0, began + moment - time.monotonic())):
            return
        HARMS[name](plane, draw)
        outcome.struck += 1


def _use(folder: Path, plane: Plane, outcome: Outcome, kill_after: float) -> None:
    """As a person would: apply, and again while it is not finished; what stands in the way is taken away first."""
    for number in range(APPLIES):
        client = _client(folder, plane)
        try:
            limit = kill_after if outcome.is_killed and number == 0 else PATIENCE_SECONDS
            code = client.wait(limit)
        except subprocess.TimeoutExpired:
            client.kill()
            code = client.wait()
            if not (outcome.is_killed and number == 0):
                outcome.wrong.append("a client hung")
                return
        outcome.codes.append(code)
        if code == 0:
            return
        if code not in (-9, 7):
            _check_words(folder, plane, outcome, code)
        if number > 0:
            plane.faults.clear()
    outcome.wrong.append("it never finished")


def _check_words(folder: Path, plane: Plane, outcome: Outcome, code: int) -> None:
    """What `runs` says must be what `apply` said, and then nothing may work at it any more."""
    listed = json.loads(_sftrun(folder, plane, "runs", "--format", "json").communicate(timeout=60)[0])
    status = listed["runs"][0]["status"]
    if status != ENDS.get(code):
        outcome.wrong.append(f"apply ended with {code}, runs says {status}: {(folder / 'said').read_text()[-300:]}")
    try:
        plane.wait_until(lambda: not plane.working(), 30.0)
    except TimeoutError:
        outcome.wrong.append(f"a container works at a run that is {status}")


def _judge(folder: Path, plane: Plane, outcome: Outcome, true_curve: dict[int, float]) -> None:
    seen = record(plane)
    mirror = next((folder / "ledger/runs").glob("*/events.jsonl"), None)
    numbers = [event["seq"] for event in seen]
    outcome.attempts = sum(event["kind"] == "started" for event in seen)
    found = {
        "the record is not finished": not seen or seen[-1]["kind"] != "finished",
        "the record's numbers do not rise": numbers != sorted(set(numbers)),
        "the curve is another one": not _same(curve(seen), true_curve),
        "a step was trained twice in one attempt": repeats(seen),
        "the watcher's events are not the record's": mirror is None or lines(mirror) != seen,
        "the plane has a bug": bool(plane.bugs),
    }
    outcome.wrong += [words for words, is_so in found.items() if is_so]
    try:
        plane.wait_until(lambda: not plane.world.running_tasks(), 30.0)
    except TimeoutError:
        outcome.wrong.append("a container was left")


def curve(seen: list[dict[str, Any]]) -> dict[int, float]:
    """The loss of each step as the record's reader sees it: a new attempt takes back what it does again."""
    found: dict[int, float] = {}
    for event in seen:
        if event["kind"] == "started":
            found = {step: loss for step, loss in found.items() if step <= (event["resumed_from"] or 0)}
        elif event["kind"] == "step":
            found[event["step"]] = event["loss"]
    return found


def repeats(seen: list[dict[str, Any]]) -> bool:
    last = 0
    for event in seen:
        if event["kind"] == "started":
            last = event["resumed_from"] or 0
        elif event["kind"] == "step":
            if event["step"] <= last:
                return True
            last = event["step"]
    return False


def _same(one: dict[int, float], other: dict[int, float]) -> bool:
    return one.keys() == other.keys() and all(abs(one[step] - other[step]) < 1e-4 for step in one)


def record(plane: Plane) -> list[dict[str, Any]]:
    file = next(plane.volume("outputs").glob(".sftrun/runs/*/events.jsonl"), None)
    return lines(file) if file else []


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(each) for each in file.read_text().splitlines()]


@contextmanager
def desk() -> Iterator[tuple[Path, Plane]]:
    """A user's folder, and a Modal."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        (folder / "recipe.yaml").write_text(RECIPE)
        rows = [{"instruction": f"say {word}", "output": word * 3} for word in ("red", "blue", "green", "amber") * 16]
        (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        with Plane(folder / "plane", preemption_grace_seconds=20.0) as plane:
            yield folder, plane


def _client(folder: Path, plane: Plane) -> "subprocess.Popen[str]":
    return _sftrun(folder, plane, "apply", "recipe.yaml", "--format", "json")


def _sftrun(folder: Path, plane: Plane, *words: str) -> "subprocess.Popen[str]":
    home = {"SFTRUN_HOME": str(folder / "ledger"), "PYTHONPATH": str(ROOT)}
    is_apply = words[0] == "apply"
    with (folder / "said").open("a") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "sftrun.cli.main", *words],
            cwd=folder,
            env={**os.environ, **plane.client_env(), **home},
            stdout=subprocess.DEVNULL if is_apply else subprocess.PIPE,
            stderr=said,
            text=True,
        )


def line(outcome: Outcome) -> str:
    what = " + ".join(outcome.harms) + (" + client killed" if outcome.is_killed else "")
    how = "; ".join(outcome.wrong) or "ok"
    figures = f"{outcome.seed:5} {outcome.seconds:6.1f} s  applies {outcome.codes}  attempts {outcome.attempts}"
    return f"{figures}  {what}: {how}"


def table(outcomes: list[Outcome]) -> str:
    """Markdown: all runs, then by fault."""
    good = [outcome for outcome in outcomes if not outcome.wrong]
    alone = sum(1 for outcome in good if len([code for code in outcome.codes if code != -9]) == 1)
    killed = sum(-9 in outcome.codes for outcome in outcomes)
    seeds, faults = [outcome.seed for outcome in outcomes], sum(len(outcome.harms) for outcome in outcomes)
    head = (
        f"{len(outcomes)} runs (seeds {min(seeds)} to {max(seeds)}), {faults} faults drawn, "
        f"{sum(outcome.struck for outcome in outcomes)} of them let loose before the end, the client killed in "
        f"{killed}: {len(good)} finished with the undisturbed curve and a true "
        f"record, {alone} of them without being applied again after an end; {len(outcomes) - len(good)} did not.\n"
    )
    drawn, bad = Counter[str](), Counter[str]()
    applied: Counter[str] = Counter()
    for outcome in outcomes:
        names = set(outcome.harms) | ({"client killed"} if -9 in outcome.codes else set())
        drawn.update(names)
        bad.update(names if outcome.wrong else ())
        applied.update(names if len([code for code in outcome.codes if code != -9]) > 1 else ())
    rows = [f"| {name} | {drawn[name]} | {applied[name]} | {bad[name]} |" for name in sorted(drawn)]
    return "\n".join([head, "| fault | runs with it | applied again | wrong |", "|---|---:|---:|---:|", *rows]) + "\n"


def _kept(file: Path | None) -> list[Outcome]:
    return [Outcome(**json.loads(each)) for each in file.read_text().splitlines()] if file and file.exists() else []


if __name__ == "__main__":
    main()
