"""`apply` with real processes and files; the supervisor behind speaks the real one's protocol and trains nothing."""

import json
import os
import signal
import subprocess
import time
from typing import Any

import pytest

from sftrun.disk import flock
from sftrun.disk.flock import myself
from tests import patience
from tests.run.cli_runs import Place, wait_until

HELD = {"FAKE_HOLD_AT": "7"}


def holder_pid(place: Place) -> int:
    return int(json.loads((place.run / "lock").read_text())["pid"])


def test_a_new_recipe_runs_to_its_end(place: Place) -> None:
    done = place.sftrun("apply", "r.yaml")
    assert done.returncode == 0, done.stderr
    assert "step 20/20" in done.stdout
    assert "125 of 1,000 parameters" in done.stdout
    assert "\x1b" not in done.stdout
    assert {f.name for f in place.run.iterdir()} >= {
        "run.json",
        "recipe.yaml",
        "plan.json",
        "lock.json",
        "job.json",
        "events.jsonl",
        "worker.log",
        "report.json",
    }
    assert (place.run / "recipe.yaml").read_text() == (place.path / "r.yaml").read_text()


def test_a_finished_run_has_nothing_to_do(place: Place) -> None:
    place.sftrun("apply", "r.yaml")
    before = place.events()
    again = place.sftrun("apply", "r.yaml")
    assert again.returncode == 0
    assert again.stdout.startswith(f"nothing to do: run {place.run.name} has finished; its adapter is in ")
    assert place.events() == before


def test_what_concerns_only_the_outside_is_the_same_run(place: Place) -> None:
    place.sftrun("apply", "r.yaml")
    assert "nothing to do" in place.sftrun("apply", "r.yaml", "--set", "budget.max_usd=3").stdout
    assert "started" in place.sftrun("apply", "r.yaml", "--set", "trainer.seed=1").stdout
    assert len(place.runs) == 2


def test_a_finished_run_whose_adapter_is_gone_says_so(place: Place) -> None:
    place.sftrun("apply", "r.yaml")
    (place.path / ".sftrun/volumes/results/tryout/sftrun.json").unlink()
    again = place.sftrun("apply", "r.yaml")
    assert again.returncode == 1
    assert "error: there is no adapter in" in again.stderr
    assert "--force" in again.stderr


def test_force_starts_over_as_a_run_of_its_own(place: Place) -> None:
    place.sftrun("apply", "r.yaml")
    assert place.sftrun("apply", "r.yaml", "--force").returncode == 0
    assert len(place.runs) == 2


def test_force_does_not_disturb_a_run_under_way(place: Place) -> None:
    place.sftrun("apply", "r.yaml", "--detach", **HELD)
    forced = place.sftrun("apply", "r.yaml", "--force")
    assert forced.returncode == 6
    assert "sftrun cancel" in forced.stderr


def test_a_failed_run_goes_on_from_its_checkpoint(place: Place) -> None:
    failed = place.sftrun("apply", "r.yaml", FAKE_FAIL_AT="7")
    assert failed.returncode == 3
    assert "failed: CUDA is out\n  help: buy more" in failed.stderr
    assert "buy more" not in failed.stdout
    assert "help: buy more" in place.sftrun("show", "tryout").stdout
    again = place.sftrun("apply", "r.yaml")
    assert again.returncode == 0
    assert "resumed (failed at step 7)" in again.stdout
    assert "step 5/20" not in again.stdout
    assert [e["resumed_from"] for e in place.events() if e["kind"] == "started"] == [None, 5]


