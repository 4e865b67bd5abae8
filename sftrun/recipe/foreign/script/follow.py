"""What an expression of a script is worth, as far as its text tells: constants are followed, nothing is run."""

import ast
import operator
from collections.abc import Callable
from typing import Any, NamedTuple


class Unknown(NamedTuple):
    """An expression that can't be followed, as it is written."""

    text: str


class Call(NamedTuple):
    """A call whose value is an object: `modal.Volume.from_name("x")`."""

    name: str
    positional: tuple[Any, ...]
    named: dict[str, Any]
    on: Any = None


_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
_DEEPEST = 40
_MOST = 100_000
# asked of the GPU: true of all but the oldest
_YES = ("is_bf16_supported", "is_bfloat16_supported", "is_available")
_STARTS = frozenset(["remote", "spawn", "local"])
_SAME_AS_ARGUMENT = ("str", "Path", "PurePosixPath", "int", "float", "list", "tuple", "deepcopy")


class Follower:
    """Follows names inside one function: its own, its parameters' defaults, then the module's."""

    def __init__(self, module: ast.Module, function: ast.FunctionDef | ast.AsyncFunctionDef | None = None) -> None:
        self.module = module
        self.classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
        self.names = assigned(module.body)
        if function is not None:
            self.names |= _parameters(module, function)
            self.names |= assigned(function.body)

    def value(self, node: ast.expr | None, depth: int = 0) -> Any:
        """The value, `Unknown`, or a `Call`."""
        if node is None:
            return None
        if depth > _DEEPEST:
            return Unknown(text(node))
        handler = getattr(self, f"_{type(node).__name__.lower()}", None)
        try:
            found = Unknown(text(node)) if handler is None else handler(node, depth + 1)
        except (TypeError, ValueError, KeyError, IndexError, ZeroDivisionError, OverflowError):
            return Unknown(text(node))
        return Unknown(text(node)) if isinstance(found, str | list) and len(found) > _MOST else found

    def call(self, node: ast.Call, depth: int = 0) -> Call:
        """A call with its arguments followed; `**options` are laid open where they can be."""
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            found = self.value(keyword.value, depth)
            if keyword.arg is not None:
                named[keyword.arg] = found
            elif isinstance(found, dict):
                named |= found
            else:
                named["**"] = Unknown(text(keyword.value))
        on = self.value(node.func.value, depth) if isinstance(node.func, ast.Attribute) else None
        return Call(name_of(node.func), tuple(self.value(one, depth) for one in node.args), named, on)

    def _constant(self, node: ast.Constant, depth: int) -> Any:
        return node.value

    def _name(self, node: ast.Name, depth: int) -> Any:
        found = self.names.get(node.id)
        return Unknown(node.id) if found is None else self.value(found, depth)

    def _list(self, node: ast.List, depth: int) -> Any:
        return [self.value(one, depth) for one in node.elts]

    _tuple = _list
    _set = _list

    def _dict(self, node: ast.Dict, depth: int) -> Any:
        pairs = zip(node.keys, node.values, strict=True)
        return {self.value(key, depth): self.value(value, depth) for key, value in pairs if key is not None}

    def _joinedstr(self, node: ast.JoinedStr, depth: int) -> Any:
        parts = [self.value(one.value if isinstance(one, ast.FormattedValue) else one, depth) for one in node.values]
        return Unknown(text(node)) if any(map(is_unknown, parts)) else "".join(map(str, parts))

    def _unaryop(self, node: ast.UnaryOp, depth: int) -> Any:
        found = self.value(node.operand, depth)
        if is_unknown(found):
            return found
        return (not found) if isinstance(node.op, ast.Not) else -found

    def _binop(self, node: ast.BinOp, depth: int) -> Any:
        left, right = self.value(node.left, depth), self.value(node.right, depth)
        if is_unknown(left) or is_unknown(right):
            return Unknown(text(node))
        if isinstance(node.op, ast.Div) and isinstance(left, str):
            return f"{left.rstrip('/')}/{right}"
        if isinstance(left, str | list) and isinstance(node.op, ast.Mult):
            return Unknown(text(node))
        return _BINARY[type(node.op)](left, right)

    def _ifexp(self, node: ast.IfExp, depth: int) -> Any:
        test = self.value(node.test, depth)
        if is_unknown(test):
            return Unknown(text(node))
        return self.value(node.body if test else node.orelse, depth)

    def _attribute(self, node: ast.Attribute, depth: int) -> Any:
        owner = node.value
        if isinstance(owner, ast.Name) and owner.id in self.classes:
            return self._field(self.classes[owner.id], node.attr, depth)
        found = self.value(owner, depth)
        if isinstance(found, Call) and found.name in self.classes:
            given = found.named.get(node.attr)
            return given if given is not None else self._field(self.classes[found.name], node.attr, depth)
        if isinstance(found, Call) and found.name == "parse_args":
            return self._option(node.attr, depth)
        return text(node) if text(node).startswith("torch.") else Unknown(text(node))

    def _field(self, owner: ast.ClassDef, name: str, depth: int) -> Any:
        return self.value(assigned(owner.body).get(name), depth) if name in assigned(owner.body) else Unknown(name)

    def _option(self, name: str, depth: int) -> Any:
        for node in ast.walk(self.module):
            if isinstance(node, ast.Call) and name_of(node.func) == "add_argument" and node.args:
                flag = node.args[0]
                if isinstance(flag, ast.Constant) and str(flag.value).lstrip("-").replace("-", "_") == name:
                    return self.call(node, depth).named.get("default", Unknown(f"--{name}"))
        return Unknown(f"--{name}")

    def _subscript(self, node: ast.Subscript, depth: int) -> Any:
        owner, key = self.value(node.value, depth), self.value(node.slice, depth)
        return owner[key] if isinstance(owner, dict | list) else Unknown(text(node))

    def _call(self, node: ast.Call, depth: int) -> Any:
        name, found = name_of(node.func), self.call(node, depth)
        if name in _YES:
            return True
        if name in _SAME_AS_ARGUMENT and len(found.positional) == 1:
            return found.positional[0]
        if name == "join" and not any(map(is_unknown, found.positional)):
            return "/".join(str(part).rstrip("/") for part in found.positional)
        if name in ("getenv", "get") and len(found.positional) == 2 and _is_environment(node):
            return found.positional[1]
        if name == "field" and "default" in found.named:
            return found.named["default"]
        if name == "field":
            made = next((one.value for one in node.keywords if one.arg == "default_factory"), None)
            return self.value(made.body, depth) if isinstance(made, ast.Lambda) else Unknown(text(node))
        if name == "dict" and not found.positional:
            return found.named
        return found


