"""The command line's door: a group that knows every command's name and imports only the one chosen.

`sftrun --help` is read far more often than anything else is run, so this file imports click and nothing heavier; the
table below is all that the help needs.  A command returns an exit code (None is 0); `main` is the one place that turns
exceptions into words and codes.
"""

import gc
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import click

from sftrun import __version__
from sftrun.errors import EXIT_BUG, EXIT_INTERRUPTED, SftrunError


class Entry(NamedTuple):
    """One command: its name, the module of `sftrun.cli` that has it as `command`, and its line in the help."""

    name: str
    module: str
    help: str


SECTIONS: dict[str, tuple[Entry, ...]] = {
    "Recipes": (
        Entry("init", "recipes.init", "Write a first recipe for your data, or copy one that ships."),
        Entry("validate", "recipes.validate", "Check recipes to the line and column; nothing is run."),
        Entry("explain", "recipes.explain", "Say what a diagnostic's code or a recipe's key means."),
        Entry("migrate", "recipes.migrate", "Bring an older recipe to this version, comments kept."),
        Entry("import", "recipes.import_", "Make a recipe from another tool's config."),
        Entry("schema", "recipes.schema", "Print the recipe's JSON Schema, for editors."),
        Entry("data", "recipes.data", "Look at the rows as the trainer will see them; clean and split them."),
    ),
    "Runs": (
        Entry("apply", "runs.apply", "Start a recipe's run, attach to it, or resume it."),
        Entry("runs", "runs.runs", "List the runs of this folder."),
        Entry("show", "runs.show", "Show one run: its state, losses, samples, time and money."),
        Entry("logs", "runs.logs", "Print the output of a run's worker."),
        Entry("attach", "runs.attach", "Watch a run that is under way."),
        Entry("cancel", "runs.cancel", "Stop a run with a checkpoint."),
    ),
    "Results": (
        Entry("generate", "runs.generate", "Ask base and tuned model side by side, or chat with them."),
        Entry("evaluate", "runs.evaluate", "Say at what the tuned model is better or worse than its base."),
        Entry("pull", "runs.pull", "Copy a run's adapter, tokenizer and report to a folder."),
        Entry("report", "money.report", "Write a run's report."),
        Entry("ui", "ui", "Show the runs of this folder as a page: curves, cost, logs, a chat."),
    ),
    "Money": (
        Entry("estimate-cost", "recipes.estimate_cost", "Say what a recipe will take in time, memory and money."),
        Entry("prices", "money.prices", "List the prices that estimates rest on, and their date."),
        Entry("costs", "money.costs", "Add up what runs have cost."),
    ),
    "This machine": (
        Entry("doctor", "doctor", "Say what this machine can run, what is missing, and how to mend it."),
        Entry("completion", "completion", "Print the completion script of a shell."),
    ),
}
_NAME_WIDTH = max(len(entry.name) for entries in SECTIONS.values() for entry in entries)


def run() -> NoReturn:
    """Entry point of the `sftrun` script."""
    # what a command loads stays until its end: to look through it for garbage each 700 objects is work for nothing
    gc.set_threshold(100_000)
    # to look for plugins pydantic reads the metadata of every installed package; none is wanted here
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    code = main(sys.argv[1:])
    gc.freeze()
    sys.exit(code)


def main(argv: Sequence[str]) -> int:
    """Run one command line; returns its exit code and never raises."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that can't show `✓` gets `?`, not a crash
    try:
        code = cli.main(args=list(argv), prog_name="sftrun", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.Abort:
        return _interrupted()
    except KeyboardInterrupt:
        return _interrupted()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SftrunError as error:
        show_error(error)
        return error.exit_code
    except BrokenPipeError:
        return _quiet_pipe()
    except OSError as error:
        return _world(error, argv)
    except Exception as error:
        return _bug(error, argv)


def show_error(error: SftrunError) -> None:
    """Say on stderr what is wrong and the one thing to do."""
    if error.message:
        click.echo(f"{_red('error:')} {_shown(error.message)}", err=True)
    if error.help:
        click.echo(f"  help: {_shown(error.help)}", err=True)


def _shown(text: str) -> str:
    """Names, data and other programs' words may stand in it: nothing that a terminal obeys, and no keys."""
    from sftrun.disk.outside import printable
    from sftrun.recipe.secrets import mask

    return printable(mask(text))


