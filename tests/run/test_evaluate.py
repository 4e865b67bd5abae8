"""`evaluate`: what is asked, what is kept, what is judged anew, and how it ends."""

import json
from pathlib import Path

import pytest

from tests.run.cli_runs import Place

ROWS = 40


@pytest.fixture
def finished(place: Place) -> Place:
    rows = [{"prompt": f"q{n} ", "completion": f"a{n}", "kind": "even" if n % 2 == 0 else "odd"} for n in range(ROWS)]
    (place.path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert place.sftrun("apply", "r.yaml").returncode == 0
    return place


def answers(place: Place) -> list[str]:
    (file,) = (place.run / "evaluations").glob("*/answers.jsonl")
    return file.read_text().splitlines()


def test_a_verdict_has_figures_groups_and_what_can_not_be_told(finished: Place) -> None:
    said = finished.sftrun("evaluate", "tryout", "--data", "test.jsonl", "--by", "kind")
    assert said.returncode == 0, said.stderr
    lines = [line.split() for line in said.stdout.splitlines()]
    assert ["exact_match", "40", "0", "%", "50.0", "%"] in [line[:6] for line in lines]
    assert ["even", "20", "0", "%", "100", "%"] in [line[:6] for line in lines]
    assert ["better", "at", "exact_match"] in lines
    assert "40 rows show a difference of 25 points or more, 4 times of 5" in said.stderr


def test_other_metrics_groups_and_gates_ask_nothing_again(finished: Place) -> None:
    finished.sftrun("evaluate", "tryout", "--data", "test.jsonl")
    told = ("--metrics", "contains,chrf", "--by", "kind", "--format", "json")
    said = finished.sftrun("evaluate", "tryout", "--data", "test.jsonl", *told, FAKE_DIE_AFTER="0")
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)["verdict"]
    assert [result["metric"] for result in found["results"]] == ["contains", "chrf"]
    assert {group["group"] for group in found["groups"]} == {"even", "odd"}
    assert len(answers(finished)) == 2 * ROWS


def test_a_metric_that_needs_the_loss_asks_for_it(finished: Place) -> None:
    finished.sftrun("evaluate", "tryout", "--data", "test.jsonl")
    said = finished.sftrun("evaluate", "tryout", "--data", "test.jsonl", "--metrics", "loss", "--format", "json")
    assert json.loads(said.stdout)["verdict"]["results"][0]["base"] == 0.5


def test_what_died_goes_on_where_it_stopped(finished: Place) -> None:
    whole = finished.sftrun("evaluate", "tryout", "--data", "test.jsonl", "--format", "json")
    kept = (finished.run / "evaluations").rename(finished.run / "whole")
    for number in (0, 1, 39, 3, 20):
        died = finished.sftrun("evaluate", "tryout", "--data", "test.jsonl", FAKE_DIE_AFTER=str(number))
        assert died.returncode == 3
        assert "error: the model gave no answer: the weights are gone" in died.stderr
    (file,) = (finished.run / "evaluations").glob("*/answers.jsonl")
    with file.open("ab") as torn:
        torn.write(b'{"model": "tuned", "ind')  # a writer that was killed in the middle of a line
    last = finished.sftrun("evaluate", "tryout", "--data", "test.jsonl", "--format", "json")
    assert last.stdout == whole.stdout
    assert sorted(answers(finished)) == sorted(next(kept.glob("*/answers.jsonl")).read_text().splitlines())


def test_other_rows_are_another_evaluation(finished: Place) -> None:
    finished.sftrun("evaluate", "tryout", "--data", "test.jsonl")
    rows = (finished.path / "test.jsonl").read_text().splitlines()
    (finished.path / "test.jsonl").write_text("\n".join(rows[:10]) + "\n")
    said = finished.sftrun("evaluate", "tryout", "--data", "test.jsonl", "--format", "json")
    assert json.loads(said.stdout)["verdict"]["rows"] == 10


def test_a_closed_gate_exits_with_8_after_its_verdict(finished: Place) -> None:
    told = ("evaluate", "tryout", "--data", "test.jsonl", "--gate")
    said = finished.sftrun(*told, "exact_match:0.9")
    assert said.returncode == 8
    assert "gate" in said.stdout
    assert "the gate of run" in said.stderr
    assert finished.sftrun(*told, "exact_match:0.2").returncode == 0


