"""Write docs/cli.md from the commands themselves.  `python tools/cli_docs.py`; a test compares.

Commands whose module is not there yet are left out, so that the page never promises what the program lacks.
"""

import inspect
from pathlib import Path

import click

from sftrun import errors
from sftrun.cli.main import SECTIONS, cli

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
HEAD = """\
# The command line

<!-- written by tools/cli_docs.py from the commands themselves; edit those -->

A *run* is named by its id, a unique prefix of it, or the recipe's name for its latest. Runs are kept in `.sftrun/` of
the working folder, or where `SFTRUN_HOME` says. Progress goes to stdout, errors to stderr; `--format json` prints what
the files of `schemas/` describe and nothing else. `NO_COLOR`, `TERM=dumb` and a pipe give plain lines.
"""
CODES = {
    0: "Done, or nothing to do; the recipe is valid",
    1: "Something outside this program is wrong: a recipe, a folder, a name; the message says what and where",
    70: "A bug of sftrun's; the message says where the traceback is",
    130: "A second Ctrl-C",
}


def text() -> str:
    """The page as it should be."""
    context = click.Context(cli, info_name="sftrun", **cli.context_settings)
    parts = [HEAD, "## Exit codes\n", _exit_codes(), "\n## Commands\n", _overview()]
    for entries in SECTIONS.values():
        for entry in entries:
            command = cli.get_command(context, entry.name)
            assert command is not None
            parts.append(_section(command, entry.name, context))
    return "\n".join(parts)


def _exit_codes() -> str:
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.SftrunError)]
    said = {kind.exit_code: (inspect.getdoc(kind) or "").splitlines()[0].rstrip(".") for kind in kinds} | CODES
    rows = [f"| {code} | {words} |" for code, words in sorted(said.items())]
    return "\n".join(["| code | means |", "| --- | --- |", *rows])


def _overview() -> str:
    rows = [f"| [`{e.name}`](#{e.name}) | {e.help} |" for entries in SECTIONS.values() for e in entries]
    return "\n".join(["| command | |", "| --- | --- |", *rows]) + "\n"


def _section(command: click.Command, name: str, parent: click.Context) -> str:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=100, max_content_width=100)
    return f"### {name}\n\n```\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
