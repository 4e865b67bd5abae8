"""`sftrun explain`: the why of a diagnostic's code, with an example, or what a key of the recipe means."""

import sys
import textwrap

import click
from click.shell_completion import CompletionItem

from sftrun.report.show.carets import Pen, wants_colour

EPILOG = """\b
Examples:
  sftrun explain R201
  sftrun explain trainer.max_length
  sftrun explain trainer
  sftrun explain
"""


def complete_codes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Codes that start with what is typed."""
    from sftrun.recipe.words.codes import TABLE

    return [CompletionItem(code.code, help=code.title) for code in TABLE.values() if code.code.startswith(incomplete)]


@click.command(epilog=EPILOG)
@click.argument("subject", required=False, metavar="[CODE|KEY]", shell_complete=complete_codes)
def command(subject: str | None) -> int:
    """Say why a diagnostic matters, or what a recipe's key means; without an argument, list all codes."""
    pen = Pen(wants_colour(sys.stdout))
    if subject is None:
        _list(pen)
    else:
        click.echo(_code(subject, pen) or _key(subject, pen), color=pen.colour)
    return 0


def _list(pen: Pen) -> None:
    from sftrun.recipe.words.codes import TABLE

    for code in TABLE.values():
        click.echo(f"{pen(code.severity, code.code)}  {code.severity:<7}  {code.title}", color=pen.colour)


def _code(subject: str, pen: Pen) -> str | None:
    from sftrun.recipe.words.codes import TABLE

    code = TABLE.get(subject.upper())
    if code is None:
        return None
    return "\n".join(
        [
            pen(code.severity, f"{code.severity}[{code.code}]") + pen("bold", f": {code.title}"),
            "",
            textwrap.fill(code.why, 80),
            "",
            pen("error", "wrong"),
            textwrap.indent(code.bad, "    "),
            "",
            pen("good", "right"),
            textwrap.indent(code.good, "    "),
        ]
    )


def _key(subject: str, pen: Pen) -> str:
    from sftrun.recipe.words import kinds
    from sftrun.recipe.words.names import foreign, nearest

    path = () if subject == "recipe" else tuple(subject.split("."))
    kind = kinds.kind_at(path)
    if kind is None:
        places = kinds.everywhere().get(subject, ())
        if len(places) == 1:
            return _key(f"{places[0]}.{subject}" if places[0] else subject, pen)
        raise click.UsageError(_unknown(subject, places, foreign(subject), nearest(subject, kinds.everywhere())))
    section = kinds.section_of(kind)
    lines = [pen("bold", subject) + f": {kinds.description(path)}", f"takes {kinds.words(kind)}"]
    advice = kinds.usual(path) if path and section is None else None
    lines += [advice] if advice else []
    if section is not None:
        width = max(map(len, section.model_fields)) + 2
        below = [f"  {name:<{width}}{kinds.description((*path, name))}" for name in section.model_fields]
        lines = [lines[0], "", *below]
    return "\n".join(lines)


def _unknown(subject: str, places: tuple[str, ...], other: str | None, near: str | None) -> str:
    if places:
        return f"`{subject}` stands in several sections: {', '.join(f'{place}.{subject}' for place in places)}"
    if other is not None:
        return f"`{subject}` is another tool's name: {other.strip('()')}"
    return f"no code or key `{subject}`" + (f"; did you mean `{near}`?" if near else "")