def test_the_report_has_the_last_verdict(finished: Place) -> None:
    finished.sftrun("evaluate", "tryout", "--data", "test.jsonl")
    said = json.loads(finished.sftrun("report", "tryout", "--format", "json").stdout)
    assert said["evaluation"]["verdict"]["results"][0]["tuned"] == 0.5
    assert "better at" in finished.sftrun("show", "tryout").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "has no `evaluation`"),
        (("--data", "none.jsonl"), "no rows at `none.jsonl`"),
        (("--data", "test.jsonl", "--metrics", "exact"), "no metric `exact`"),
        (("--data", "test.jsonl", "--metrics", "regex"), "looks for a pattern"),
        (("--data", "test.jsonl", "--gate", "number:0.1"), "none of the metrics"),
        (("--data", "test.jsonl", "--gate", "lots"), "no metric `lots`"),
        (("--data", "test.jsonl", "--pattern", "["), "no regular expression"),
    ],
)
def test_a_wrong_command_line_is_told_with_what_to_do(
    finished: Place, arguments: tuple[str, ...], message: str
) -> None:
    said = finished.sftrun("evaluate", "tryout", *arguments)
    assert said.returncode == 2
    assert message in said.stderr
    assert not (finished.run / "evaluations").exists() or not list(
        (finished.run / "evaluations").glob("*/answers.jsonl")
    )


def test_a_column_that_no_row_has_is_named(finished: Place) -> None:
    said = finished.sftrun("evaluate", "tryout", "--data", "test.jsonl", "--by", "knd")
    assert said.returncode == 1
    assert "no column `knd`" in said.stderr
    assert "prompt, completion, kind" in said.stderr


def test_a_run_that_has_not_finished_is_not_asked(place: Place) -> None:
    place.sftrun("apply", "r.yaml", FAKE_FAIL_AT="7")
    Path(place.path, "test.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    said = place.sftrun("evaluate", "tryout", "--data", "test.jsonl")
    assert said.returncode == 1
    assert "there is no adapter in" in said.stderr


def test_runs_are_compared_row_by_row(finished: Place) -> None:
    recipe = (finished.path / "r.yaml").read_text()
    for seed in (1, 2):
        (finished.path / f"s{seed}.yaml").write_text(recipe.replace("name: tryout", f"name: seed-{seed}"))
        assert finished.sftrun("apply", f"s{seed}.yaml", "--set", f"trainer.seed={seed}").returncode == 0
        finished.sftrun("evaluate", f"seed-{seed}", "--data", "test.jsonl")
    alone = finished.sftrun("compare", "seed-2", "seed-2")
    assert alone.returncode == 2
    said = json.loads(finished.sftrun("compare", "seed-1", "seed-2", "--format", "json").stdout)
    result = said["against"][0]["verdict"]["results"][0]
    assert (said["rows"], result["base"], result["tuned"], result["difference"]) == (ROWS, 0.5, 0.5, 0.0)
    assert "each run against seed-1" in finished.sftrun("compare", "seed-1", "seed-2").stdout
    never = finished.sftrun("compare", "seed-1", "tryout")
    assert never.returncode == 1
    assert "was not evaluated yet" in never.stderr


def test_the_page_has_the_rows_and_no_script(finished: Place) -> None:
    finished.sftrun("evaluate", "tryout", "--data", "test.jsonl", "--by", "kind")
    page = finished.sftrun("report", "tryout", "--html", "-").stdout
    assert page.count("<article") == ROWS
    assert "only-worse" in page
    assert "<script" not in page


def test_another_evaluation_of_the_same_run_is_said_and_not_passed_over(finished: Place) -> None:
    recipe = (finished.path / "r.yaml").read_text()
    (finished.path / "r.yaml").write_text(recipe + "evaluation: {data: test.jsonl}\n")
    said = finished.sftrun("apply", "r.yaml")
    assert "nothing to do" in said.stdout
    assert f"`sftrun evaluate {finished.run.name} --data test.jsonl` asks it" in said.stderr
