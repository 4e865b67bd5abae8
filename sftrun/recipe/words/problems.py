"""pydantic's errors -> our diagnostics, one for each place.

pydantic's `loc` holds tags of unions that name no node of the file, so it is followed along the tree and ends where
the tree ends; several errors of one union are one problem; and the words come from the field's own type, not from
pydantic's.
"""

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from sftrun.diagnostics import Diagnostic, Fix, Path, dotted
from sftrun.recipe.read.nodes import ListNode, MapNode, Node, ScalarNode, Source, is_true_word, resolve
from sftrun.recipe.sources import is_one
from sftrun.recipe.words import hints, kinds
from sftrun.recipe.words.names import foreign, nearest

_RANGE = {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"}
# a file with more problems is no recipe; looking for the nearest name of each would take its time
MOST = 100
_FORM = {"string_pattern_mismatch", "string_too_short"}
# what to write where a whole section is missing
_EXAMPLES: dict[Path, str] = {
    ("name",): "name: my-recipe",
    ("model",): "model: {name_or_path: Qwen/Qwen2.5-0.5B-Instruct}",
    ("model", "name_or_path"): "name_or_path: Qwen/Qwen2.5-0.5B-Instruct",
    ("dataset",): "dataset: {train: data/train.jsonl}",
    ("dataset", "train"): "train: data/train.jsonl",
    ("output",): "output: {dir: /data/my-adapter}",
    ("output", "dir"): "dir: /data/my-adapter",
}


def translate(error: ValidationError, source: Source, broken: Iterable[Path]) -> list[Diagnostic]:
    """Our words for each error; none for what a broken value, or a key of another name, explains already."""
    kinds_at: dict[Path, set[str]] = {}
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        if _is_of_the_other(one["loc"], source):
            continue
        path = along_the_tree(one["loc"], source)
        if one["type"] == "missing":
            path = (*path, one["loc"][-1])
        kinds_at.setdefault(path, set()).add(one["type"])
    found = [_say(path, types, source) for path, types in _bounded(kinds_at) if not _is_covered(path, kinds_at)]
    if found and len(kinds_at) > MOST:
        found[-1] = found[-1]._replace(notes=(f"{len(kinds_at) - MOST} more problems are not shown",))
    meant = {_meant(one.at) for one in found if one.code in ("R103", "R104")}
    return [one for one in found if not _is_noise(one, meant, tuple(broken))]


def _bounded(kinds_at: dict[Path, set[str]]) -> list[tuple[Path, set[str]]]:
    return list(kinds_at.items())[:MOST]


def complete(found: Diagnostic, source: Source) -> Diagnostic:
    """A YAML trap with the advice that only the key's type can give."""
    if found.code != "Y104" or found.span is None:
        return found
    node = source.find(found.at)
    word = node.text if isinstance(node, ScalarNode) else ""
    kind = kinds.kind_at(found.at)
    if kind is not None and not kinds.choices(kind) and not kinds.takes(kind, bool) and not kinds.takes(kind, str):
        return found._replace(help=kinds.usual(found.at) or "write a number")
    meant = _bool_word(word, kind, found.at)
    return found._replace(help=f"write `{meant}`", fix=Fix(found.span, meant))


def is_below(path: Path, other: Path) -> bool:
    """Whether `path` is `other` or stands below it."""
    return path[: len(other)] == other


def _is_of_the_other(loc: tuple[int | str, ...], source: Source) -> bool:
    """Whether an error takes one source for sources by name, or these for one: the keys say which it is."""
    if loc[:2] != ("dataset", "eval") or len(loc) < 3:
        return False
    node = source.find(("dataset", "eval"))
    return (loc[2] == "Source") != (not isinstance(node, MapNode) or is_one(node.items))


def along_the_tree(loc: tuple[int | str, ...], source: Source) -> Path:
    """pydantic's `loc` as a path of the tree: tags of unions, which name no node, are left out."""
    path: Path = ()
    for key in loc:
        node = source.find((*path, key))
        if node is None or (isinstance(node, ScalarNode) and node.value is None and not isinstance(key, int)):
            continue  # the tag of a union
        path = (*path, key)
    return path


def _is_covered(path: Path, others: Iterable[Path]) -> bool:
    # a union's errors: what is wrong inside of a list or mapping says more than that it is one
    return any(len(other) > len(path) and is_below(other, path) for other in others)


def _is_noise(one: Diagnostic, meant: set[Path], broken: tuple[Path, ...]) -> bool:
    if any(is_below(one.at, bad) for bad in broken):
        return True
    return one.code == "R105" and (one.at in meant or any(is_below(name, one.at) for name in meant if name))


def _say(path: Path, types: set[str], source: Source) -> Diagnostic:
    if "missing" in types:
        return _missing(path)
    if "extra_forbidden" in types:
        return unknown_key(path, source)
    return _wrong_value(path, types, source)


def _missing(path: Path) -> Diagnostic:
    example = _EXAMPLES.get(path)
    help = f"add `{example}`" if example else f"write `{path[-1]}`"
    return Diagnostic("R105", f"`{dotted(path)}` is missing", at=path, on_key=True, help=help)


def unknown_key(path: Path, source: Source) -> Diagnostic:
    """Another tool's name, a misspelt key, a key in the wrong place, or nothing that is known."""
    *above, key = path
    section, word = tuple(above), str(key)
    known = kinds.fields_of(kinds.section_at(section))
    near, other = nearest(word, known), foreign(word, _word_at(path, source))
    if other is not None and (near is None or nearest(word, known, 0.99) is None):
        return _foreign_key(path, other, source)
    where = f" in `{dotted(section)}`" if section else ""
    if near is not None:
        return Diagnostic(
            "R103",
            f"unknown key `{word}`{where}",
            at=path,
            on_key=True,
            help=f"did you mean `{near}`?",
            fix=_rename(path, near, source),
        )
    places = [place for place in kinds.everywhere().get(word, ()) if place != dotted(section)]
    if places:
        full = f"{places[0]}.{word}" if places[0] else word
        help = f"it belongs in `{places[0]}`: `{full}`" if places[0] else f"`{word}` stands at top level"
    elif len(known) <= 8:
        help = f"the keys here are {', '.join(known)}"
    else:
        help = f"`sftrun explain {dotted(section) or 'recipe'}` lists the keys"
    return Diagnostic("R103", f"unknown key `{word}`{where}", at=path, on_key=True, help=help)


def _word_at(path: Path, source: Source) -> str:
    node = source.find(path)
    return node.text if isinstance(node, ScalarNode) else ""


def _foreign_key(path: Path, other: str, source: Source) -> Diagnostic:
    *above, key = path
    message = f"`{key}` is another tool's name"
    if other.startswith("("):
        return Diagnostic("R104", message, at=path, on_key=True, help=other[1:-1])
    section, _, name = other.rpartition(".")
    same = section == dotted(tuple(above))
    fix = _rename(path, name, source) if same else None
    help = f"write `{name}`" if same else f"write `{other}`" if "." not in other else _as_mapping(other)
    return Diagnostic("R104", message, at=path, on_key=True, help=help, fix=fix)


def _as_mapping(dotted_key: str) -> str:
    section, _, name = dotted_key.rpartition(".")
    return f"write `{name}` in `{section}`"


def _rename(path: Path, name: str, source: Source) -> Fix | None:
    """The correction of a key in its place; none where the right key stands too."""
    parent = source.find(path[:-1])
    if not isinstance(parent, MapNode) or name in parent.items:
        return None
    span = parent.keys[str(path[-1])]
    return Fix(span, name) if span.line == span.end_line else None


def _meant(path: Path) -> Path:
    """The key that an unknown one most likely stands for."""
    *above, key = path
    other = foreign(str(key))
    near = nearest(str(key), kinds.fields_of(kinds.section_at(tuple(above))))
    if other is not None and not other.startswith("("):
        return tuple(other.split("."))
    return (*above, near) if near is not None else ()


def _wrong_value(path: Path, types: set[str], source: Source) -> Diagnostic:
    node, kind = source.find(path), kinds.kind_at(path)
    value, hint = shown(node), hints.meant(path, node, source)
    if types & _RANGE:
        message = f"`{dotted(path)}` takes {kinds.words(kind)}, not {value}"
        return Diagnostic("R108", message, at=path, help=hint or kinds.usual(path))
    if types & _FORM:
        return _form(path, node)
    if isinstance(node, ScalarNode) and isinstance(node.value, str) and _is_choice(kind):
        words = kinds.choices(kind)
        near = nearest(node.value, words, 0.5)
        if node.value in words:  # of a list, and no list is there
            message = f"`{dotted(path)}` takes a list, not {value}"
            return Diagnostic("R106", message, at=path, help=f"write `[{node.value}]`")
        listed = ", ".join(words[:-1]) + f" or {words[-1]}" if len(words) > 1 else words[0]
        advice = hint or (f"did you mean `{near}`?" if near else f"write {listed}")
        return Diagnostic("R107", f"`{dotted(path)}` is {listed}, not {value}", at=path, help=advice)
    help, fix = _mended(node, kind) if hint is None else (hint, None)
    help = help or kinds.usual(path)
    return Diagnostic("R106", f"`{dotted(path)}` takes {kinds.words(kind)}, not {value}", at=path, help=help, fix=fix)


def _is_choice(kind: Any) -> bool:
    """Whether only certain words can stand there."""
    free = (str, bool, int, float)
    item = kinds.item_kind(kind)
    return bool(kinds.choices(kind)) and not any(kinds.takes(kind, one) or kinds.takes(item, one) for one in free)


def _form(path: Path, node: Node | None) -> Diagnostic:
    text = node.text if isinstance(node, ScalarNode) else ""
    if not text:
        return Diagnostic("R109", f"`{dotted(path)}` is empty", at=path, help="write a text, or take the key out")
    good = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in text)
    good = good.strip("-._")[:63]
    help = f"write `{good}`" if good else "use letters, digits, dots, dashes and underscores"
    message = f"`{dotted(path)}` takes at most 63 letters, digits, dots, dashes and underscores, not {shown(node)}"
    return Diagnostic("R109", message, at=path, help=help)


