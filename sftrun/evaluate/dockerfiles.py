"""Whether a text is a Dockerfile, by its reference: instructions, their arguments, and what must come first.

No shell is read: what stands after RUN is Docker's to pass on, and only an exec form must be a JSON list of strings.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Final

_JSON_OR_SHELL: Final = ("RUN", "CMD", "ENTRYPOINT", "SHELL", "COPY", "ADD", "VOLUME")
_INSTRUCTIONS: Final = frozenset(
    {*_JSON_OR_SHELL, *("FROM", "LABEL", "MAINTAINER", "EXPOSE", "ENV", "USER", "WORKDIR", "ARG", "ONBUILD")}
    | {"STOPSIGNAL", "HEALTHCHECK"}
)
_DIRECTIVE: Final = re.compile(r"#\s*escape\s*=\s*([\\`])\s*", re.IGNORECASE)
_HEREDOC: Final = re.compile(r"<<-?\s*([\"']?)([A-Za-z_]\w*)\1")
_FLAGS: Final = re.compile(r"(?:--[a-z-]+(?:=(?:\"[^\"]*\"|\S+))?\s+)*", re.IGNORECASE)
_FROM: Final = re.compile(r"[^\s$]*(?:\$\{?\w+[^\s]*)?[^\s]*(?:\s+AS\s+[a-z0-9][a-z0-9._-]*)?", re.IGNORECASE)
_PORT: Final = re.compile(r"(?:\d+(?:-\d+)?|\$\{?\w+(?::-?\w*)?\}?)(?:/(?:tcp|udp|sctp))?", re.IGNORECASE)
_PAIRS: Final = re.compile(r"(?:[^\s=]+=(?:\"(?:[^\"\\]|\\.)*\"|'[^']*'|(?:[^\s\\\"']|\\.)*)+\s*)+", re.DOTALL)


def is_dockerfile(text: str, *, is_part: bool = False) -> bool:
    """Whether all of it is; a part of one need not begin with FROM."""
    try:
        found = list(instructions(text))
    except ValueError:
        return False
    if not found or not all(_is_right(*one) for one in found):
        return False
    before = [name for name, _ in found[: _first_stage(found)]]
    return is_part or (len(before) < len(found) and all(name == "ARG" for name in before))


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """(name in capitals, arguments) of each; ValueError where a heredoc has no end."""
    lines = iter(text.replace("\r\n", "\n").split("\n"))
    escape, is_top = "\\", True
    for line in lines:
        directive = _DIRECTIVE.fullmatch(line.strip()) if is_top else None
        escape = directive[1] if directive else escape
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        is_top = False
        whole = _continued(line, lines, escape)
        name, _, rest = whole.strip().partition(" ")
        if name.upper() in ("RUN", "COPY", "ADD"):
            for _, end in _HEREDOC.findall(rest):
                _skip_heredoc(lines, end)
        yield name.upper(), rest.strip()


def _continued(line: str, lines: Iterator[str], escape: str) -> str:
    """With the lines that it goes on in; comments and empty lines between them are none of it."""
    whole = line
    while whole.rstrip().endswith(escape):
        whole = whole.rstrip()[:-1]
        following = next((more for more in lines if more.strip() and not more.lstrip().startswith("#")), None)
        if following is None:
            break
        whole += " " + following
    return whole.replace("\t", " ")


def _skip_heredoc(lines: Iterator[str], end: str) -> None:
    if not any(line.strip() == end for line in lines):
        raise ValueError(f"a heredoc without its {end}")


def _first_stage(found: list[tuple[str, str]]) -> int:
    return next((place for place, (name, _) in enumerate(found) if name == "FROM"), len(found))


def _is_right(name: str, arguments: str) -> bool:
    if name not in _INSTRUCTIONS or not arguments:
        return False
    bare = arguments[_flags_end(arguments) :]
    return bool(bare) and _RULES.get(name, _is_list_or_shell)(bare)


def _flags_end(arguments: str) -> int:
    found = _FLAGS.match(arguments)
    return found.end() if found else 0


def _is_list_or_shell(arguments: str) -> bool:
    """What begins and ends like a JSON list, and is none, is a mistake and not a command of the shell."""
    if not (arguments.startswith("[") and arguments.endswith("]")):
        return True
    if arguments.startswith(("[ ", "[[ ")) and not arguments.startswith('[ "'):
        return True  # the shell's test
    return _strings(arguments) is not None


def _strings(arguments: str) -> list[str] | None:
    try:
        found = json.loads(arguments)
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(one, str) for one in found) else None


def _is_copy(arguments: str) -> bool:
    parts = _strings(arguments) if arguments.startswith("[") else arguments.split()
    return parts is not None and (len(parts) >= 2 or "<<" in arguments)


def _is_health_check(arguments: str) -> bool:
    word, _, rest = arguments.partition(" ")
    return (word.upper() == "NONE" and not rest) or (word.upper() == "CMD" and bool(rest) and _is_list_or_shell(rest))


def _is_env(arguments: str) -> bool:
    """NAME=value …, or the old NAME value."""
    first = arguments.split(maxsplit=1)
    return bool(_PAIRS.fullmatch(arguments)) if "=" in first[0] else len(first) == 2


_RULES: Final[dict[str, Callable[[str], bool]]] = {
    "FROM": lambda said: bool(_FROM.fullmatch(said)),
    "EXPOSE": lambda said: all(_PORT.fullmatch(port) for port in said.split()),
    "ENV": _is_env,
    "LABEL": lambda said: bool(_PAIRS.fullmatch(said)),
    "COPY": _is_copy,
    "ADD": _is_copy,
    "SHELL": lambda said: bool(_strings(said)),
    "HEALTHCHECK": _is_health_check,
    "ONBUILD": lambda said: said.split()[0].upper() not in ("FROM", "ONBUILD") and _is_right(*_split(said)),
    "STOPSIGNAL": lambda said: len(said.split()) == 1,
    "WORKDIR": lambda said: bool(said),
    "USER": lambda said: len(said.split()) == 1,
    "ARG": lambda said: all(re.fullmatch(r"\w+(?:=.*)?", one) for one in re.findall(r"(?:\"[^\"]*\"|\S)+", said)),
}


def _split(said: str) -> tuple[str, str]:
    name, _, rest = said.partition(" ")
    return name.upper(), rest.strip()
