"""The shape of the code: short functions, small folders, and a file's name that means one thing."""

import ast
from collections import Counter, defaultdict
from pathlib import PurePath

from tests.guards.source import nodes, trees

MEDIAN_LINES, MOST_LINES_OF_NINE_IN_TEN = 6, 17
MOST_FILES = 15  # of a folder
# names that several files have, and why
SAME_NAMES = {
    "__init__.py": "Python's own",
}


def lengths() -> list[int]:
    """Lines of each function, its first line and its docstring among them, in rising order."""
    functions = (node for _, node in nodes() if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return sorted((node.end_lineno or node.lineno) - node.lineno + 1 for node in functions)


def test_functions_are_short() -> None:
    found = lengths()
    assert found[len(found) // 2] <= MEDIAN_LINES
    assert found[len(found) * 9 // 10] <= MOST_LINES_OF_NINE_IN_TEN


def test_a_folder_is_small() -> None:
    files = Counter(str(PurePath(file).parent) for file in trees() if not file.endswith("__init__.py"))
    assert {folder: count for folder, count in files.items() if count > MOST_FILES} == {}


def test_a_file_name_means_one_thing() -> None:
    places = defaultdict(list)
    for file in trees():
        places[PurePath(file).name].append(file)
    several = {name: found for name, found in places.items() if len(found) > 1}
    assert {name: found for name, found in several.items() if name not in SAME_NAMES} == {}
    assert set(SAME_NAMES) <= set(several), "take out what is no longer so"
