"""A recipe on Modal: the real client, a control plane on loopback, the real job in Modal's own container entry point.

The runs here are those of a user: `sftrun apply`, Ctrl-C, `kill -9`, `attach`, `cancel`, `pull`.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sftrun.facts import locks
from tests.modal_plane import Plane, bare_python

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
WAIT = 180.0
RECIPE = """
version: 1
name: remote
model: {name_or_path: "builtin:tiny", dtype: float32}
lora: {r: 4, lora_alpha: 8}
dataset: {train: train.jsonl}
trainer:
  max_steps: 10
  per_device_train_batch_size: 2
  max_length: 64
  learning_rate: 1.0e-3
  logging_steps: 1
  save_steps: 2
  bf16: false
compute: {executor: modal, gpu: none, timeout: 10m, retries: 3}
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

    def start(self, *words: str, home: str = "ledger") -> subprocess.Popen[str]:
        environment = {**os.environ, **self.plane.client_env(), "SFTRUN_HOME": str(self.folder / home)}
        command = [sys.executable, "-m", "sftrun.cli.main", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
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


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Plane(tmp_path / "plane", preemption_grace_seconds=60.0) as plane:
        yield Desk(tmp_path, plane)
    assert not plane.bugs
    assert not plane.missing


def losses(seen: list[dict[str, Any]]) -> dict[int, float]:
    """The loss of each step, as the last attempt that took it says."""
    return {event["step"]: event["loss"] for event in seen if event["kind"] == "step"}


def recorded(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(line) for line in desk.record().splitlines()]


def test_a_run_needs_only_the_lock_s_packages_and_is_found_finished(tmp_path: Path) -> None:
    python = bare_python(tmp_path / "image", "modal", *locks.read("trl"))
    for name in ("click", "rich", "ruamel"):
        assert not (tmp_path / "image/lib/python3.11/site-packages" / name).exists() or name in ("click", "rich")
    with Plane(tmp_path / "plane", python=python, hide=(ROOT,)) as plane:
        desk = Desk(tmp_path, plane)
        seen = desk.events("apply", "recipe.yaml")
        assert seen[-1]["kind"] == "finished"
        assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
        assert list(losses(seen)) == list(range(1, 11))
        assert recorded(desk) == seen
        assert "nothing to do" in desk.run("apply", "recipe.yaml")
        desk.run("pull", "remote", "adapter")
        assert (desk.folder / "adapter/adapter_model.safetensors").stat().st_size > 1000
        assert plane.count("FunctionMap") == 1


def test_a_preempted_run_goes_on_with_the_same_curve(desk: Desk) -> None:
    desk.run("apply", "recipe.yaml", "--detach")
    desk.wait_for('"kind":"checkpoint"')
    assert desk.plane.preempt() == 1
    desk.events("attach", "remote")
    broken = losses(recorded(desk))
    desk.run("apply", "recipe.yaml", "--force", "--set", "output.dir=/out/other", "--detach")
    whole = losses(desk.events("attach", "remote"))
    assert broken == pytest.approx(whole, abs=1e-5)


def test_a_client_that_is_killed_loses_nothing(desk: Desk) -> None:
    client = desk.start("apply", "recipe.yaml")
    desk.wait_for('"kind":"checkpoint"')
    client.kill()
    client.communicate()
    seen = desk.events("attach", "remote")
    assert seen[-1]["kind"] == "finished"
    assert [event["kind"] for event in seen].count("started") == 1


def test_ctrl_c_leaves_the_run_alone(desk: Desk) -> None:
    client = desk.start("apply", "recipe.yaml")
    desk.wait_for('"kind":"started"')
    client.send_signal(signal.SIGINT)
    _, said = client.communicate(timeout=WAIT)
    assert client.returncode == 0, said
    assert desk.events("attach", "remote")[-1]["kind"] == "finished"


def test_cancel_keeps_a_checkpoint_and_apply_goes_on_from_it(desk: Desk) -> None:
    desk.run("apply", "recipe.yaml", "--set", "trainer.max_steps=400", "--detach")
    desk.wait_for('"kind":"step"')
    desk.run("cancel", "remote")
    desk.wait_for('"kind":"stopped"')
    stopped = recorded(desk)[-1]
    assert stopped["reason"] == "user"
    assert stopped["checkpoint"]
    client = desk.start("apply", "recipe.yaml", "--set", "trainer.max_steps=400", "--format", "json")
    desk.wait_for('"resumed_from":' + str(stopped["step"]))
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=WAIT)
    desk.run("cancel", "remote", "--now")


def test_a_container_that_is_killed_is_replaced(desk: Desk) -> None:
    desk.run("apply", "recipe.yaml", "--detach")
    desk.wait_for('"kind":"checkpoint"')
    assert desk.plane.kill_containers() == 1
    seen = desk.events("attach", "remote")
    assert seen[-1]["kind"] == "finished"
    assert [event["attempt"] for event in seen if event["kind"] == "started"] == [1, 2]


def test_without_a_token_one_sentence_says_what_to_run(desk: Desk) -> None:
    desk.plane.token = ("ak-other", "as-secretsecret")
    client = desk.start("apply", "recipe.yaml")
    _, said = client.communicate(timeout=WAIT)
    assert client.returncode == 7
    assert "modal token new" in said
    assert "secretsecret" not in said