def _mended(node: Node | None, kind: Any) -> tuple[str | None, Fix | None]:
    """What to write instead, where that is certain."""
    if isinstance(node, ListNode):
        return ("write one value", None) if kinds.item_kind(kind) is None else (None, None)
    if isinstance(node, MapNode):
        return ("write one value", None) if kinds.section_of(kind) is None else (None, None)
    if node is None:
        return None, None
    better = _better(node, kind)
    if better is None:
        return _otherwise(node, kind), None
    return f"write `{better}`", Fix(node.span, better) if node.span.line == node.span.end_line else None


def _better(node: ScalarNode, kind: Any) -> str | None:
    value: object = node.value
    takes_number = kinds.takes(kind, int) or kinds.takes(kind, float)
    if isinstance(value, str):
        read: object = resolve(value.strip())
        is_number = isinstance(read, int | float) and not isinstance(read, bool)
        if takes_number and is_number and (kinds.takes(kind, float) or isinstance(read, int)):
            return value.strip()
        if kinds.takes(kind, bool) and value.strip().lower() in ("true", "false"):
            return value.strip().lower()
    if isinstance(value, float) and kinds.takes(kind, int) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, int) and not isinstance(value, bool) and kinds.takes(kind, bool) and value in (0, 1):
        return "true" if value else "false"
    if isinstance(value, bool | int | float) and kinds.takes(kind, str):
        return f'"{node.text}"'
    if kinds.takes(kinds.item_kind(kind), str) and isinstance(value, str):
        return f"[{node.text}]" if node.plain else None
    return None


def _otherwise(node: ScalarNode, kind: Any) -> str | None:
    words = kinds.choices(kind)
    if isinstance(node.value, str) and words:
        near = nearest(node.value, words, 0.5)
        if near is not None:
            return f"did you mean `{near}`?"
    section = kinds.section_of(kind)
    if section is not None:
        return f"write a mapping with the keys {', '.join(kinds.fields_of(section)[:4])} …"
    return "write a number" if kinds.takes(kind, int) or kinds.takes(kind, float) else None


def _bool_word(word: str, kind: Any, path: Path) -> str:
    if kinds.takes(kind, bool):
        return "true" if is_true_word(word) else "false"
    if not is_true_word(word) and ("none" in kinds.choices(kind) or path == ("compute", "gpu")):
        return "none"
    return f'"{word}"'


def shown(node: Node | None) -> str:
    """A value as a message says it."""
    if isinstance(node, ListNode):
        return "a list"
    if isinstance(node, MapNode):
        return "a mapping"
    if node is None or node.value is None:
        return "nothing"
    text = " ".join(node.text.split())
    text = text if len(text) <= 40 else text[:39] + "…"
    return f"`{text}`" if node.plain or not isinstance(node.value, str) else f'`"{text}"`'
