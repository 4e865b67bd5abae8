"""`generate` and `pull`: what a run has made."""

import json
import os
import signal
import subprocess
from decimal import Decimal

import pytest

from tests import patience
from tests.run.cli_runs import Place


@pytest.fixture
def finished(place: Place) -> Place:
    assert place.sftrun("apply", "r.yaml").returncode == 0
    return place


def test_generate_shows_base_and_tuned_side_by_side(finished: Place) -> None:
    said = finished.sftrun("generate", "tryout", "say this", "and that").stdout
    assert "prompt: say this" in said
    assert any(line.split() == ["hm", "SAY", "THIS"] for line in said.splitlines())
    assert any(line.split() == ["hm", "AND", "THAT"] for line in said.splitlines())


def test_generate_answers_in_json(finished: Place) -> None:
    said = finished.sftrun("generate", "tryout", "hi there", "--format", "json", "--max-new-tokens", "2")
    assert json.loads(said.stdout) == {"prompt": "hi there", "base": "hm", "tuned": "HI"}


def test_generate_asks_each_prompt_below_the_system_turn_alone(finished: Place) -> None:
    said = finished.sftrun("generate", "tryout", "one", "two", "--system", "brief", "--format", "json").stdout
    assert [json.loads(line)["base"] for line in said.splitlines()] == ["hm brief", "hm brief"]


def test_a_chat_s_prompts_come_by_a_pipe_too_and_keep_what_was_said(finished: Place) -> None:
    said = subprocess.run(
        finished.command("generate", "tryout", "--format", "json"),
        cwd=finished.path,
        env=finished.environment(),
        input="one\n\ntwo\nthree\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert [json.loads(line)["tuned"] for line in said.stdout.splitlines()] == ["ONE", "TWO", "THREE"]
    assert [json.loads(line)["base"] for line in said.stdout.splitlines()] == ["hm", "hm ONE", "hm ONE TWO"]


def test_generate_says_why_the_model_is_silent(finished: Place) -> None:
    said = finished.sftrun("generate", "tryout", "hi", FAKE_DIE="1")
    assert said.returncode == 3
    assert "error: the model gave no answer: the weights are gone" in said.stderr


def test_generate_of_a_run_that_has_not_finished(place: Place) -> None:
    place.sftrun("apply", "r.yaml", FAKE_FAIL_AT="7")
    said = place.sftrun("generate", "tryout", "hi")
    assert said.returncode == 1
    assert "there is no adapter in" in said.stderr


def test_an_adapter_that_another_run_has_replaced_is_not_taken_for_ones_own(finished: Place) -> None:
    first = finished.run.name
    finished.sftrun("apply", "r.yaml", "--force")
    said = finished.sftrun("pull", first, "out")
    assert said.returncode == 1
    assert f"not that of run {first}" in said.stderr
    assert not (finished.path / "out").exists()


def test_pull_copies_adapter_and_report(finished: Place) -> None:
    said = finished.sftrun("pull", "tryout", "deep/out")
    assert said.returncode == 0, said.stderr
    out = finished.path / "deep" / "out"
    assert (out / "adapter_model.safetensors").read_bytes() == b"weights"
    assert json.loads((out / "report.json").read_text())["status"] == "finished"
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]


def test_pull_replaces_an_earlier_pull(finished: Place) -> None:
    finished.sftrun("pull", "tryout", "out")
    (finished.path / "out" / "report.json").unlink()
    assert finished.sftrun("pull", "tryout", "out").returncode == 0
    assert (finished.path / "out" / "report.json").exists()


def test_pull_leaves_a_foreign_folder_alone(finished: Place) -> None:
    (finished.path / "mine").mkdir()
    (finished.path / "mine" / "thesis.txt").write_text("years of work")
    said = finished.sftrun("pull", "tryout", "mine")
    assert said.returncode == 1
    assert "`mine` holds something else already" in said.stderr
    assert [entry.name for entry in (finished.path / "mine").iterdir()] == ["thesis.txt"]


def test_pull_onto_a_file(finished: Place) -> None:
    said = finished.sftrun("pull", "tryout", "r.yaml")
    assert said.returncode == 1
    assert "`r.yaml` is no folder" in said.stderr


def test_a_run_on_this_machine_has_no_bill(finished: Place) -> None:
    for command in ("show", "report"):
        said = finished.sftrun(command, "tryout", "--billed")
        assert said.returncode == 1
        assert "ran on this machine, for which nobody sends a bill" in said.stderr
        assert "help: leave --billed out" in said.stderr


def test_a_page_goes_to_a_file_or_a_pipe(finished: Place) -> None:
    assert finished.sftrun("report", "tryout", "--html", "page.html").stderr == "wrote page.html\n"
    piped = finished.sftrun("report", "tryout", "--html", "-")
    assert piped.stdout == (finished.path / "page.html").read_text()
    assert piped.stdout.startswith("<!doctype html>")
    assert not (finished.path / "-").exists()


def test_a_run_under_way_and_a_lost_one_count_what_they_have_spent(place: Place) -> None:
    (place.path / "sftrun.toml").write_text('[local]\nusd_per_hour = "3600"\n')
    client = place.start("apply", "r.yaml", FAKE_HOLD_AT="7")
    place.wait_for_step(7)
    assert "so far" in place.sftrun("show", "tryout").stdout
    assert spent(place) > 0
    os.kill(json.loads((place.run / "lock").read_text())["pid"], signal.SIGKILL)
    client.communicate(timeout=patience.SECONDS)
    assert '"status": "lost"' in place.sftrun("runs", "--format", "json").stdout
    assert spent(place) > 0


def spent(place: Place) -> Decimal:
    """What `costs` and `show` say, which must be the same."""
    shown = json.loads(place.sftrun("show", "tryout", "--format", "json").stdout)["spent_usd"]
    summed = json.loads(place.sftrun("costs", "--format", "json").stdout)
    assert summed["usd"] == summed["month_usd"] == shown
    return Decimal(shown)