def assigned(body: list[ast.stmt]) -> dict[str, ast.expr]:
    """Names that are assigned once, with what; one that is assigned twice can't be told."""
    found: dict[str, ast.expr] = {}
    twice: set[str] = set()
    for statement in body:
        for target, value in _assignments(statement):
            twice |= {target} & set(found)
            found[target] = value
    return {name: value for name, value in found.items() if name not in twice or _is_same(body, name)}


def _is_same(body: list[ast.stmt], name: str) -> bool:
    values = {text(value) for one in body for target, value in _assignments(one) if target == name}
    return len(values) == 1


def _assignments(statement: ast.stmt) -> list[tuple[str, ast.expr]]:
    found: list[tuple[str, ast.expr]] = []
    if isinstance(statement, ast.Assign):
        found = [(target.id, statement.value) for target in statement.targets if isinstance(target, ast.Name)]
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
        found = [(statement.target.id, statement.value)]
    for part in ("body", "orelse", "finalbody"):
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.For):
            for one in getattr(statement, part, []):
                found += _assignments(one)
    return found


def _parameters(module: ast.Module, function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, ast.expr]:
    """Parameters by the one call that starts the function, or by their defaults."""
    names = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
    found = dict(zip(reversed(names), reversed(function.args.defaults), strict=False))
    pairs = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    found |= {one.arg: default for one, default in pairs if default is not None}
    starts = [node for node in ast.walk(module) if isinstance(node, ast.Call) and _starts(node, function.name)]
    if len(starts) == 1:
        missing = [name for name in names if name not in found]
        found |= {name: value for name, value in zip(names, starts[0].args, strict=False) if name in missing}
        found |= {one.arg: one.value for one in starts[0].keywords if one.arg in missing and one.arg is not None}
    return found


def _starts(node: ast.Call, name: str) -> bool:
    func = node.func
    if isinstance(func, ast.Attribute) and func.attr in _STARTS:
        func = func.value
    return isinstance(func, ast.Name) and func.id == name


def _is_environment(node: ast.Call) -> bool:
    return "environ" in text(node.func) or "getenv" in text(node.func)


def is_unknown(value: Any) -> bool:
    """Whether a value, or a part of it, can't be told."""
    if isinstance(value, dict):
        return any(is_unknown(one) for pair in value.items() for one in pair)
    if isinstance(value, list | tuple) and not isinstance(value, Unknown | Call):
        return any(map(is_unknown, value))
    return isinstance(value, Unknown | Call)


def name_of(func: ast.expr) -> str:
    """The last word of what is called."""
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def text(node: ast.AST) -> str:
    """An expression as it is written, on one line."""
    return " ".join(ast.unparse(node).split())
