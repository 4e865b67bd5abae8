"""What belongs together in `evaluation`."""

import re
from collections.abc import Iterator

from sftrun.contract.choices import MetricName
from sftrun.diagnostics import Diagnostic, Path
from sftrun.recipe.evaluation_section import Evaluation, EvaluationData
from sftrun.recipe.models import Recipe

# a key of the section, and the one metric that reads it
_READ_BY: dict[str, MetricName] = {"tolerance": "number", "pattern": "regex", "json_schema": "json"}


def rows(recipe: Recipe) -> Iterator[Diagnostic]:
    tested = recipe.evaluation
    if tested is None:
        return
    yield from _rows(tested.data, ("evaluation", "data"))
    if tested.general is not None:
        yield from _rows(tested.general, ("evaluation", "general"))


def _rows(source: EvaluationData, at: Path) -> Iterator[Diagnostic]:
    if (source.path is None) == (source.hub is None):
        said = "names no rows" if source.path is None else "comes from files or from the Hub, not from both"
        help = "write `path: data/test.jsonl`, or `hub: owner/name`" if source.path is None else "keep one of the two"
        yield Diagnostic("E101", f"`{'.'.join(map(str, at))}` {said}", at=at, on_key=True, help=help)


def metrics(recipe: Recipe) -> Iterator[Diagnostic]:
    tested = recipe.evaluation
    if tested is None:
        return
    for number, name in enumerate(tested.metrics):
        if name in tested.metrics[:number]:
            at: Path = ("evaluation", "metrics", number)
            yield Diagnostic("E102", f"`{name}` stands twice", at=at, help="take one out")
    yield from _needs(tested)
    if tested.gate is not None and tested.gate.metric not in tested.metrics:
        message = f"the gate asks for `{tested.gate.metric}`, which is none of `metrics`"
        help = _with(tested, tested.gate.metric)
        yield Diagnostic("E102", message, at=("evaluation", "gate", "metric"), help=help)


def _needs(tested: Evaluation) -> Iterator[Diagnostic]:
    for key, name in _READ_BY.items():
        if getattr(tested, key) and name not in tested.metrics:
            help = f"{_with(tested, name)}, or take `{key}` out"
            yield Diagnostic("E102", f"only `{name}` reads `{key}`", at=("evaluation", key), on_key=True, help=help)
    if "regex" in tested.metrics and tested.pattern is None:
        message, at = "`regex` looks for a pattern, and there is none", ("evaluation", "metrics")
        yield Diagnostic("E102", message, at=at, help="write `pattern: '^I can only help'`, say")
    if tested.pattern is not None and (wrong := fault(tested.pattern)) is not None:
        message = f"`{tested.pattern}` is no regular expression: {wrong}"
        yield Diagnostic("E102", message, at=("evaluation", "pattern"), help="write one of Python's `re`")


def _with(tested: Evaluation, name: MetricName) -> str:
    return f"write `metrics: [{', '.join(dict.fromkeys((*tested.metrics, name)))}]`"


def fault(pattern: str) -> str | None:
    """What is wrong with a regular expression, or None."""
    try:
        re.compile(pattern)
    except re.error as error:
        return str(error)
    return None


EVALUATION = (rows, metrics)
