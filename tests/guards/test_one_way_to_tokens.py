"""Rows become tokens in `sftrun.rows` alone: nobody else encodes a text or lays out a conversation."""

import ast
from collections.abc import Iterator

import pytest

from tests.guards.source import nodes

# file -> why it encodes by itself
ENCODES = {
    "sftrun/job/train/saved_tokenizer.py": "compares transformers' tokenizer with the rows' own",
    "sftrun/job/train/samples.py": "a batch of questions that `rows.labels.question` has laid out",
}
METHODS = {
    *("apply_chat_template", "render_jinja_template", "encode", "encode_plus", "encode_batch", "encode_batch_fast"),
    *("batch_encode_plus", "tokenize"),
}
CALLED = {"tokenizer", "processing_class", "tok"}
TRL = {"maybe_apply_chat_template", "apply_chat_template", "get_training_chat_template", "_tokenize"}


def encodes(node: ast.AST) -> bool:
    """Whether it is a call that encodes a text or lays a conversation out."""
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    if isinstance(function, ast.Name):
        return function.id in CALLED | TRL
    if not isinstance(function, ast.Attribute):
        return False
    # "text".encode() makes bytes: without an argument, or with the name of one
    is_of_bytes = function.attr == "encode" and all(isinstance(given, ast.Constant) for given in node.args)
    return function.attr in CALLED | METHODS and not is_of_bytes


def test_nothing_but_rows_encodes_a_text_or_lays_out_a_conversation() -> None:
    found = {file for file, node in nodes() if encodes(node)}
    assert {file for file in found if not file.startswith("sftrun/rows/")} == set(ENCODES)
    assert "sftrun/rows/tokenizer.py" in found


def test_rows_get_this_houses_names_by_one_rule() -> None:
    by_hand = {("shape", "fault"), ("forms", "form_of"), ("forms", "detect")}
    found = {file for file, node in nodes() if set(names(node)) & by_hand and not file.startswith("sftrun/rows/")}
    assert found == {"sftrun/plan/check/data_facts.py"}  # says which format would fit


def names(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(module, name) of what a statement imports from `sftrun.rows`, or of a name that an expression takes of one."""
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sftrun.rows."):
        yield from (((node.module or "").rpartition(".")[2], name.name) for name in node.names)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        yield node.value.id, node.attr


def test_jinja_and_the_tokenizers_library_are_imported_by_rows_alone() -> None:
    found = {file for file, node in nodes() if set(imported(node)) & {"jinja2", "tokenizers"}}
    assert found == {"sftrun/rows/tokenizer.py", "sftrun/rows/template.py"}


def imported(node: ast.AST) -> Iterator[str]:
    """First names of the packages that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (name.name.partition(".")[0] for name in node.names)
    if isinstance(node, ast.ImportFrom):
        yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize(
    "code",
    [
        "tokenizer(text)",
        "trainer.processing_class(rows)",
        "tokens.tokenizer.encode(text, add_special_tokens=False)",
        "made.apply_chat_template(messages)",
    ],
)
def test_the_guard_sees(code: str) -> None:
    assert any(encodes(node) for node in ast.walk(ast.parse(code)))


@pytest.mark.parametrize("code", ['"text".encode()', 'line.encode("utf-8", "surrogatepass")'])
def test_the_guard_lets_pass(code: str) -> None:
    assert not any(encodes(node) for node in ast.walk(ast.parse(code)))
