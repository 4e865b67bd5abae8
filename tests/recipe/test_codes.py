"""The table of codes: complete, well-formed, one meaning and one severity each."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sftrun.recipe.load import load
from sftrun.recipe.words.codes import TABLE, parse

ROOT = Path(__file__).parent.parent.parent
OTHERS = ("rich", "click", "difflib", "torch")
GIVEN = re.compile(r'"([A-Z]\d{3})"')


def test_every_code_that_is_given_out_is_in_the_table() -> None:
    files = list((ROOT / "sftrun").rglob("*.py"))
    given = {code for file in files for code in GIVEN.findall(file.read_text("utf-8")) if code[0] in "YRMDEGVCSI"}

    assert given - set(TABLE) == set()


ENTRY = """
[Y101]
title = "not YAML"
severity = "error"
why = "a reason."
bad = "a"
good = "b"
"""


def test_a_code_that_stands_twice_is_refused() -> None:
    assert parse(ENTRY)["Y101"].severity == "error"
    with pytest.raises(ValueError, match="Y101"):
        parse(ENTRY + ENTRY)


@pytest.mark.parametrize("line", ['bad = "a"\n', 'why = "a reason."\n', 'title = "not YAML"\n'])
def test_an_entry_that_lacks_a_word_is_refused(line: str) -> None:
    assert line in ENTRY
    with pytest.raises(ValueError, match=line.split()[0]):
        parse(ENTRY.replace(line, ""))


def test_an_entry_with_a_strange_word_is_refused() -> None:
    with pytest.raises(ValueError, match="wrong"):
        parse(ENTRY + 'wrong = "a"\n')


def test_titles_are_short_lower_case_and_without_a_full_stop() -> None:
    names = ("YAML", "LoRA", "DoRA", "GPU", "JSON", "UTF", "Modal", "SFTConfig", "Hub", "Volume")
    for code in TABLE.values():
        assert len(code.title) <= 72, code.code
        assert not code.title.endswith("."), code.code
        assert code.title[0].islower() or not code.title[0].isalpha() or code.title.startswith(names), code.code
        assert code.why.endswith("."), code.code


def test_every_expected_text_has_the_severity_of_the_table() -> None:
    for file in (ROOT / "tests/examples/bad").glob("*.txt"):
        for severity, code in re.findall(r"^(error|warning)\[(\w+)\]", file.read_text("utf-8"), re.MULTILINE):
            assert TABLE[code].severity == severity, (file.name, code)


BASE = """\
version: 1
name: x
model: {name_or_path: Qwen/Qwen2.5-0.5B-Instruct}
dataset: {train: {hub: a/b}, eval: {hub: a/c}}
lora: {r: 16, lora_alpha: 16}
volumes: {/out: store}
output: {dir: /out/x}
"""


# what mends R204 are rows to evaluate on, and here are some
@pytest.mark.parametrize("code", [code for code in TABLE if code.startswith("R2") and code != "R204"])
def test_keys_that_were_mended_as_the_page_says_are_right(code: str, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE, "utf-8")
    loaded = load(tmp_path / "mended.yaml", text=f"version: 1\nextends: base.yaml\n{TABLE[code].good}\n")

    assert [found.message for found in loaded.diagnostics] == []


def test_a_right_recipe_is_judged_without_the_table_and_the_words(tmp_path: Path) -> None:
    script = (
        "import sys; from sftrun.recipe.load import load; "
        f"assert load({str(ROOT / 'tests/examples/good/minimal.yaml')!r}).recipe; "
        f"print(*(m for m in sys.modules if m.startswith('sftrun.recipe') or m in {OTHERS}))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert not {"sftrun.recipe.words.codes", "sftrun.recipe.words.problems", "rich", "click", "difflib", "torch"} & set(
        loaded
    )


@pytest.mark.slow
def test_the_table_of_sft_config_is_that_of_the_locked_trl() -> None:
    pytest.importorskip("trl")
    text = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "from tools.sftconfig_fields import text; print(text(), end='')"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout

    assert (ROOT / "sftrun/recipe/sftconfig.json").read_text("utf-8") == text
