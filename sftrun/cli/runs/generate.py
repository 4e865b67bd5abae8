"""`sftrun generate`: what training has changed, seen by asking."""

import json
import sys
from collections.abc import Iterator

import click

from sftrun.cli.options import format_option, run_argument
from sftrun.contract.question import Exchange, Question


@click.command()
@run_argument
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...")
@click.option("--max-new-tokens", type=click.IntRange(min=1), help="Longest answer; as in the recipe if absent.")
@click.option("--temperature", type=click.FloatRange(min=0), default=0.0, show_default=True, help="0 is greedy.")
@click.option("--system", metavar="TEXT", help="The system turn; as all training rows had it if absent.")
@format_option()
def command(
    run: str, prompts: tuple[str, ...], max_new_tokens: int | None, temperature: float, system: str | None, form: str
) -> int:
    """Ask base and tuned model side by side; without a PROMPT, chat with them.

    Each prompt is put as a training row would have it, and in a chat below what was said before, each model below its
    own answers. The model is loaded once.

    \b
    Examples:
      sftrun generate quickstart "Write a Dockerfile for a Go service"
      sftrun generate quickstart
      sftrun generate quickstart --format json "a prompt" "another"
    """
    from sftrun.cli.runs.watching import open_run
    from sftrun.run.execute import must_own_output

    folder, backend = open_run(run)
    must_own_output(folder, backend, help="`sftrun apply` its recipe to its end first")
    talk = _Talk(system, is_chat=not prompts)
    answers = backend.answer(
        folder,
        talk.questions(iter(prompts) if prompts else _typed()),
        max_new_tokens=max_new_tokens or folder.job().samples.max_new_tokens,
        temperature=temperature,
    )
    for base, tuned in answers:
        _print(talk.heard(base, tuned), form)
    return 0


class _Talk:
    """Questions as they come, in a chat with what was said before."""

    def __init__(self, system: str | None, *, is_chat: bool) -> None:
        self._system, self._is_chat = system, is_chat
        self._before: tuple[Exchange, ...] = ()
        self._asked = ""

    def questions(self, prompts: Iterator[str]) -> Iterator[Question]:
        for self._asked in prompts:
            yield Question(prompt=self._asked, system=self._system, before=self._before)

    def heard(self, base: str, tuned: str) -> Exchange:
        """The question that was asked last, answered."""
        said = Exchange(prompt=self._asked, base=base, tuned=tuned)
        self._before = (*self._before, said) if self._is_chat else ()
        return said


def _typed() -> Iterator[str]:
    """Lines of a person, or of a pipe, until they end."""
    is_person = sys.stdin.isatty()
    if is_person:
        click.echo("base and tuned model answer side by side; an empty line or Ctrl-D ends it", err=True)
    while True:
        if is_person:
            click.echo("> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line or (is_person and not line.strip()):
            return
        if line.strip():
            yield line.rstrip("\n")


def _print(said: Exchange, form: str) -> None:
    if form == "json":
        click.echo(json.dumps(said.model_dump(), ensure_ascii=False))
        return
    from sftrun.report.show.terminal_tables import console, side_by_side

    console(sys.stdout).print(side_by_side([(said.prompt, said.base, said.tuned)]))
