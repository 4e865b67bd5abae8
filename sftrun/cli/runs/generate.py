"""`sftrun generate`: what training has changed, seen by asking."""

import json
import sys
from collections.abc import Iterator, Sequence

import click

from sftrun.cli.options import format_option, run_argument


@click.command()
@run_argument
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...")
@click.option("--max-new-tokens", type=click.IntRange(min=1), help="Longest answer; as in the recipe if absent.")
@click.option("--temperature", type=click.FloatRange(min=0), default=0.0, show_default=True, help="0 is greedy.")
@format_option()
def command(run: str, prompts: tuple[str, ...], max_new_tokens: int | None, temperature: float, form: str) -> int:
    """Ask base and tuned model side by side; without a PROMPT, chat with them.

    Each prompt is put as a training row would have it. The model is loaded once.

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
    asked: list[str] = []
    answers = backend.answer(
        folder,
        _remembered(iter(prompts) if prompts else _typed(), asked),
        max_new_tokens=max_new_tokens or folder.job().samples.max_new_tokens,
        temperature=temperature,
    )
    for said in answers:
        _print(asked[-1], said, form)
    return 0


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


def _remembered(prompts: Iterator[str], asked: list[str]) -> Iterator[str]:
    for prompt in prompts:
        asked[:] = [prompt]
        yield prompt


def _print(prompt: str, said: Sequence[str], form: str) -> None:
    base, tuned = said
    if form == "json":
        click.echo(json.dumps({"prompt": prompt, "base": base, "tuned": tuned}, ensure_ascii=False))
        return
    from sftrun.report.show.terminal_tables import console, side_by_side

    console(sys.stdout).print(side_by_side([(prompt, base, tuned)]))
