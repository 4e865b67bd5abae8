"""Arguments and options that several commands share, so that they are spelled and completed alike.

Completion reads folders, never recipes: a Tab must answer at once, also when a file is broken.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def complete_recipes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """YAML files and folders that start with what is typed."""
    from pathlib import Path

    folder, _, start = incomplete.rpartition("/")
    base = Path(f"{folder}/" if folder or incomplete.startswith("/") else ".")
    prefix = f"{folder}/" if "/" in incomplete else ""
    try:
        entries = sorted(base.iterdir())
    except OSError:
        return []
    files = [e.name for e in entries if e.suffix in (".yaml", ".yml")]
    folders = [f"{e.name}/" for e in entries if e.is_dir() and not e.name.startswith(".")]
    return [CompletionItem(prefix + name) for name in files + folders if name.startswith(start)]


def complete_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids and recipe names of the ledger."""
    from sftrun.run.folders import ledger_folder
    from sftrun.run.listing import rows

    try:
        listed = rows(ledger_folder())
    except Exception:  # a Tab never prints an error
        return []
    names = {row.name: f"latest is {row.status}" for row in reversed(listed) if row.name}
    ids = {row.id: f"{row.name} {row.status}" for row in listed}
    return [CompletionItem(k, help=v) for k, v in {**names, **ids}.items() if k.startswith(incomplete)]


recipe_argument: Decorator = click.argument("recipe", type=click.Path(), shell_complete=complete_recipes)
run_argument: Decorator = click.argument("run", shell_complete=complete_runs)
set_option: Decorator = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the recipe by its dotted path; may be repeated.",
)

billed_option: Decorator = click.option(
    "--billed",
    is_flag=True,
    help="Ask Modal what it has billed for the run; the answer is kept and shown from then on.",
)


def format_option(*others: str) -> Decorator:
    """`--format text|json`, and what else the command knows."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(("text", "json", *others)),
        default="text",
        show_default=True,
        help="For people, or for machines.",
    )


def piped(names: Sequence[str]) -> bytes | None:
    """What stands for the recipe that is named `-`: stdin, up to one byte more than `load` takes."""
    from sftrun.recipe.read.source import MAX_BYTES

    return sys.stdin.buffer.read(MAX_BYTES + 1) if "-" in names else None
