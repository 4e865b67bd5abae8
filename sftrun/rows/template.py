"""A chat template, rendered as transformers' `apply_chat_template` does it: the same Jinja environment, to the letter.

`{% generation %}` marks, where a template has them, say which stretches the assistant says.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any

from sftrun.rows import twins

Message = Mapping[str, Any]
Span = tuple[int, int]
MOST_SIGNS, MOST_STEPS = 10_000_000, 1_000_000
_steps: list[int] = []  # of the ranges of the text that is being rendered
_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")


class Unrenderable(Exception):
    """The template refuses these messages; the text says why."""


class Template:
    """One chat template, compiled; `variables` are the tokenizer's special tokens by name."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self.text = text
        self._variables = dict(variables)

    @property
    def has_marks(self) -> bool:
        """True if the template says which part the assistant generates."""
        return bool(_MARKS.search(self.text))

    @cached_property
    def marked(self) -> "Template | None":
        """This template if it has marks, else TRL's marked twin of it; None where there is none."""
        if self.has_marks:
            return self
        twin = twins.marked(self.text)
        return None if twin is None else Template(twin, self._variables)

    @cached_property
    def asks(self) -> bool:
        """True if the template opens the assistant's turn when asked to: without that, nobody knows when to answer."""
        question = [{"role": "user", "content": "a"}]
        try:
            return self.render(question, ask=True) != self.render(question)
        except Unrenderable:
            return True

    def render(self, messages: Sequence[Message], tools: Any = None, *, ask: bool = False) -> str:
        """The whole text.  Raises Unrenderable."""
        try:
            return "".join(self._compiled.generate(**self._arguments(messages, tools, ask)))
        except Exception as error:  # a template is a program of its own
            raise _refused(error) from error

    def render_marked(self, messages: Sequence[Message], tools: Any = None) -> tuple[str, list[Span]]:
        """The text with the stretches that stand between the template's own marks.  Raises Unrenderable."""
        blocks, spans = [""], list[Span]()
        try:
            environment: Any = self._compiled.environment
            with environment.activate_tracker(blocks, spans):
                for block in self._compiled.generate(**self._arguments(messages, tools, False)):
                    blocks.append(block)  # noqa: PERF402 - the marks count what is here so far
        except Exception as error:
            raise _refused(error) from error
        return "".join(blocks), spans

    def _arguments(self, messages: Sequence[Message], tools: Any, ask: bool) -> dict[str, Any]:
        _steps.clear()
        return {
            **self._variables,
            "messages": list(messages),
            "tools": tools,
            "documents": None,
            "add_generation_prompt": ask,
        }

    @cached_property
    def _compiled(self) -> Any:
        return _environment().from_string(self.text)


def _refused(error: Exception) -> Unrenderable:
    return Unrenderable((str(error).splitlines() or [type(error).__name__])[0])


@lru_cache(1)
def _environment() -> Any:
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Bounded(ImmutableSandboxedEnvironment):
        """What grows without end is refused: a template comes with a model, and is a program."""

        intercepted_binops = frozenset(["*", "**", "+"])

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if _size(operator, left, right) > MOST_SIGNS:
                raise Unrenderable(f"the template makes more than {MOST_SIGNS:,} signs of a few (`{operator}`)")
            return super().call_binop(context, operator, left, right)

    environment = Bounded(trim_blocks=True, lstrip_blocks=True, extensions=[_generation_marks(), loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.globals["range"] = _counted_range
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _size(operator: str, left: Any, right: Any) -> int:
    """Signs or bits of what an operation would make, near enough."""
    numbers = [each for each in (left, right) if isinstance(each, int)]
    lengths = [len(each) for each in (left, right) if hasattr(each, "__len__")]
    match operator:
        case "*" if lengths and numbers:
            return lengths[0] * max(numbers[0], 0)
        case "**" if len(numbers) == 2:
            return int(left.bit_length() * max(right, 0))
        case "*" if len(numbers) == 2:
            return int(left.bit_length() + right.bit_length())
    return sum(lengths)


def _counted_range(*bounds: int) -> range:
    """Steps in all of one text's ranges are counted: one inside another is soon without end."""
    found = range(*bounds)
    _steps.append(len(found))
    if sum(_steps) > MOST_STEPS:
        raise Unrenderable(f"the template counts further than {MOST_STEPS:,}")
    return found


def _generation_marks() -> Any:
    """The extension for `{% generation %}`, made here so that jinja2 is imported only when a template is."""
    from contextlib import contextmanager

    from jinja2 import nodes
    from jinja2.ext import Extension

    class GenerationMarks(Extension):
        tags = {"generation"}

        def __init__(self, environment: Any) -> None:
            super().__init__(environment)
            environment.extend(activate_tracker=self.activate_tracker)
            self._blocks: list[str] | None = None
            self._spans: list[Span] = []

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

        def _mark(self, caller: Callable[[], str]) -> str:
            said = caller()
            if self._blocks is not None:
                begin = sum(map(len, self._blocks))
                self._spans.append((begin, begin + len(said)))
            return said

        @contextmanager
        def activate_tracker(self, blocks: list[str], spans: list[Span]) -> Any:
            self._blocks, self._spans = blocks, spans
            try:
                yield
            finally:
                self._blocks = None

    return GenerationMarks


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    # jinja's own filter escapes HTML
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> str:
    raise Unrenderable(message)
