"""A conversation as the model's chat template lays it out, and which stretches of it the assistant says.

The same Jinja environment as transformers' `apply_chat_template`, so that the text is the same to the letter; with
`{% generation %}` marks the stretches come from the template, without them from what each turn adds to the text.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Message = Mapping[str, Any]
Span = tuple[int, int]
_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")


class Unrenderable(Exception):
    """The template refuses these messages; the text says why."""


class Chat:
    """One chat template, compiled; `variables` are the tokenizer's special tokens by name."""

    def __init__(self, template: str, variables: Mapping[str, str]) -> None:
        self._template = template
        self._variables = dict(variables)
        self._spans: list[Span] = []

    @property
    def has_marks(self) -> bool:
        """True if the template says which part the assistant generates."""
        return bool(_MARKS.search(self._template))

    @cached_property
    def asks(self) -> bool:
        """True if the template opens the assistant's turn when asked to: without that, nobody knows when to answer."""
        question = [{"role": "user", "content": "a"}]
        try:
            return self.render(question, ask=True) != self.render(question)
        except Unrenderable:
            return True

    def render(self, messages: Sequence[Message], tools: Any = None, *, ask: bool = False) -> str:
        """The whole text."""
        try:
            return "".join(self._compiled.generate(**self._arguments(messages, tools, ask)))
        except Exception as error:  # a template is a program of its own
            raise Unrenderable((str(error).splitlines() or [type(error).__name__])[0]) from error

    def assistant_spans(self, messages: Sequence[Message], tools: Any = None) -> tuple[str, list[Span]]:
        """(text, stretches of characters that the assistant says)."""
        return self._by_marks(messages, tools) if self._marked else self._by_rendering(messages, tools)

    def prompt_and_completion(
        self, prompt: Sequence[Message], completion: Sequence[Message], tools: Any = None
    ) -> tuple[str, int]:
        """(text, where the completion begins)."""
        text = self.render([*prompt, *completion], tools)
        return text, _common(self.render(prompt, tools, ask=True), text)

    @property
    def is_marked(self) -> bool:
        """True if the assistant's stretches come from marks, the template's own or its twin's."""
        return self._marked is not None

    @cached_property
    def _marked(self) -> "Chat | None":
        """This template if it has marks, else TRL's marked twin of it, where TRL is installed and has one."""
        if self.has_marks:
            return self
        twin = _twin(self._template)
        return None if twin is None else Chat(twin, self._variables)

    def _by_marks(self, messages: Sequence[Message], tools: Any) -> tuple[str, list[Span]]:
        assert self._marked is not None
        return self._marked.render_marked(messages, tools)

    def render_marked(self, messages: Sequence[Message], tools: Any) -> tuple[str, list[Span]]:
        """The text with the stretches that stand between the template's own marks."""
        blocks, spans = [""], list[Span]()
        environment: Any = self._compiled.environment
        try:
            with environment.activate_tracker(blocks, spans):
                for block in self._compiled.generate(**self._arguments(messages, tools, False)):
                    blocks.append(block)  # noqa: PERF402 - the marks count what is here so far
        except Exception as error:
            raise Unrenderable((str(error).splitlines() or [type(error).__name__])[0]) from error
        return "".join(blocks), spans

    def _by_rendering(self, messages: Sequence[Message], tools: Any) -> tuple[str, list[Span]]:
        text = self.render(messages, tools)
        spans = [self._turn(messages, tools, at, text) for at, m in enumerate(messages) if m["role"] == "assistant"]
        return text, [span for span in spans if span is not None]

    def _turn(self, messages: Sequence[Message], tools: Any, at: int, text: str) -> Span | None:
        """What one turn adds; None where a template re-writes earlier turns, as those that hide reasoning do."""
        begin = _common(self.render(messages[:at], tools, ask=True), text) if at else 0
        if at == len(messages) - 1:
            return begin, len(text)
        rendered = self.render(messages[: at + 1], tools)
        return (begin, len(rendered)) if text.startswith(rendered) else None

    def _arguments(self, messages: Sequence[Message], tools: Any, ask: bool) -> dict[str, Any]:
        return {
            **self._variables,
            "messages": list(messages),
            "tools": tools,
            "documents": None,
            "add_generation_prompt": ask,
        }

    @cached_property
    def _compiled(self) -> Any:
        return _environment().from_string(self._template)


def _environment() -> Any:
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_generation_marks(), loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


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


def _twin(template: str) -> str | None:
    """TRL keeps known templates beside twins with marks: `qwen3.jinja`, `qwen3_training.jinja`."""
    found = find_spec("trl")
    folders = [Path(place) / "chat_templates" for place in (found.submodule_search_locations if found else None) or ()]
    for file in (file for folder in folders for file in sorted(folder.glob("*.jinja"))):
        twin = file.with_name(f"{file.stem}_training.jinja")
        if twin.exists() and file.read_text(encoding="utf-8") == template:
            return twin.read_text(encoding="utf-8")
    return None


def _common(head: str, text: str) -> int:
    if text.startswith(head):
        return len(head)
    return next((at for at, (a, b) in enumerate(zip(head, text, strict=False)) if a != b), min(len(head), len(text)))
