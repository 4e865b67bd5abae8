"""A long text in pieces: nothing of it is lost, and the check counts what the job makes."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftrun.contract.row_rules import RowRules
from sftrun.rows.labels import Labelled, Labeller
from sftrun.rows.tokenizer import Tokens, load
from tests.rows.tokenizers_for_tests import byte_level, corpus, save

TEXT = {"text": " ".join(corpus(3, 20))}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    folder: Path = save(byte_level(), tmp_path_factory.mktemp("model"))
    found = load(folder)
    assert isinstance(found, Tokens)
    return found


def labeller(tokens: Tokens | None, longest: int, overlap: int = 0, form: str = "text") -> Labeller:
    rules = RowRules(chunk=True, chunk_overlap=overlap)
    return Labeller(rules, form, longest, tokens)  # type: ignore[arg-type]


@given(st.integers(2, 5000), st.integers(2, 400), st.integers(0, 398))
def test_pieces_are_as_long_as_they_may_be_and_cover_the_text(length: int, longest: int, overlap: int) -> None:
    overlap = min(overlap, longest - 2)
    windows = labeller(None, longest, overlap).windows(length)
    assert windows[0][0] == 0
    assert windows[-1][1] == length
    assert all(2 <= end - begin <= longest for begin, end in windows)
    assert all(end - begin == longest for begin, end in windows[:-1])
    assert all(before[1] - after[0] == overlap for before, after in list(pairwise(windows))[:-1])
    assert all(after[0] <= before[1] for before, after in pairwise(windows))


def test_pieces_are_the_row_s_own_tokens_in_order(tokens: Tokens) -> None:
    cutter = labeller(tokens, 50)
    (whole,) = cutter.labels([TEXT])
    assert isinstance(whole, Labelled)
    pieces = cutter.pieces(whole)
    assert len(pieces) == -(-len(whole.ids) // 50)
    assert tuple(i for piece in pieces for i in piece.ids) == whole.ids
    assert all(piece.ids == piece.labels for piece in pieces)


def test_other_forms_are_cut(tokens: Tokens) -> None:
    cutter = labeller(tokens, 20, form="prompt_completion")
    (whole,) = cutter.labels([{"prompt": "a", "completion": TEXT["text"]}])
    assert isinstance(whole, Labelled)
    assert cutter.pieces(whole) == [cutter.cut(whole)]
