"""Files -> one tree: `extends` chains, `--set`, and the short form of data sources."""

import re
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path as FilePath

from sftrun.diagnostics import Diagnostic, Path, Span
from sftrun.recipe import versions
from sftrun.recipe.source import MAX_BYTES, ListNode, MapNode, Node, ScalarNode, Source, child_of, parse

OPTION = "--set"
STDIN = "<stdin>"
MAX_CHAIN = 16
RELATIVE: tuple[Path, ...] = (("model", "name_or_path"), ("dataset", "train", "path"), ("dataset", "eval", "path"))
_SOURCES: tuple[Path, ...] = (("dataset", "train"), ("dataset", "eval"))
_MONEY: Path = ("budget", "max_usd")
_OVERRIDE = re.compile(r'((?:"[^"]*"|[^"=\s])+)=(.*)', re.DOTALL)
_KEY = re.compile(r'"([^"]*)"|([^."]+)')

Plain = bool | int | float | str | Decimal | None | tuple["Plain", ...] | dict[str, "Plain"]


@dataclass
class Read:
    """What the files of a recipe hold, merged.  `stop` says that judging the fields would only make noise."""

    source: Source
    diagnostics: list[Diagnostic] = field(default_factory=list)
    broken: set[Path] = field(default_factory=set)
    folders: dict[str, str] = field(default_factory=dict)
    stop: bool = False


def read(file: str, overrides: tuple[str, ...], text: str | bytes | None) -> Read:
    """The merged tree of `file`, its bases and the overrides."""
    reading = _Reading(STDIN if file == "-" else file)
    root = reading.chain(reading.file, text, ())
    if root is not None:
        root = reading.override(root, overrides)
        _expand_sources(root)
    source = Source(reading.file, reading.texts, root)
    done = Read(source, reading.found, reading.broken, stop=root is None or reading.stop)
    done.folders = _folders(source, root)
    return done


def values_of(node: Node, path: Path = ()) -> Plain:
    """The tree as plain values: lists are tuples, null is absent, money is Decimal."""
    if isinstance(node, MapNode):
        pairs = ((key, values_of(child, (*path, key))) for key, child in node.items.items())
        return {key: value for key, value in pairs if value is not None}
    if isinstance(node, ListNode):
        return tuple(values_of(child, (*path, index)) for index, child in enumerate(node.items))
    if path == _MONEY and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return _decimal(node)
    return node.value


def merge(base: Node, over: Node) -> Node:
    """`over` on top of `base`: mappings key by key, everything else replaces."""
    if not (isinstance(base, MapNode) and isinstance(over, MapNode)):
        return over
    items, keys = dict(base.items), dict(base.keys)
    for key, child in over.items.items():
        items[key] = merge(items[key], child) if key in items else child
        keys[key] = over.keys[key]
    return MapNode(over.span, items, keys)


