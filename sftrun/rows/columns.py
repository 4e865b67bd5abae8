"""Where a form's fields stand in the rows of a source, whatever their columns are called: one rule for check and job.

The rules' own `columns` come first.  Where they leave a form incomplete, names that other data sets use are tried:
ShareGPT's `conversations` of `from` and `value`, questions and answers.  From here on a row has this house's names.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import product
from typing import Any, Final, NamedTuple

from sftrun.contract.choices import DataFormat
from sftrun.contract.row_rules import RowRules
from sftrun.rows import shape, turns
from sftrun.rows.forms import form_of
from sftrun.rows.plain import Row, listed

Names = Mapping[str, str]  # ours -> the rows'
TALKS: Final = ("conversations", "conversation", "dialog", "dialogue", "chat")
ASKED: Final = ("instruction", "question", "query", "prompt", "problem", "input")
ANSWERED: Final = ("output", "response", "answer", "solution")
BESIDES: Final = {"input": "context", "system": "system_prompt"}
TURN: Final = {"role": ("from", "speaker"), "content": ("value", "text")}
_OF_TURNS: Final = ("messages", "prompt", "completion")
_DEEPEST = 4
_MISSING: Final = object()


class Reading(NamedTuple):
    """How the rows of one source are read.

    `columns` and `roles` are (ours, the rows') and (the rows', ours); `found` are those names that nobody wrote and
    that a known form has.  `doubted` are the written ones that the first row has not.
    """

    form: DataFormat
    columns: tuple[tuple[str, str], ...] = ()
    roles: tuple[tuple[str, str], ...] = ()
    found: tuple[tuple[str, str], ...] = ()
    doubted: tuple[tuple[str, str], ...] = ()

    def row(self, row: Row) -> Row:
        """A row under our names, those of its turns too."""
        if not self.columns and not self.roles:
            return row
        made = _renamed(row, [(ours, theirs) for ours, theirs in self.columns if ours not in TURN])
        if self.form in ("messages", "prompt_completion"):
            turn, roles = [pair for pair in self.columns if pair[0] in TURN], dict(self.roles)
            lists = ((name, listed(made.get(name))) for name in _OF_TURNS)
            made |= {name: _turns(said, turn, roles) for name, said in lists if isinstance(said, list)}
        return made

    def fault(self, row: Row, rules: RowRules) -> str | None:
        """What is wrong with a row under our names, said by the names that it came with."""
        wrong = shape.fault(row, self.form, rules)
        for ours, theirs in self.columns if wrong is not None else ():
            wrong = str(wrong).replace(f"`{ours}`", f"`{theirs}`")
        return wrong


def reading(rules: RowRules, first: Row) -> Reading | None:
    """By the first row of a source; None where it is of no form, or not of the rules' own."""
    for known in _known(rules, first):
        names = {**known, **rules.columns}
        made = _renamed(first, [(ours, theirs) for ours, theirs in names.items() if ours not in TURN])
        form = form_of(rules, made)
        if form is not None:
            known |= _turn_names(made, form)
            found = _pairs({ours: theirs for ours, theirs in known.items() if ours not in rules.columns})
            names = {**known, **rules.columns}
            return Reading(form, _pairs(names), _roles(rules, names), found, tuple(_absent(rules, first, made)))
    return None


def missing(rules: RowRules, first: Row) -> dict[str, str]:
    """Written columns that the first row has not, each with the nearest that it has (empty: none is near)."""
    made = _renamed(first, [pair for pair in rules.columns.items() if pair[0] not in TURN])
    absent = _absent(rules, first, made)
    turn = _first_turn(made)
    return {ours: nearest(theirs, turn if ours in TURN else first) for ours, theirs in absent}


def nearest(name: str, row: Row) -> str:
    """The row's name that is nearest to one that it has not; empty where none is near."""
    return next(iter(get_close_matches(name, list(paths(row)), 1)), "")


def stands(row: Row, path: str) -> bool:
    """Whether a row has a column, or a field in one."""
    return _at(row, path) is not _MISSING


def paths(row: Mapping[str, Any], before: str = "", depth: int = 1) -> Iterator[str]:
    """All names of a row, those of its fields too."""
    for name, value in row.items():
        yield f"{before}{name}"
        if isinstance(value, dict) and depth < _DEEPEST:
            yield from paths(value, f"{before}{name}.", depth + 1)


def _known(rules: RowRules, first: Row) -> Iterator[dict[str, str]]:
    """Names to try, the rows' own first."""
    yield {}
    yield from ({"messages": name} for name in TALKS if isinstance(listed(first.get(name)), list))
    for asked, answered in product(ASKED, ANSWERED):
        if {asked, answered} <= {*first, *rules.columns}:
            more = {ours: name for ours, name in BESIDES.items() if isinstance(first.get(name), str)}
            yield {"instruction": asked, "output": answered} | {k: v for k, v in more.items() if k not in first}


def _turn_names(row: Row, form: DataFormat) -> dict[str, str]:
    turn = _first_turn(row) if form in ("messages", "prompt_completion") else {}
    return {
        ours: next(name for name in names if name in turn)
        for ours, names in TURN.items()
        if ours not in turn and any(name in turn for name in names)
    }


def _first_turn(row: Row) -> Row:
    lists = (said for name in _OF_TURNS if isinstance(said := listed(row.get(name)), list) and said)
    first: Any = next((value[0] for value in lists), {})
    return first if isinstance(first, dict) else {}


def _absent(rules: RowRules, first: Row, made: Row) -> list[tuple[str, str]]:
    turn = _first_turn(made)
    of_turns = [pair for pair in rules.columns.items() if pair[0] in TURN and turn and not stands(turn, pair[1])]
    return [pair for pair in rules.columns.items() if pair[0] not in TURN and not stands(first, pair[1])] + of_turns


def _roles(rules: RowRules, names: Names) -> tuple[tuple[str, str], ...]:
    """With those of other tools where turns are theirs; what the rules say goes before."""
    known = turns.ROLES if "role" in names else {}
    return _pairs({**known, **rules.roles})


def _pairs(names: Names) -> tuple[tuple[str, str], ...]:
    return tuple((ours, theirs) for ours, theirs in names.items() if ours != theirs)


def _renamed(row: Row, columns: list[tuple[str, str]]) -> Row:
    found = {ours: _at(row, theirs) for ours, theirs in columns}
    used = {theirs for _, theirs in columns}
    kept = {name: value for name, value in row.items() if name not in used}
    return kept | {ours: value for ours, value in found.items() if value is not _MISSING}


def _at(row: object, path: str) -> Any:
    """The value at a name, or along names and numbers with dots between."""
    if isinstance(row, dict) and path in row:
        return row[path]
    head, _, rest = path.partition(".")
    if not rest:
        return _item(row, head)
    inner = _item(row, head)
    return _MISSING if inner is _MISSING else _at(inner, rest)


def _item(value: object, name: str) -> Any:
    if isinstance(value, dict):
        return value.get(name, _MISSING)
    if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
        return value[int(name)]
    return _MISSING


def _turns(said: list[Any], names: list[tuple[str, str]], roles: Mapping[str, str]) -> list[Any]:
    return [_turn(turn, names, roles) if isinstance(turn, dict) else turn for turn in said]


def _turn(turn: Row, names: list[tuple[str, str]], roles: Mapping[str, str]) -> Row:
    made = _renamed(turn, names) if names else dict(turn)
    role = made.get("role")
    if isinstance(role, str):
        made["role"] = roles.get(role, role)
    return made
