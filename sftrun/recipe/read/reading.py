"""Files -> one tree: `extends` chains, `--set`, and the short form of data sources."""

from decimal import Decimal, InvalidOperation
from pathlib import Path as FilePath
from typing import NamedTuple

from sftrun.diagnostics import Diagnostic, Path, Span
from sftrun.recipe.read import versions
from sftrun.recipe.read.merging import expand_sources, merge, source_paths, too_large
from sftrun.recipe.read.nodes import OPTION, ListNode, MapNode, Node, ScalarNode, Source
from sftrun.recipe.read.source import MAX_BYTES, parse

STDIN = "<stdin>"
MAX_CHAIN = 16
RELATIVE: tuple[Path, ...] = (
    ("model", "name_or_path"),
    ("model", "adapter"),
    ("dataset", "chat_template"),
    ("output", "dir"),
    ("evaluation", "data", "path"),
    ("evaluation", "general", "path"),
    ("evaluation", "json_schema"),
)
_MONEY: Path = ("budget", "max_usd")

Plain = bool | int | float | str | Decimal | None | tuple["Plain", ...] | dict[str, "Plain"]


class Read(NamedTuple):
    """What the files of a recipe hold, merged.  `stop` says that judging the fields would only make noise."""

    source: Source
    diagnostics: list[Diagnostic]
    broken: set[Path]
    folders: dict[str, str]
    stop: bool


def read(file: str, overrides: tuple[str, ...], text: str | bytes | None) -> Read:
    """The merged tree of `file`, its bases and the overrides."""
    reading = _Reading(STDIN if file == "-" else file)
    root = reading.chain(reading.file, text, ())
    if root is not None:
        root = reading.overridden(root, overrides) if overrides else root
        expand_sources(root)
    source = Source(reading.file, reading.texts, root)
    stop = root is None or reading.stop
    return Read(source, reading.found, reading.broken, _folders(source, root), stop)


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
            self.found.append(too_large(file))
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

    def overridden(self, root: MapNode, overrides: tuple[str, ...]) -> MapNode:
        """The tree with what the command line sets."""
        from sftrun.recipe.read.overrides import override

        self.texts[OPTION] = "\n".join(overrides)
        done = override(root, overrides)
        self.found += done.found
        self.broken |= done.broken
        return done.root

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
        expand_sources(below)
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
            self.found.append(too_large(file))
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


def _folders(source: Source, root: MapNode | None) -> dict[str, str]:
    folders = {}
    for path in (*RELATIVE, *(source_paths(root) if root is not None else ())):
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