class _Reading:
    def __init__(self, file: str) -> None:
        self.file = file
        self.texts: dict[str, str] = {}
        self.found: list[Diagnostic] = []
        self.broken: set[Path] = set()
        self.stop = False

    def chain(self, file: str, given: str | bytes | None, above: tuple[str, ...]) -> MapNode | None:
        """The tree of a file on top of its bases; None if there is nothing to judge."""
        if given is not None and len(given) > MAX_BYTES:
            self.texts[file] = ""
            self.found.append(_too_large(file))
            return None
        text = self._text_of(file) if given is None else given
        text = self._decoded(file, text) if isinstance(text, bytes) else text
        if text is None:
            return None
        self.texts[file] = text.removeprefix("\ufeff")
        parsed, _ = parse(self.texts[file], file)
        self.found += parsed.diagnostics
        self.broken |= parsed.broken
        root = parsed.root
        if root is None:
            return None
        wrong = versions.judge(root, file)
        if wrong is not None:
            # one clear diagnostic and no flood: what else stands here is judged by rules that we don't know
            self.found = [one for one in self.found if one.span is None or one.span.file != file]
            self.found.append(wrong)
            self.stop = True
            return root
        base = root.items.pop("extends", None)
        key = root.keys.pop("extends", root.span)
        if base is None or (isinstance(base, ScalarNode) and base.value is None):
            return root
        return self._on_base(root, base, key, file, above)

    def _on_base(self, root: MapNode, base: Node, key: Span, file: str, above: tuple[str, ...]) -> MapNode:
        if not isinstance(base, ScalarNode) or not isinstance(base.value, str) or not base.value.strip():
            self._broken_base("R106", "`extends` takes the name of a recipe file", base.span, "write one file name")
            return root
        folder = FilePath.cwd() if file == STDIN else FilePath(file).parent
        name = str(folder / base.value)
        here = _real(file)
        chain = (*above, here)
        if _real(name) in chain:
            names = " → ".join(FilePath(one).name for one in (*chain, _real(name)))
            self._broken_base("R112", f"`extends` goes in a circle: {names}", base.span, "take one `extends` out")
            return root
        if len(chain) >= MAX_CHAIN:
            message = f"more than {MAX_CHAIN} recipes extend one another"
            self._broken_base("R113", message, base.span, "copy the keys of the lowest bases into one file")
            return root
        if not FilePath(name).exists():
            message = f"there is no file `{base.value}` to extend"
            self._broken_base("R111", message, base.span, "correct the file name, relative to this recipe")
            return root
        below = self.chain(name, None, chain)
        if below is None:
            self.stop = True
            return root
        _expand_sources(below)
        merged = merge(below, root)
        assert isinstance(merged, MapNode)
        return merged

    def _broken_base(self, code: str, message: str, span: Span, help: str) -> None:
        self.found.append(Diagnostic(code, message, at=("extends",), span=span, help=help))
        # without the base every second key would be missing
        self.stop = True

    def _text_of(self, file: str) -> str | None:
        """The file's text, or None with a diagnostic; only regular files, and never more than the limit."""
        path = FilePath(file)
        try:
            if path.is_dir():
                return self._unreadable(file, f"`{file}` is a folder, not a recipe")
            if not path.is_file():
                missing = "there is no file" if not path.exists() else "not a regular file:"
                return self._unreadable(file, f"{missing} `{file}`")
            with path.open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return self._unreadable(file, f"`{file}` can't be read: {reason.lower()}")
        if len(data) > MAX_BYTES:
            self.texts[file] = ""
            self.found.append(_too_large(file))
            return None
        return self._decoded(file, data)

    def _decoded(self, file: str, data: bytes) -> str | None:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            before = data[: error.start].decode("utf-8", "replace")
            line = before.count("\n") + 1
            column = len(before) - before.rfind("\n")
            self.texts[file] = data.decode("utf-8", "replace")
            message = f"the byte 0x{data[error.start]:02x} is not UTF-8"
            span = Span(file, line, column, line, column + 1)
            self.found.append(Diagnostic("Y108", message, span=span, help="save the file as UTF-8"))
            return None

    def _unreadable(self, file: str, message: str) -> str | None:
        self.texts.setdefault(file, "")
        self.found.append(Diagnostic("Y116", message, span=Span(file, 1, 1, 1, 1), help="check the file name"))
        return None

    def override(self, root: MapNode, overrides: tuple[str, ...]) -> MapNode:
        """The tree with each `a.b=yaml` put in its place."""
        self.texts.update({OPTION: "\n".join(overrides)} if overrides else {})
        line = 1
        for option in overrides:
            root = self._set(root, option, line)
            line += option.count("\n") + 1
        return root

    def _set(self, root: MapNode, option: str, line: int) -> MapNode:
        whole = Span(OPTION, line, 1, line, len(option.split("\n")[0]) + 1)
        match = _OVERRIDE.fullmatch(option)
        keys = [quoted or plain for quoted, plain in _KEY.findall(match[1])] if match else []
        if match is None or not keys:
            message = f"`{option}` is not an override"
            self.found.append(Diagnostic("R110", message, span=whole, help="write --set trainer.max_steps=60"))
            return root
        if len(match[2]) > MAX_BYTES:
            self.found.append(_too_large(OPTION))
            return root
        parsed, node = parse(match[2], OPTION, any_node=True)
        shift = match.start(2)
        self.found += [_moved(one, line, shift, tuple(keys)) for one in parsed.diagnostics]
        if node is None:
            if not parsed.diagnostics:
                node = ScalarNode(Span(OPTION, 1, 1, 1, 1), None)
            else:
                self.broken.add(tuple(keys))
                return root
        self.broken |= {(*keys, *path) for path in parsed.broken}
        _move_all(node, line, shift)
        return self._placed(root, keys, node, Span(OPTION, line, 1, line, match.end(1) + 1), whole)

    def _placed(self, root: MapNode, keys: list[str], node: Node, key: Span, whole: Span) -> MapNode:
        _expand_sources(root)
        nested: Node = node
        for name in reversed(keys):
            nested = MapNode(whole, {name: nested}, {name: key})
        for depth in range(1, len(keys)):
            there = _find(root, tuple(keys[:depth]))
            if isinstance(there, ListNode):
                message = f"`{'.'.join(keys[:depth])}` is a list, and only a whole list can be set"
                self.found.append(Diagnostic("R110", message, span=key, help=f"--set {'.'.join(keys[:depth])}=[…]"))
                return root
        merged = merge(root, nested)
        assert isinstance(merged, MapNode)
        # the file's own place stays the recipe's
        return MapNode(root.span, merged.items, merged.keys)