class LazyGroup(click.Group):
    """A group whose commands are names until one is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [entry.name for entries in SECTIONS.values() for entry in entries]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = next((e for es in SECTIONS.values() for e in es if e.name == cmd_name), None)
        if entry is None:
            return None
        from importlib import import_module

        command = import_module(f"sftrun.cli.{entry.module}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.list_commands(ctx) and not args[0].startswith("-"):
            raise click.UsageError(_unknown_command(args[0], self.list_commands(ctx)), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, entries in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(entry.name.ljust(_NAME_WIDTH), entry.help) for entry in entries])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["click.shell_completion.CompletionItem"]:
        from click.shell_completion import CompletionItem

        entries = [entry for group in SECTIONS.values() for entry in group if entry.name.startswith(incomplete)]
        if entries and not incomplete.startswith("-"):
            return [CompletionItem(entry.name, help=entry.help) for entry in entries]
        return click.Command.shell_complete(self, ctx, incomplete)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A run is named by its id, a unique prefix of it, or the recipe's name for its latest.",
)
@click.version_option(__version__, "--version", prog_name="sftrun", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, envvar="SFTRUN_DEBUG", help="Print the traceback of a program error.")
def cli(debug: bool) -> None:
    """Declarative supervised fine-tuning: checked to the line, priced before it runs, resumable after it stops.

    \b
    sftrun validate recipes/quickstart.yaml
    sftrun apply recipes/quickstart.yaml
    sftrun generate quickstart "Write a Dockerfile for a Go service"
    """


def _unknown_command(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"no command `{name}`" + (f"; did you mean `{near[0]}`?" if near else "")


def _interrupted() -> int:
    click.echo("interrupted", err=True)
    return EXIT_INTERRUPTED


def _quiet_pipe() -> int:
    # the reader (head, less) has left; what is still buffered goes nowhere, without a word
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _world(error: OSError, argv: Sequence[str]) -> int:
    """What the system refuses wherever it is asked: a name that is too long, a folder that is gone or can't be read."""
    from sftrun.disk.commands import reason

    found = reason(error)
    if found is None:
        return _bug(error, argv)
    named = isinstance(error.filename, str)
    where = f"`{error.filename[:200]}`" if named else "the working folder"
    help = found[1] if named else "go to a folder that is there"
    show_error(SftrunError(f"can't use {where}: {found[0]}", help=help))
    return SftrunError.exit_code


def _bug(error: Exception, argv: Sequence[str]) -> int:
    import traceback

    from sftrun.recipe.secrets import mask

    text = mask("".join(traceback.format_exception(error)))
    if "--debug" in argv or os.environ.get("SFTRUN_DEBUG"):
        click.echo(text, err=True, nl=False)
        where = "the traceback above"
    else:
        where = _write_traceback(text, argv)
    summary = _shown(str(error).splitlines()[0]) if str(error) else ""
    click.echo(f"{_red('bug in sftrun:')} {type(error).__name__}: {summary}", err=True)
    click.echo(f"  help: please open an issue at the sftrun repository, with {where}", err=True)
    return EXIT_BUG


def _write_traceback(text: str, argv: Sequence[str]) -> str:
    import platform
    import shlex
    import tempfile

    from sftrun.recipe.secrets import mask

    header = f"sftrun {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="sftrun-bug-", suffix=".txt", delete=False) as file:
            file.write(f"{header}$ sftrun {mask(shlex.join(argv))}\n\n{text}")
        return file.name
    except OSError:
        return "what `sftrun --debug` prints"


def _red(text: str) -> str:
    wants_colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return click.style(text, fg="red", bold=True) if wants_colour else text


if __name__ == "__main__":
    run()
