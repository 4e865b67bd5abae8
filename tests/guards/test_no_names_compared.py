"""Engines and executors are asked, not told apart by name: a new one has its answers in one place."""

import ast
from collections.abc import Iterator

import pytest

from sftrun.contract.engines import ENGINES
from sftrun.contract.executors import EXECUTORS
from tests.guards.source import nodes

NAMES = {*ENGINES, *EXECUTORS}
# files of an older release are read as that release wrote them
FROZEN = {"sftrun/contract/step_versions.py"}


def compared(node: ast.AST) -> Iterator[str]:
    """Names of engines and executors that a comparison, a case or a choice from a mapping holds."""
    parts: list[ast.AST] = []
    if isinstance(node, ast.Compare):
        parts = [node.left, *node.comparators]
    elif isinstance(node, ast.MatchValue):
        parts = [node.value]
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict):
        parts = [key for key in node.value.keys if key is not None]
    for part in parts:
        elements = part.elts if isinstance(part, ast.Tuple | ast.List | ast.Set) else [part]
        names = [one.value for one in elements if isinstance(one, ast.Constant) and one.value in NAMES]
        yield from (name for name in names if name != "trl" or "engine" in ast.unparse(node))  # TRL's head is no engine


def test_no_engine_and_no_executor_is_told_apart_by_its_name() -> None:
    found = [f"{file}:{node.lineno} {name}" for file, node in nodes() if file not in FROZEN for name in compared(node)]
    assert found == [], "ask the value: `trainer.library`, `compute.place`"


@pytest.mark.parametrize(
    "code",
    [
        'x.engine == "trl"',
        '"modal" != x.executor',
        'x in ("local", "modal")',
        '{"trl": 1, "unsloth": 2}[engine]',
        'match x:\n    case "unsloth": ...',
    ],
)
def test_each_way_of_telling_apart_is_found(code: str) -> None:
    assert [name for node in ast.walk(ast.parse(code)) for name in compared(node)] != []
