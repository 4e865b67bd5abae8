"""A recipe on Modal: the real client, a control plane on loopback, the real job in Modal's own container entry point.

The runs here are those of a user: `sftrun apply`, Ctrl-C, `kill -9`, `attach`, `cancel`, `pull`.
"""

import json
import os
import signal
from collections.abc import Iterator
from typing import IO, Any

import pytest

from modal_plane import bare_python
from sftrun.facts import locks
from tests.run.modal_desk import ROOT, TOKEN, WAIT, Desk, losses, opened, recorded, started

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, list[dict[str, Any]]]]:
    """A run that nothing happened to, in an image that holds the engine's lock and Modal's own packages alone."""
    folder = tmp_path_factory.mktemp("undisturbed")
    python = bare_python(folder / "image", "modal", *locks.read("trl"))
    with opened(folder, python=python, hide=(ROOT / "sftrun",)) as desk:
        yield desk, desk.events("apply", "recipe.yaml")


Reference = tuple[Desk, list[dict[str, Any]]]


def test_what_is_watched_is_what_is_recorded(undisturbed: Reference) -> None:
    desk, seen = undisturbed
    assert seen[-1]["kind"] == "finished"
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    assert list(losses(seen)) == list(range(1, 101))
    assert recorded(desk) == seen
    assert not {"ruamel", "ruamel.yaml"} & {path.name for path in desk.folder.glob("image/lib/*/site-packages/*")}
    assert float(seen[-1]["spent_usd"]) > 0


def test_a_finished_run_is_left_alone_and_pulled(undisturbed: Reference) -> None:
    desk, _ = undisturbed
    assert "nothing to do" in desk.run("apply", "recipe.yaml")
    desk.run("pull", "remote", "adapter")
    assert (desk.folder / "adapter/adapter_model.safetensors").stat().st_size > 1000
    assert desk.plane.count("FunctionMap") == 1
    assert "http" in desk.run("show", "remote")


def test_a_machine_without_torch_asks_the_model_on_modal(undisturbed: Reference) -> None:
    desk, _ = undisturbed
    base = ("modal", "click", "jinja2", "pydantic", "rich", "ruamel.yaml", "tokenizers")
    laptop = bare_python(desk.folder / "laptop", *base)
    client = desk.start(
        "generate", "remote", "say red", "say blue", "--format", "json", "--max-new-tokens", "4", python=laptop,
        PYTHONPATH=str(ROOT),
    )  # fmt: skip
    printed, said = client.communicate(timeout=WAIT)
    assert client.returncode == 0, said
    answers = [json.loads(line) for line in printed.splitlines()]
    assert [answer["prompt"] for answer in answers] == ["say red", "say blue"]
    assert all(isinstance(answer["tuned"], str) and isinstance(answer["base"], str) for answer in answers)
    (asked,) = (task for task in desk.plane.tasks if task.function.name == "answer")
    assert asked.definition.concurrency_limit == 1


def test_a_machine_that_has_only_the_id_finds_the_run(undisturbed: Reference) -> None:
    desk, seen = undisturbed
    run = next(path.name for path in (desk.folder / "ledger/runs").iterdir() if not path.name.startswith("."))
    process = desk.start("attach", run, "--volume", "outputs", "--format", "json", home="elsewhere")
    printed, said = process.communicate(timeout=WAIT)
    assert process.returncode == 0, said
    assert [json.loads(line) for line in printed.splitlines()] == seen


def test_no_token_is_ever_written_down(undisturbed: Reference) -> None:
    desk, _ = undisturbed
    secrets = (TOKEN, desk.plane.token[1])
    kept = [path for path in (desk.folder / "ledger").rglob("*") if path.is_file()]
    kept += [path for path in desk.plane.volume("outputs").rglob("*") if path.is_file()]
    assert len(kept) > 10
    assert not [path for path in kept if any(secret.encode() in path.read_bytes() for secret in secrets)]
    assert not any(secret in desk.plane.output() for secret in secrets)


def read(pipe: IO[str] | None, lines: int | None = None) -> str:
    """So many lines as they come, or all that is left."""
    assert pipe is not None
    return pipe.read() if lines is None else "".join(pipe.readline() for _ in range(lines))


def test_a_killed_client_a_preemption_and_a_cut_wire_change_nothing(desk: Desk, undisturbed: Reference) -> None:
    client = desk.start("apply", "recipe.yaml")
    desk.wait_for('"kind":"checkpoint"')
    client.kill()
    client.communicate()
    next(desk.folder.glob("ledger/runs/*/remote.json")).unlink()  # as if it had been killed just after the spawn
    assert desk.plane.preempt() == 1
    elsewhere = desk.start("apply", "recipe.yaml", "--format", "json", home="elsewhere")
    watchers = [desk.start("attach", "remote", "--format", "json"), elsewhere]
    firsts = [read(watcher.stdout, 1) for watcher in watchers]  # each of them has a wire to be cut
    desk.wait_for('"attempt":2')
    desk.plane.cut_wire(3.0)
    heard = [
        (first + read(watcher.stdout), read(watcher.stderr)) for first, watcher in zip(firsts, watchers, strict=True)
    ]
    for watcher in watchers:
        watcher.communicate(timeout=WAIT)
    assert [watcher.returncode for watcher in watchers] == [0, 0], heard
    assert all("connected to Modal again" in said for _, said in heard)
    both = [[json.loads(line) for line in printed.splitlines()] for printed, _ in heard]
    assert both[0] == both[1] == recorded(desk)
    assert "has this run under way on Modal" in heard[1][1]
    assert desk.plane.count("FunctionMap") == 1
    assert len(started(both[0])) == 2
    assert losses(both[0]) == pytest.approx(losses(undisturbed[1]), abs=1e-5)


