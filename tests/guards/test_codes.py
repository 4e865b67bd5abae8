"""Diagnostic codes: each of the table is given out by some check.  That it stands there once is TOML's own rule."""

import ast

from sftrun.recipe.words.codes import TABLE
from tests.guards.source import nodes


def test_every_code_of_the_table_is_given_out() -> None:
    words = {node.value for _, node in nodes() if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert set(TABLE) - words == set()