def _find(node: Node, path: Path) -> Node | None:
    there: Node | None = node
    for key in path:
        there = child_of(there, key) if there is not None else None
    return there


def _moved_span(span: Span, line: int, column: int) -> Span:
    return Span(
        span.file,
        span.line + line - 1,
        span.column + (column if span.line == 1 else 0),
        span.end_line + line - 1,
        span.end_column + (column if span.end_line == 1 else 0),
    )


def _moved(found: Diagnostic, line: int, column: int, keys: Path) -> Diagnostic:
    span = _moved_span(found.span, line, column) if found.span else None
    return replace(found, at=(*keys, *found.at), span=span, fix=None)


def _move_all(node: Node, line: int, column: int) -> None:
    node.span = _moved_span(node.span, line, column)
    if isinstance(node, MapNode):
        node.keys = {key: _moved_span(span, line, column) for key, span in node.keys.items()}
        for child in node.items.values():
            _move_all(child, line, column)
    elif isinstance(node, ListNode):
        for child in node.items:
            _move_all(child, line, column)


def _expand_sources(root: MapNode) -> None:
    """`train: file.jsonl` is short for `train: {path: file.jsonl}`; the synthetic key stands where the text does."""
    for section, name in _SOURCES:
        parent = root.items.get(str(section))
        short = parent.items.get(str(name)) if isinstance(parent, MapNode) else None
        if isinstance(parent, MapNode) and isinstance(short, ScalarNode) and isinstance(short.value, str):
            parent.items[str(name)] = MapNode(short.span, {"path": short}, {"path": short.span})


def _folders(source: Source, root: MapNode | None) -> dict[str, str]:
    folders = {}
    for path in RELATIVE:
        node = source.find(path) if root is not None else None
        if node is None:
            continue
        file = source.file if node.span.file == OPTION else node.span.file
        folder = FilePath.cwd() if file == STDIN else FilePath(file).parent
        folders[".".join(map(str, path))] = str(folder.resolve())
    return folders


def _decimal(node: ScalarNode) -> Plain:
    try:
        value = Decimal(node.text)
    except InvalidOperation:
        return node.value
    return value if value.is_finite() else node.value


def _real(file: str) -> str:
    try:
        return str(FilePath(file).resolve())
    except (OSError, RuntimeError, ValueError):
        return file


def _too_large(file: str) -> Diagnostic:
    message = f"the file is larger than {MAX_BYTES // 1024} KiB, which no recipe needs"
    help = "keep data in files of its own and name them in `dataset`"
    return Diagnostic("Y109", message, span=Span(file, 1, 1, 1, 1), help=help)
