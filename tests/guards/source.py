"""The product's own code, as text and as trees, for the guards."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "sftrun"


@cache
def trees() -> dict[str, ast.Module]:
    """Path from the root -> parsed module."""
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def nodes() -> Iterator[tuple[str, ast.AST]]:
    """Every node, with its file."""
    for file, tree in trees().items():
        for node in ast.walk(tree):
            yield file, node