def test_two_at_once_are_one_run(place: Place) -> None:
    both = [place.start("apply", "r.yaml", "--format", "json", FAKE_STEP_SECONDS="0.05") for _ in range(3)]
    said = [process.communicate(timeout=patience.SECONDS) for process in both]
    assert [process.returncode for process in both] == [0, 0, 0], said
    assert place.kinds().count("started") == 1
    assert sum("started" in err for _, err in said) == 1
    assert all(json.loads(out.splitlines()[-1])["kind"] == "finished" for out, _ in said)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_the_run_outlives_its_command(place: Place, number: int) -> None:
    command = place.start("apply", "r.yaml", **HELD)
    place.wait_for_step(7)
    command.send_signal(number)
    command.communicate(timeout=patience.SECONDS)
    attached = place.start("apply", "r.yaml")
    with attached:
        assert attached.stdout is not None
        assert "is under way already; attached to it" in attached.stdout.readline()
        place.release()
        assert "step 20/20" in attached.stdout.read()
    assert attached.returncode == 0
    assert place.kinds().count("started") == 1


def test_a_killed_supervisor_is_lost_and_resumed(place: Place) -> None:
    command = place.start("apply", "r.yaml", **HELD)
    place.wait_for_step(7)
    os.kill(holder_pid(place), signal.SIGKILL)
    _, said = command.communicate(timeout=patience.SECONDS)
    assert command.returncode == 3
    assert "was lost at step" in said
    assert "its supervisor was killed" in said
    assert "lost" in place.sftrun("runs").stdout
    again = place.sftrun("apply", "r.yaml")
    assert again.returncode == 0
    assert "resumed (lost at step" in again.stdout


def test_a_supervisor_that_never_began_gives_its_words(place: Place) -> None:
    done = place.sftrun("apply", "r.yaml", FAKE_DIE="1")
    assert done.returncode == 3
    assert "ended before it began (exit 1)\n  | no module named torch" in done.stderr
    assert place.sftrun("apply", "r.yaml").returncode == 0


def test_detach_then_attach_then_cancel(place: Place) -> None:
    detached = place.sftrun("apply", "r.yaml", "--detach", **HELD)
    assert detached.returncode == 0
    assert f"sftrun attach {place.run.name}" in detached.stdout
    place.wait_for_step(7)
    with place.start("attach", "tryout") as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        assert "attempt 1" in watching.stdout.readline()
        assert "stops at its next step" in place.sftrun("cancel", "tryout").stdout
        assert "step 7/20" in watching.stdout.read()
        assert "has stopped at step" in watching.stderr.read()
    assert watching.returncode == 4
    assert "nothing to do" in place.sftrun("cancel", "tryout").stdout


def test_cancel_now_ends_it_at_once(place: Place) -> None:
    place.sftrun("apply", "r.yaml", "--detach", **HELD)
    place.wait_for_step(7)
    pid = holder_pid(place)
    assert place.sftrun("cancel", "tryout", "--now").returncode == 0
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"))


@pytest.mark.parametrize(
    ("foreign", "code"),
    [({"host": "other-host", "boot": ""}, 1), ({"host": "other-host", "boot": "another life"}, 1), ({"started": 1}, 0)],
)
def test_cancel_now_never_ends_a_stranger_with_the_same_number(
    place: Place, foreign: dict[str, object], code: int
) -> None:
    place.sftrun("apply", "r.yaml", "--detach", **HELD)
    place.wait_for_step(7)
    os.kill(holder_pid(place), signal.SIGKILL)
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        held = flock.acquire(place.run / "lock", lambda _: time.sleep(0.01))
        signed = {**vars(myself()), "pid": stranger.pid, "started": flock.began(stranger.pid), **foreign}
        (place.run / "lock").write_text(json.dumps(signed))
        done = place.sftrun("cancel", "tryout", "--now")
        assert done.returncode == code
        assert ("other-host" in done.stderr) == bool(code)
        assert stranger.poll() is None
        stranger.kill()
        os.close(held)