def test_a_killed_worker_and_a_timeout_are_gone_on_from(desk: Desk, undisturbed: Reference) -> None:
    desk.run("apply", "recipe.yaml", "--detach")
    desk.wait_for('"kind":"checkpoint"')
    os.kill(next(event["pid"] for event in recorded(desk) if event["kind"] == "started"), signal.SIGKILL)
    desk.wait_for('"attempt":2')
    desk.plane.inject("function_timeout")
    seen = desk.events("attach", "remote")
    assert [attempt for attempt, _ in started(seen)] == [1, 2, 3]
    assert seen[-1]["kind"] == "finished"
    assert losses(seen) == pytest.approx(losses(undisturbed[1]), abs=1e-5)


def test_cancel_keeps_a_checkpoint_and_apply_goes_on_from_it(desk: Desk) -> None:
    longer = ("apply", "recipe.yaml", "--set", "trainer.max_steps=4000")
    desk.run(*longer, "--detach")
    desk.wait_for('"kind":"step"')
    desk.run("cancel", "remote")
    desk.wait_for('"kind":"stopped"')
    stopped = recorded(desk)[-1]
    assert (stopped["reason"], bool(stopped["checkpoint"])) == ("user", True)
    client = desk.start(*longer)
    desk.wait_for('"resumed_from":' + str(stopped["step"]))
    client.send_signal(signal.SIGINT)
    printed, said = client.communicate(timeout=WAIT)
    assert client.returncode == 0, said
    assert "sftrun attach" in printed
    assert '"status": "running"' in desk.run("runs", "--refresh", "--format", "json")
    desk.run("cancel", "remote", "--now")
    assert '"status": "stopped"' in desk.run("runs", "--format", "json")
    assert '"stop_reason": "user"' in desk.run("show", "remote", "--format", "json")


def test_a_container_that_crashes_too_often_is_said_to_have(desk: Desk) -> None:
    desk.plane.settings.crash_limit = 1
    client = desk.start("apply", "recipe.yaml")
    desk.plane.wait_until(desk.plane.working, WAIT)
    desk.plane.out_of_memory()
    _, said = client.communicate(timeout=WAIT)
    assert client.returncode == 3, said
    assert "ran out of memory" in said
    assert '"status": "failed"' in desk.run("runs", "--format", "json")


@pytest.mark.parametrize(
    ("fault", "options", "code", "words"),
    [
        ("import_error", {"module": "flash_attn"}, 3, "add `flash_attn` to `compute.image.pip`"),
        ("terminated", {}, 4, "has stopped"),
        ("unknown_exception", {}, 3, "failed"),
    ],
)
def test_what_modal_says_of_an_end_is_the_run_s_state(
    desk: Desk, fault: str, options: dict[str, Any], code: int, words: str
) -> None:
    client = desk.start("apply", "recipe.yaml", "--set", "compute.retries=0")
    desk.plane.wait_until(desk.plane.working, WAIT)
    desk.plane.inject(fault, **options)
    _, said = client.communicate(timeout=WAIT)
    assert client.returncode == code, said
    assert words in said


def test_a_failed_build_shows_its_log_and_the_recipe_s_line(desk: Desk) -> None:
    desk.plane.settings.build_log = ["Collecting no-such-thing==9", "still looking"]
    desk.plane.settings.build_failures["no-such-thing"] = "error: no matching distribution for no-such-thing==9"
    client = desk.start("apply", "recipe.yaml", "--set", "compute.image.pip=[no-such-thing==9]")
    _, said = client.communicate(timeout=WAIT)
    assert client.returncode == 7, said
    assert "| error: no matching distribution" in said
    assert "change `no-such-thing==9` under `compute.image.pip`" in said
    assert '"status": "failed"' in desk.run("runs", "--format", "json")


def test_a_gpu_that_is_not_to_be_had_is_waited_for_in_words(desk: Desk) -> None:
    desk.plane.inject("gpu_queued", seconds=5.0)
    client = desk.start("apply", "recipe.yaml", "--set", "compute.gpu=L4")
    desk.plane.wait_until(desk.plane.working, WAIT)
    desk.run("cancel", "remote", "--now")
    _, said = client.communicate(timeout=WAIT)
    assert client.returncode == 4, said
    assert "waiting for L4" in said
    assert "got it, after" in said


def test_cancel_ends_a_run_that_still_waits_for_its_gpu(desk: Desk) -> None:
    desk.plane.inject("gpu_queued")
    desk.run("apply", "recipe.yaml", "--set", "compute.gpu=L4", "--detach")
    desk.run("cancel", "remote")
    assert '"status": "stopped"' in desk.run("runs", "--format", "json")
    assert not desk.plane.tasks


def test_without_a_token_one_sentence_says_what_to_run(desk: Desk) -> None:
    desk.plane.token = ("ak-other", "as-secretsecret")
    client = desk.start("apply", "recipe.yaml")
    _, said = client.communicate(timeout=WAIT)
    assert client.returncode == 7
    assert "modal token new" in said
    assert "secretsecret" not in said
