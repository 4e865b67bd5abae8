"""The fast way of counting tokens gives the tokenizer's own answer, for every kind of tokenizer."""

from pathlib import Path
from random import Random

import pytest

from sftrun.errors import Problem
from sftrun.rows.tokenizer import Measured, Tokens, load
from tests.rows.tokenizers_for_tests import EOS, KINDS, corpus, save


@pytest.fixture(scope="module", params=KINDS)
def tokens(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    found = load(save(KINDS[request.param](), tmp_path_factory.mktemp("tokenizer")))
    assert isinstance(found, Tokens)
    return found


def pairs() -> list[tuple[str, str]]:
    rng, texts = Random(3), [*corpus(2), "", EOS, f"{EOS}x", "<|im_start|>user", "a" + EOS]
    chosen = [(rng.choice(texts), rng.choice(texts)) for _ in range(600)]
    return [*chosen, ("### Response:\n", "Tokyo"), ("a ", " b"), ("a\n", "\nb"), ("it'", "s"), ("12", "34"), ("a", "")]


@pytest.mark.parametrize("only", [True, False])
def test_the_fast_way_counts_what_the_tokenizer_counts(tokens: Tokens, only: bool) -> None:
    assert tokens._pieces is not None, "this kind of tokenizer should have a fast way"
    fast = tokens.measure(pairs(), only=only)
    assert fast == list(tokens._slow(pairs(), only))


def test_most_rows_in_ascii_go_the_fast_way(tokens: Tokens) -> None:
    fast = [tokens._fast(prompt, completion, True) for prompt, completion in pairs()]
    assert sum(found is not None for found in fast) > 0.9 * len(fast)


def test_a_prompt_that_merges_with_its_completion_is_not_clean(tokens: Tokens) -> None:
    (found,) = tokens.measure([("what was the popu", "lation")], only=True)
    assert isinstance(found, Measured)
    assert not found.clean


def test_an_unknown_kind_of_pre_tokenizer_has_no_fast_way(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.BPE({"a": 0, EOS: 1}, []))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    found = load(save(made, tmp_path))
    assert isinstance(found, Tokens)
    assert found._pieces is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"model": 3}'])
def test_a_damaged_tokenizer_is_a_problem_and_no_traceback(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert isinstance(load(tmp_path), Problem)


def test_settings_that_are_no_object_are_a_problem(tmp_path: Path) -> None:
    folder = save(next(iter(KINDS.values()))(), tmp_path)
    (folder / "tokenizer_config.json").write_text("[1]")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    found = load(folder)
    assert isinstance(found, Problem)
    assert found.kind == "malformed"


def test_a_missing_tokenizer_is_a_problem_that_names_the_file(tmp_path: Path) -> None:
    found = load(tmp_path)
    assert isinstance(found, Problem)
    assert "tokenizer.json does not exist" in found.message


@pytest.mark.slow
@pytest.mark.parametrize("letters", ["ab1 \n\t.'#sA-\r", "a1 \n.市é\u0301\u3000\xa0\x85\u2028▁¨１🗾"])
@pytest.mark.parametrize("kind", KINDS)
def test_generated_text_counts_the_same_either_way(kind: str, letters: str, tmp_path: Path) -> None:
    tokens = load(save(KINDS[kind](), tmp_path))
    assert isinstance(tokens, Tokens)
    rng = Random(11)
    texts = ["".join(rng.choice(letters) for _ in range(rng.randint(0, 40))) for _ in range(4000)]
    made = list(zip(texts[::2], texts[1::2], strict=True))
    assert tokens.measure(made, only=True) == list(tokens._slow(made, True))