def test_json_is_the_events_and_nothing_else(place: Place) -> None:
    done = place.sftrun("apply", "r.yaml", "--format", "json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == place.events()
    again = place.sftrun("apply", "r.yaml", "--format", "json")
    assert json.loads(again.stdout)["kind"] == "finished"


def test_a_dry_run_writes_nothing_and_gives_reasons(place: Place) -> None:
    done = place.sftrun("apply", "r.yaml", "--dry-run")
    assert done.returncode == 0
    assert "model.attn_implementation" in done.stdout
    assert "would write" in done.stdout
    assert place.runs == []


def test_a_wrong_recipe_starts_nothing(place: Place) -> None:
    done = place.sftrun("apply", "r.yaml", "--set", "trainer.max_stepps=3")
    assert done.returncode == 1
    assert "max_stepps" in done.stderr
    assert "Traceback" not in done.stderr
    assert place.runs == []


def test_a_budget_must_be_an_amount(place: Place) -> None:
    done = place.sftrun("apply", "r.yaml", "--max-usd", "lots")
    assert done.returncode == 2
    assert "`lots` is no amount above zero" in done.stderr


def test_show_gives_the_report(place: Place) -> None:
    place.sftrun("apply", "r.yaml")
    shown: dict[str, Any] = json.loads(place.sftrun("show", "tryout", "--format", "json").stdout)
    assert (shown["status"], shown["step"], shown["trainable_parameters"]) == ("finished", 20, 125)
    assert shown["samples"] == [{"prompt": "hello", "before": "before \x1b[31mred", "after": "after"}]


def test_a_model_cannot_write_escape_codes_to_the_terminal(place: Place) -> None:
    place.sftrun("apply", "r.yaml")
    assert "\x1b[31m" not in place.sftrun("show", "tryout").stdout


def test_logs_follow_until_the_end(place: Place) -> None:
    place.sftrun("apply", "r.yaml", "--detach", FAKE_STEP_SECONDS="0.02")
    said = place.sftrun("logs", "tryout", "-f")
    assert said.stdout.splitlines()[-1] == "worker at step 20"


@pytest.mark.parametrize("name", ["run.json", "plan.json", "job.json"])
@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_a_damaged_file_is_named(place: Place, name: str, content: str) -> None:
    place.sftrun("apply", "r.yaml")
    (place.run / name).write_text(content)
    shown = place.sftrun("show", place.run.name)
    assert shown.returncode == 1
    assert f"{name}` is damaged" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_damaged_run_is_resumed_all_the_same(place: Place) -> None:
    place.sftrun("apply", "r.yaml", FAKE_FAIL_AT="7")
    for name in ("run.json", "plan.json", "job.json"):
        (place.run / name).write_text("{")
    assert place.sftrun("apply", "r.yaml").returncode == 0


@pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="needs a folder where root may not write either")
def test_a_ledger_that_cannot_be_written_is_said_so(place: Place) -> None:
    done = place.sftrun("apply", "r.yaml", SFTRUN_HOME="/sys/kernel/sftrun")
    assert done.returncode == 1
    assert "can't make the folder `/sys/kernel/sftrun" in done.stderr
    assert "SFTRUN_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_where_the_ledger_should_be(place: Place) -> None:
    (place.path / ".sftrun").write_text("")
    done = place.sftrun("apply", "r.yaml")
    assert done.returncode == 1
    assert "is a file, not a folder" in done.stderr
    assert "Traceback" not in done.stderr


def peak_kilobytes(place: Place, steps: int) -> int:
    """Largest memory of the command while it watches a run of so many steps."""
    command = place.start("apply", "r.yaml", "--set", f"trainer.max_steps={steps}", FAKE_STEP_SECONDS="0")
    with command:
        assert command.stdout is not None
        command.stdout.read()
        _, status, usage = os.wait4(command.pid, 0)
        command.returncode = os.waitstatus_to_exitcode(status)
    assert command.returncode == 0
    return usage.ru_maxrss


def test_memory_of_the_command_is_flat_over_ten_thousand_events(place: Place) -> None:
    few, many = peak_kilobytes(place, 20), peak_kilobytes(place, 10_000)
    assert many - few < 12_000
