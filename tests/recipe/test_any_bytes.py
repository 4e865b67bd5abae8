"""Any bytes at all get a diagnostic or a valid recipe, soon, and never an exception: mutated recipes and the corpus."""

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sftrun.recipe.fixes import applied
from sftrun.recipe.load import load
from sftrun.report.show.as_json import document
from sftrun.report.show.carets import columns, render

HERE = Path(__file__).parent
CORPUS = sorted(file for file in (HERE / "corpus").iterdir() if file.is_file())
SEEDS = [file.read_bytes() for file in sorted((HERE.parent / "examples/good").glob("*.yaml"))]
WORDS = [
    *(b"yes no on off null ~ .inf .nan 010 1_000 0x1 2e-4 1e999 -0 true <<: &a *a !!str !t | > ? --- ...".split()),
    *(b"{ } [ ] : , # \" ' \t \x00 \xff \xef\xbb\xbf \xe2\x80\xa8 \xed\xa0\x80 \\ % @ `".split(b" ")),
    *(b"\r \n \xf0\x9f\x98\x80".split(b" ")),
    b"trainer", b"lora: 5", b"extends: .", b"version: 0", b"dataset: x", b"auto", b"none", b"9" * 400, b"[" * 40,
]  # fmt: skip

mutation = st.tuples(
    st.sampled_from(["insert", "delete", "replace", "repeat", "truncate"]),
    st.integers(0, 2500),
    st.integers(0, 40),
    st.one_of(st.sampled_from(WORDS), st.binary(max_size=6)),
)


def mutated(seed: bytes, mutations: list[tuple[str, int, int, bytes]]) -> bytes:
    for kind, at, length, word in mutations:
        at %= len(seed) + 1
        if kind == "insert":
            seed = seed[:at] + word + seed[at:]
        elif kind == "delete":
            seed = seed[:at] + seed[at + length :]
        elif kind == "replace":
            seed = seed[:at] + word + seed[at + len(word) :]
        elif kind == "repeat":
            seed = seed[:at] + seed[at : at + length] * 3 + seed[at + length :]
        elif length > 35:
            seed = seed[:at]
    return seed


def judged(data: bytes) -> None:
    started = time.process_time()
    loaded = load("-", text=data)
    text = render(loaded.diagnostics, loaded.source, colour=False)
    document([("-", loaded.diagnostics, loaded.source)])
    fixes = {found.fix for found in loaded.diagnostics if found.fix is not None}
    if fixes:
        applied(data.decode("utf-8"), fixes)

    assert loaded.recipe is not None or loaded.diagnostics
    assert loaded.recipe is None or loaded.ok
    assert all(columns(line) <= 80 or "here" in line for line in text.splitlines())
    assert "\x1b" not in text
    assert time.process_time() - started < 10  # no blow-up; a bound of a second holds on a quiet machine


@pytest.mark.slow
@given(st.sampled_from(SEEDS), st.lists(mutation, min_size=1, max_size=8))
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_mutated_recipes_get_a_diagnostic_or_a_recipe(
    seed: bytes, mutations: list[tuple[str, int, int, bytes]]
) -> None:
    judged(mutated(seed, mutations))


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_get_a_diagnostic(data: bytes) -> None:
    judged(data)


@pytest.mark.slow
@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_override_gets_a_diagnostic_or_a_recipe(option: str) -> None:
    for text in (option, f"trainer.{option}", f"trainer.seed={option}"):
        loaded = load("-", (text,), text=SEEDS[0])
        render(loaded.diagnostics, loaded.source, colour=False)

        assert loaded.recipe is not None or loaded.diagnostics


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_corpus_of_the_fuzzer_is_judged(file: Path) -> None:
    judged(file.read_bytes())
