"""Each usual mistake is mended by the help as it is printed: done once for each problem, it leaves a valid recipe."""

import json
from pathlib import Path

import pytest

from sftrun.cli.examine import examine_file
from sftrun.facts.values import Machine
from sftrun.recipe.mending import edited
from tests.cli.mistakes import HERE, HERE_MISTAKES, MISTAKES, RIGHT

BAR = 0.95
ALL = {name: RIGHT.replace(*change) for name, change in MISTAKES.items()} | {
    name: HERE.replace(*change) for name, change in HERE_MISTAKES.items()
}


@pytest.fixture(scope="module")
def mended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """By mistake: what is still wrong after the help was followed; what was never wrong is said to be so."""
    folder = tmp_path_factory.mktemp("mistakes")
    rows = ({"instruction": f"What is {n} and one?", "output": f"It is {n + 1}."} for n in range(40))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SFTRUN_HOME", str(folder / "ledger"))
        patch.setattr("sftrun.facts.gather.machine", lambda: Machine(cpu_cores=2, memory_gb=16))
        return {name: _left(folder / "recipe.yaml", text) for name, text in ALL.items()}


def _errors(file: Path, text: str) -> list[object]:
    return [one for one in examine_file(file, text=text).diagnostics if one.severity == "error"]


def _left(file: Path, text: str) -> list[str]:
    first = examine_file(file, text=text)
    wrong = [one for one in first.diagnostics if one.severity == "error"]
    if not wrong:
        return ["nothing was found to be wrong"]
    for one in wrong:
        now = examine_file(file, text=text)
        still = next((other for other in now.diagnostics if (other.code, other.at) == (one.code, one.at)), None)
        text = text if still is None else edited(text, still, now.loaded.source) or text
    left = [one for one in examine_file(file, text=text).diagnostics if one.severity == "error"]
    return [f"{one.code} {one.message}: {one.help}" for one in left]


def test_there_are_sixty_and_each_is_one() -> None:
    assert len(ALL) >= 60
    assert not [name for name, text in ALL.items() if text in (RIGHT, HERE)]
    assert len(set(ALL.values())) == len(ALL)


def test_the_recipes_that_they_are_made_of_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFTRUN_HOME", str(tmp_path))
    (tmp_path / "rows.jsonl").write_text('{"instruction": "a b", "output": "c"}\n')
    for text in (RIGHT, HERE):
        assert [
            one for one in examine_file(tmp_path / "r.yaml", text=text).diagnostics if one.severity == "error"
        ] == []


@pytest.mark.slow
def test_the_help_mends_nearly_all_of_them(mended: dict[str, list[str]]) -> None:
    left = {name: what for name, what in mended.items() if what}
    assert len(left) <= (1 - BAR) * len(ALL), left
