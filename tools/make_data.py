"""Makes the data that the shipped recipes train on, as JSONL, from a seed: same seed, same bytes, on any machine.

python -m tools.make_data infra --rows 500 --out train.jsonl         # infrastructure tasks of every kind
python -m tools.make_data infra --kinds quickstart --rows 500 --held-out 80 --out train.jsonl --held-out-to eval.jsonl
python -m tools.make_data infra --form messages --rows 500 --out chat.jsonl
python -m tools.make_data census --out train.jsonl --held-out-to val.jsonl   # 192,733 and 21,415 rows, in seconds
python -m tools.make_data samples                                    # every file below recipes/data, again
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile

from tools import alpaca
from tools.generators import census
from tools.generators.infra import EVERYTHING, PRETRAINING, QUICKSTART
from tools.generators.task import Task, distinct_tasks

CENSUS_ROWS, CENSUS_HELD_OUT = 192_733, 21_415
INFRA_ROWS = 2_000
SEED = 3407
KINDS = {"all": EVERYTHING, "pretraining": PRETRAINING, "quickstart": QUICKSTART}

Row = dict[str, object]


def infra(kinds: str, rows: int, seed: int = SEED) -> list[Task]:
    """`rows` infrastructure tasks of the kinds `all`, `pretraining` or `quickstart`, no question twice."""
    tasks = list(islice(distinct_tasks(KINDS[kinds], seed), rows))
    if len(tasks) < rows:
        raise SystemExit(f"the kinds `{kinds}` have {len(tasks)} distinct tasks, {rows} were asked for: lower --rows")
    return tasks


def samples() -> dict[str, list[Task]]:
    """What stands below `recipes/data`, by file name."""
    quickstart = infra("quickstart", 660)
    census_rows = census.rows(240, SEED)
    return {
        "quickstart-train.jsonl": quickstart[:500],
        "quickstart-eval.jsonl": quickstart[500:580],
        "quickstart-test.jsonl": quickstart[580:],
        "inframind-sample.jsonl": infra("all", 104),
        "census-train-sample.jsonl": census_rows[:200],
        "census-val-sample.jsonl": census_rows[200:],
        **tests(),
    }


@cache
def tests() -> dict[str, list[Task]]:
    """Rows that come after all that the full sizes train on."""
    return {
        "inframind-test.jsonl": [by_tool(task) for task in infra("all", INFRA_ROWS + 400)[INFRA_ROWS:]],
        "census-test.jsonl": census.question_rows(200, SEED, CENSUS_ROWS + CENSUS_HELD_OUT),
    }


def by_tool(task: Task) -> Task:
    """With the tool in the place of the kind: fifty groups would be too small to tell anything."""
    return task if task.kind == "off-topic" else replace(task, kind=task.kind.partition("-")[0])


def alpaca_row(task: Task) -> Row:
    """A task with the columns of the Alpaca form."""
    return {"instruction": task.instruction, "input": task.input, "output": task.output}


def test_row(task: Task) -> Row:
    """Likewise, with the kind, by which an evaluation groups."""
    return {"kind": task.kind, **alpaca_row(task)}


def messages_row(task: Task) -> Row:
    """A task as one turn of a chat."""
    return {"messages": alpaca.messages(task)}


def jsonl(tasks: Sequence[Task], row: Callable[[Task], Row] = alpaca_row) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(row(task), ensure_ascii=False) + "\n" for task in tasks)


def row_of(name: str) -> Callable[[Task], Row]:
    """How the rows of a file below `recipes/data` are written."""
    return test_row if name.endswith("-test.jsonl") else alpaca_row


def write(text: str, path: Path) -> None:
    """The whole file or none of it: written beside, flushed, renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Dispatches to what the command line names."""
    options = _parser().parse_args(arguments)
    if options.what == "samples":
        for name, tasks in samples().items():
            write(jsonl(tasks, row_of(name)), options.folder / name)
        return
    wanted = options.rows + options.held_out
    tasks = infra(options.kinds, wanted, options.seed) if options.what == "infra" else census.rows(wanted, options.seed)
    row = messages_row if options.form == "messages" else alpaca_row
    write(jsonl(tasks[: options.rows], row), options.out)
    if options.held_out_to is not None:
        write(jsonl(tasks[options.rows :], row), options.held_out_to)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    tasks = commands.add_parser("infra", help="infrastructure tasks: Terraform, Kubernetes, Docker, CI, Ansible, Helm")
    tasks.add_argument(
        "--kinds", choices=sorted(KINDS), default="all", help="which kinds of task (default: %(default)s)"
    )
    _add_output_options(tasks, rows=500, held_out=0)
    figures = commands.add_parser("census", help="questions about an invented Japanese census")
    _add_output_options(figures, rows=CENSUS_ROWS, held_out=CENSUS_HELD_OUT)
    again = commands.add_parser("samples", help="the files of recipes/data")
    again.add_argument("--folder", type=Path, default=Path("recipes/data"), help="where to (default: %(default)s)")
    return parser


def _add_output_options(parser: argparse.ArgumentParser, rows: int, held_out: int) -> None:
    parser.add_argument("--rows", type=int, default=rows, help="training rows (default: %(default)s)")
    parser.add_argument("--held-out", type=int, default=held_out, help="rows for --held-out-to (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="another seed, other rows (default: %(default)s)")
    parser.add_argument(
        "--form", choices=("alpaca", "messages"), default="alpaca", help="columns (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="file for the training rows")
    parser.add_argument(
        "--held-out-to", type=Path, help="file for the held-out rows, which share no question with them"
    )


if __name__ == "__main__":
    main()
