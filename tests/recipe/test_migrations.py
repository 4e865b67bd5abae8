"""The flat form becomes version 1 as edits of its text: golden files before and after, and what is refused."""

from pathlib import Path

import pytest

from sftrun.errors import SftrunError
from sftrun.recipe.load import load
from sftrun.recipe.migrations import FLAT, migrate
from sftrun.recipe.words import kinds

HERE = Path(__file__).parent / "migrations"
GOLDEN = sorted(HERE.glob("*.before.yaml"))


@pytest.mark.parametrize("before", GOLDEN, ids=lambda file: file.name.partition(".")[0])
def test_golden_file_becomes_exactly_its_successor(before: Path) -> None:
    after = before.with_name(before.name.replace(".before.", ".after."))

    assert migrate(before.read_bytes().decode(), before.name) == after.read_bytes().decode()


@pytest.mark.parametrize("after", sorted(HERE.glob("*.after.yaml")), ids=lambda file: file.name.partition(".")[0])
def test_a_migrated_recipe_is_valid_and_stays_as_it_is(after: Path) -> None:
    text = after.read_bytes().decode()

    assert migrate(text, after.name) == text
    assert [found.message for found in load(after).diagnostics] == []


def test_every_flat_key_leads_to_a_key_of_this_version() -> None:
    assert [key for key, target in FLAT.items() if kinds.kind_at(tuple(target.split("."))) is None] == []


def test_comments_and_quotes_are_all_still_there() -> None:
    before = (HERE / "census.before.yaml").read_text("utf-8")
    after = migrate(before, "f")

    assert [c for c in before.split() if "#" in c] == [c for c in after.split() if "#" in c]
    assert "'unsloth/Phi-3-mini-4k-instruct'" in after


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{model_name: a, lora_r: 8}\n", "several keys on one line"),
        ("model_name: [\n", "not sound YAML"),
        ("version: 7\nname: a\n", "has version `7`"),
        ("", "not sound YAML"),
    ],
)
def test_what_can_not_be_moved_safely_is_refused(text: str, message: str) -> None:
    with pytest.raises(SftrunError, match=message):
        migrate(text, "f")


def test_a_byte_order_mark_stays() -> None:
    assert migrate("\ufeffname: a\nlora_r: 8\n", "f") == "\ufeffversion: 1\nname: a\nlora:\n  r: 8\n"
