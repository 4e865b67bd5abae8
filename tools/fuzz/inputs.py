"""Recipes, data files and model folders: harmed, then checked as a user would; what is accepted is planned too."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

from tools.fuzz import harming
from tools.fuzz.trying import at, sftrun

ROOT = Path(__file__).parent.parent.parent
TINY = ROOT / "sftrun" / "builtin" / "tiny"
RECIPE = """\
version: 1
name: fuzz
model: {{name_or_path: {model}, dtype: float32}}
lora: {{r: 4}}
dataset: {{train: {data}}}
trainer: {{max_steps: 6, max_length: 128, learning_rate: 1.0e-3}}
compute: {{executor: local, gpu: none}}
volumes: {{/out: results}}
output: {{dir: /out/fuzz}}
"""
ROWS: dict[str, Callable[[int], dict[str, object]]] = {
    "text": lambda i: {"text": f"row {i} says something"},
    "pairs": lambda i: {"prompt": f"question {i} ", "completion": f"answer {i}"},
    "alpaca": lambda i: {"instruction": f"do {i}", "input": "", "output": f"done {i}"},
    "talk": lambda i: {
        "messages": [
            {"role": "system", "content": "be short"},
            {"role": "user", "content": f"say {i}"},
            {"role": "assistant", "content": f"it is {i}", "tool_calls": None},
        ]
    },
}
Made = tuple[str, Callable[[], Sequence[str]]]


def data(work: Path, chance: Random) -> Made:
    """One file of rows, in some form and kind."""
    name = chance.choice(list(ROWS))
    rows = [ROWS[name](number) for number in range(8)]
    file = _written(_emptied(work), rows, chance.choice(("jsonl", "json", "csv", "parquet")))
    how = harming.file(file, chance)
    _recipe(work, model="builtin:tiny", data=file.name)
    return f"{how} with {name}", lambda: at(work, lambda: list(_checked()))()


def models(work: Path, chance: Random) -> Made:
    """A model's folder."""
    harming.copied(TINY, _emptied(work) / "model")
    file = chance.choice(sorted(path for path in (work / "model").iterdir() if path.is_file()))
    how = harming.file(file, chance)
    _written(work, [ROWS["talk"](number) for number in range(8)], "jsonl")
    _recipe(work, model="model", data="rows.jsonl")
    return how, lambda: at(work, lambda: list(_checked()))()


def recipes(work: Path, chance: Random) -> Made:
    """One of the good examples, or ours."""
    seeds = sorted((ROOT / "tests" / "examples" / "good").glob("*.yaml"))
    _written(_emptied(work), [ROWS["pairs"](number) for number in range(8)], "jsonl")
    _recipe(work, model="builtin:tiny", data="rows.jsonl")
    text = (work / "r.yaml").read_bytes() if chance.random() < 0.5 else chance.choice(seeds).read_bytes()
    (work / "r.yaml").write_bytes(harming.bytes_of(text, chance))
    return "bytes of r.yaml", lambda: at(work, lambda: list(_checked()))()


def _checked() -> Iterator[str]:
    """What `validate` accepts, the estimate and a dry run accept too."""
    checks = (("validate", "r.yaml", "--offline"), ("data", "show", "r.yaml"))
    said = [sftrun(*command) for command in checks]
    for command, each in zip(checks, said, strict=True):
        yield from each.faults(command)
    for command in (("estimate-cost", "r.yaml", "--offline"), ("apply", "r.yaml", "--dry-run")):
        planned = sftrun(*command)
        yield from planned.faults(command)
        lacks_facts = "missing: " in planned.out  # of a model that nothing here knows, which is no fault of the recipe
        if said[0].code == 0 and planned.code not in (0, 5) and not lacks_facts:
            yield f"validate says ok, `{' '.join(command)}` exits {planned.code}: {planned.err.strip()[:300]}"


def _emptied(work: Path) -> Path:
    if work.exists():
        shutil.rmtree(work)
    work.mkdir()
    return work


def _recipe(work: Path, **named: str) -> None:
    (work / "r.yaml").write_text(RECIPE.format(**named))


def _written(work: Path, rows: list[dict[str, object]], kind: str) -> Path:
    file = work / f"rows.{kind}"
    if kind == "parquet":
        import pyarrow  # type: ignore[import-untyped]
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    elif kind == "csv":
        lines = [",".join(rows[0]), *(",".join(json.dumps(str(value)) for value in row.values()) for row in rows)]
        file.write_text("\n".join(lines) + "\n")
    else:
        texts = [json.dumps(row) for row in rows]
        file.write_text("\n".join(texts) + "\n" if kind == "jsonl" else f"[{', '.join(texts)}]")
    return file
