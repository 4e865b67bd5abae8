"""`sftrun evaluate`: is it better, at what, by how much, and what did it forget."""

from pathlib import Path
from typing import get_args

import click

from sftrun.cli.options import format_option, run_argument
from sftrun.contract.choices import MetricName


def metric_names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """`exact_match,number` -> names; a wrong one is told with the right ones."""
    names = tuple(name.strip() for name in (value or "").split(",") if name.strip())
    for name in names:
        if name not in get_args(MetricName):
            raise click.BadParameter(f"no metric `{name}`; there are {', '.join(get_args(MetricName))}")
    return names


def gate_of(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, float] | None:
    """`exact_match:0.02` -> the metric and what it must gain."""
    if value is None:
        return None
    name, _, gain = value.partition(":")
    try:
        return metric_names(ctx, param, name)[0], float(gain or 0)
    except (ValueError, IndexError):
        raise click.BadParameter(f"`{value}` is no METRIC:GAIN, such as exact_match:0.02") from None


@click.command()
@run_argument
@click.option("--data", type=click.Path(), metavar="FILE", help="Test rows, of the form that the run was trained on.")
@click.option(
    "--metrics",
    callback=metric_names,
    metavar="NAME,…",
    help="exact_match, number, chrf, stops, loss … docs/evaluation.md has all.",
)
@click.option("--by", metavar="COLUMN", help="Figures for each value of this column too.")
@click.option("--max-examples", type=click.IntRange(min=1), help="At most so many rows, the same for every run.")
@click.option("--general", type=click.Path(), metavar="FILE", help="Rows of other things: what was forgotten of them.")
@click.option("--neutral-text", is_flag=True, help="The loss on text that ships with the program, likewise.")
@click.option("--tolerance", type=click.FloatRange(0, 1, max_open=True), help="Share by which `number` may be off.")
@click.option("--pattern", metavar="REGEX", help="What `regex` looks for.")
@click.option("--json-schema", type=click.Path(path_type=Path), help="What the answers of `json` are to match.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), help="Longest answer.")
@click.option("--temperature", type=click.FloatRange(min=0), help="0 is greedy, and the default.")
@click.option("--gate", callback=gate_of, metavar="METRIC:GAIN", help="Exit status 8 where less is gained.")
@click.option("--worst", type=click.IntRange(min=0), default=3, show_default=True, help="Rows shown that got worse.")
@format_option()
def command(run: str, form: str, worst: int, **wanted: object) -> int:
    """Compare base and tuned model of a finished run on rows with known answers, and say what that shows.

    Without --data the rows of the recipe's `evaluation` are asked, and what its run has answered already is not asked
    again. Answers are kept beside the run: other metrics, groups and gates are judged without asking anew, and a
    command that was interrupted goes on where it stopped. docs/evaluation.md says what each metric counts.

    \b
    Examples:
      sftrun evaluate quickstart
      sftrun evaluate quickstart --data test.jsonl --metrics exact_match,number --by category
      sftrun evaluate 3f2a --data test.jsonl --neutral-text --general other.jsonl
      sftrun evaluate quickstart --gate exact_match:0.02 --format json
    """
    from sftrun.cli.runs.judging import Wanted, evaluate

    return evaluate(run, Wanted(**wanted), form=form, worst=worst)  # type: ignore[arg-type]
