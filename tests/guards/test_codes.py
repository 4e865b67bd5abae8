"""Diagnostic codes: each is one entry of the table, and given out by some check."""

import ast
from collections import Counter

from sftrun.recipe.words.codes import TABLE
from tests.guards.source import nodes

TABLE_FILE = "sftrun/recipe/words/codes.py"


def strings(*, of_table: bool) -> list[str]:
    """The codes that stand as words in the table's file, or in all others."""
    words = (
        node.value for file, node in nodes() if isinstance(node, ast.Constant) and (file == TABLE_FILE) == of_table
    )
    return [word for word in words if word in TABLE]


def test_a_code_stands_once_in_the_table() -> None:
    assert {code: count for code, count in Counter(strings(of_table=True)).items() if count > 1} == {}


def test_every_code_of_the_table_is_given_out() -> None:
    assert set(TABLE) - set(strings(of_table=False)) == set()
