"""Where a script's rows come from: `load_dataset`, `Dataset.from_json`, files that it opens, and their split."""

import ast
from typing import Any

from sftrun.recipe.foreign.script.calls import Found, Script
from sftrun.recipe.foreign.script.follow import Unknown, is_unknown
from sftrun.recipe.foreign.shared import is_file

_BUILDERS = ("json", "csv", "parquet", "text")
_LOADERS = ("load_dataset", "from_json", "from_csv", "from_parquet", "load_from_disk")


class Rows:
    """Sources by what they are for; `odd` are nodes that can't be followed, with the reason."""

    def __init__(self) -> None:
        self.train: dict[str, Any] | None = None
        self.eval: dict[str, Any] | None = None
        self.share: Any = None
        self.most: Any = None
        self.node: ast.AST | None = None
        self.odd: list[tuple[ast.AST, str]] = []


def rows_of(script: Script) -> Rows:
    """All that the script says of its rows."""
    rows = Rows()
    for found in script.calls(*_LOADERS):
        for which, source in _sources(script, found, rows):
            before = getattr(rows, which)
            if before is None:
                setattr(rows, which, source)
                rows.node = rows.node or found.node
            elif before != source and which == "train":
                rows.odd.append((found.node, "how a second data set is mixed in"))
    if rows.train is None:
        _opened(script, rows)
    split = script.first("train_test_split")
    if split is not None and rows.eval is None:
        rows.share = split.call.named.get("test_size", split.call.positional[0] if split.call.positional else None)
    taken = script.first("select", "take")
    if taken is not None and taken.call.positional:
        rows.most = _most(taken.call.positional[0])
    return rows


def _most(value: Any) -> Any:
    """The N of `range(N)`."""
    if getattr(value, "name", "") == "range" and len(value.positional) == 1:
        return value.positional[0]
    return value


def _sources(script: Script, found: Found, rows: Rows) -> list[tuple[str, dict[str, Any]]]:
    call = found.call
    first = call.positional[0] if call.positional else call.named.get("path", call.named.get("path_or_paths"))
    if call.name != "load_dataset" or first in _BUILDERS:
        files = call.named.get("data_files", first if call.name != "load_dataset" else None)
        return _files(found, files, call.named.get("split"), rows)
    if is_unknown(first) or not isinstance(first, str):
        rows.odd.append((found.node, "which data set it is"))
        return []
    if is_file(first):
        return [("train", {"path": first})]
    second = call.positional[1] if len(call.positional) > 1 else call.named.get("name")
    source: dict[str, Any] = {"hub": first}
    named = {"config": second, "split": call.named.get("split"), "revision": call.named.get("revision")}
    source |= {key: value for key, value in named.items() if isinstance(value, str)}
    which = "eval" if str(source.get("split", "")).startswith(("test", "validation", "eval")) else "train"
    return [(which, {**source, "split": source.get("split", "train")})]


def _files(found: Found, files: Any, split: Any, rows: Rows) -> list[tuple[str, dict[str, Any]]]:
    given = files if isinstance(files, dict) else {"train": files}
    made: list[tuple[str, dict[str, Any]]] = []
    for name, file in given.items():
        one = file[0] if isinstance(file, list) and len(file) == 1 else file
        if not isinstance(one, str) or isinstance(one, Unknown):
            rows.odd.append((found.node, "which file it is"))
        else:
            made.append(("train" if name == "train" else "eval", {"path": one}))
    if isinstance(split, str) and "[" in split:
        rows.odd.append((found.node, "a part of a file"))
    return made


def _opened(script: Script, rows: Rows) -> None:
    """A file that is opened and made to rows by hand."""
    for found in script.calls("open"):
        path = found.call.positional[0] if found.call.positional else None
        if isinstance(path, str) and path.endswith((".json", ".jsonl", ".csv")) and "w" not in found.call.positional:
            which = "eval" if any(word in path for word in ("val", "test", "eval")) else "train"
            if getattr(rows, which) is None:
                setattr(rows, which, {"path": path})
                rows.node = rows.node or found.node
