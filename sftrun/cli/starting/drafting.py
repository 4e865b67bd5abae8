"""Wishes and what was found -> the text of a recipe, each decision with its reason beside it.  Pure."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal, NamedTuple

from sftrun.cli.starting import known_models
from sftrun.contract.executors import LOCAL, MODAL, Executor
from sftrun.facts.values import DataFacts, Machine, ModelFacts

Goal = Literal["try", "good", "best"]
_WIDTH: Final = 44
_ROOM: Final = 4.0  # GB beside the weights, for adapters, optimiser and a step's activations
_GB_A_BILLION: Final = 0.9  # of 4-bit weights with what their products take


class Wishes(NamedTuple):
    """What was asked for; None: decide for me."""

    data: str
    model: str | None = None
    goal: Goal = "good"
    where: Executor | None = None
    max_usd: Decimal | None = None
    hours: float | None = None


class Here(NamedTuple):
    """What there is to run on."""

    machine: Machine
    lacks: tuple[str, ...] = ()
    has_modal: bool = False
    has_bitsandbytes: bool = True


class Found(NamedTuple):
    """What is known of model and data, and the GPU that was chosen of Modal's with the reason."""

    model: ModelFacts | None = None
    train: DataFacts | None = None
    gpu: str | None = None
    why_gpu: str = ""
    max_usd: Decimal | None = None
    why_usd: str = ""
    prompts: tuple[str, ...] = ()
    is_counted: bool = True  # with the model's own tokenizer


class Line(NamedTuple):
    """A key of a section with its reason."""

    key: str
    value: str
    why: str = ""


def where(wishes: Wishes, here: Here) -> tuple[Executor, str]:
    """Modal, or this machine."""
    gpu = here.machine.gpu_name
    if wishes.where is not None:
        return wishes.where, "as asked for"
    if wishes.model == known_models.TINY:
        return LOCAL, "a model this small needs no GPU"
    if gpu and not here.lacks:
        return LOCAL, f"this machine has a GPU ({gpu}) and all packages"
    if here.has_modal:
        return MODAL, f"a token is set, and here there is no {'GPU' if not gpu else 'engine'}"
    if not here.lacks:
        return LOCAL, "no GPU here and no token of Modal; the CPU trains small models"
    return MODAL, "the packages of a local run are not installed"


def model(wishes: Wishes, here: Here, place: Executor) -> tuple[str, str]:
    """The base model."""
    if wishes.model is not None:
        return wishes.model, known_models.words(wishes.model)
    if place.is_here and not here.machine.gpu_name:
        return (
            known_models.TINY,
            "a CPU trains it in minutes; try the way, then name another",
        )
    candidates = known_models.BY_GOAL[wishes.goal]
    room = here.machine.gpu_memory_gb if place.is_here else 1e9
    fits = [name for name in candidates if _needs(name) <= room] or [candidates[-1]]
    return fits[0], known_models.words(fits[0])


def _needs(name: str) -> float:
    known = known_models.about(name)
    return _ROOM + _GB_A_BILLION * (known.billions if known else 0.0)


def text(wishes: Wishes, here: Here, found: Found, output: Path) -> str:
    """The whole recipe."""
    place, why_place = where(wishes, here)
    base, why_base = model(wishes, here, place)
    name = name_of(wishes.data)
    parts = [
        "# Each line says why. `sftrun explain KEY` says more, `sftrun estimate-cost` what it takes.",
        "version: 1",
        f"name: {name}",
        *_section("model", _model(base, why_base)),
    ]
    is_small = base == known_models.TINY
    if not is_small and here.has_bitsandbytes and (place.rents or here.machine.gpu_name) and _billions(base, found) > 2:
        parts += _section("quantization", [Line("load_in_4bit", "true", "QLoRA: a quarter of the memory")])
    parts += _section("lora", _lora(wishes, is_small))
    parts += _section("dataset", _dataset(wishes, found, output))
    parts += _section("trainer", _trainer(wishes, found, is_small, place, here))
    parts += _section("compute", _compute(place, why_place, here, found))
    if place.rents:
        parts += _section(
            "volumes", [Line("/outputs", "sftrun-outputs", "the Modal Volume that keeps adapter and checkpoints")]
        )
    adapter = f"/outputs/{name}" if place.rents else f"out/{name}"
    parts += _section("output", [Line("dir", adapter, "" if place.rents else "beside this file")])
    parts += _samples(found)
    if place.rents and found.max_usd is not None:
        parts += _section("budget", [Line("max_usd", f"{found.max_usd:.2f}", found.why_usd)])
    if place.rents and found.model is not None and found.model.gated:
        parts += [
            "",
            "secrets: [huggingface]                      # the Modal Secret with HF_TOKEN: the model must be asked for",
        ]
    return "\n".join(parts) + "\n"


def name_of(data: str) -> str:
    """A name for recipe and run, from the data's."""
    stem = re.sub(r"\.(jsonl|json|csv|tsv|parquet)(\.gz)?$", "", data.rstrip("/").rpartition("/")[2])
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:40] or "mine"


def is_hub(data: str) -> bool:
    """Whether it names a data set of the Hub: nothing is there under that name, and it has an owner."""
    return (
        not Path(data).exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", data) is not None and "." not in Path(data).suffix
    )


def _section(name: str, lines: list[Line]) -> list[str]:
    return ["", f"{name}:", *(_line(one) for one in lines)]


def _line(one: Line) -> str:
    said = f"  {one.key}: {one.value}"
    return f"{said.ljust(_WIDTH - 1)} # {one.why}" if one.why else said


def _model(base: str, why: str) -> list[Line]:
    lines = [Line("name_or_path", base, why)]
    return [*lines, Line("dtype", "float32", "exact, and as fast on a CPU")] if base == known_models.TINY else lines


def _billions(base: str, found: Found) -> float:
    known = known_models.about(base)
    return known.billions if known else (found.model.parameters / 1e9 if found.model else 3.0)


def _lora(wishes: Wishes, is_small: bool) -> list[Line]:
    r = 32 if wishes.goal == "best" else 16
    why = "room for more to learn" if wishes.goal == "best" else "enough for most data"
    alpha = 64 if is_small else 2 * r
    return [
        Line("r", str(r), why),
        Line("lora_alpha", str(alpha)),
        Line("target_modules", "all-linear", "attention and MLP"),
    ]


def _dataset(wishes: Wishes, found: Found, output: Path) -> list[Line]:
    train, rows = found.train, found.train.rows if found.train else None
    if is_hub(wishes.data):
        lines = [Line("train", f"{{hub: {wishes.data}, split: train}}", "read where it runs")]
    else:
        lines = [_files(_quoted(relative(wishes.data, output)), found)]
    if rows is None:
        lines.append(Line("eval_fraction", "0.05", "rows kept out of training, to judge by"))
    elif rows >= 20:
        share = f"{min(0.1, 1000 / rows):.2g}"
        lines.append(
            Line("eval_fraction", share, f"{round(float(share) * rows):,} rows kept out of training, to judge by")
        )
    if train is not None and train.format is not None:
        lines.append(Line("format", train.format, f"by the columns {', '.join(train.columns[:4])}"))
        if train.format == "instruction":
            has_template = found.model is not None and found.model.has_chat_template
            why = "the model's own way of asking" if has_template else "the model has no chat template"
            lines.append(Line("instruction_template", "chat" if has_template else "alpaca", why))
    return lines


def _files(path: str, found: Found) -> Line:
    train = found.train
    if train is None or found.is_counted or not train.mean_tokens:
        return Line("train", path, f"{train.rows:,} rows" if train else "")
    mean = f"mean_tokens: {train.mean_tokens:.0f}"
    return Line(
        "train", f"{{path: {path}, {mean}}}", f"{train.rows:,} rows; tokens by another tokenizer, for the price"
    )


def relative(data: str, output: Path) -> str:
    """The data's path as the recipe has it: relative to its folder where it lies below that."""
    folder, path = output.parent.resolve(), Path(data).absolute()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _quoted(path: str) -> str:
    return path if re.fullmatch(r"[\w./*-]+", path) else '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _trainer(wishes: Wishes, found: Found, is_small: bool, place: Executor, here: Here) -> list[Line]:
    rows = found.train.rows if found.train else None
    has_eval = rows is None or rows >= 20
    lines = [_how_long(wishes.goal, rows), _length(found)]
    if place.rents or here.machine.gpu_name:
        lines.append(Line("packing", "true", "several rows in one sequence, kept apart: no padding is paid for"))
        lines += [Line("per_device_train_batch_size", "4"), Line("gradient_accumulation_steps", "2")]
    else:
        lines.append(Line("per_device_train_batch_size", "8"))
    rate = "2.0e-3" if is_small else "2.0e-4"
    lines.append(Line("learning_rate", rate, "ten times what a large model bears" if is_small else "usual for LoRA"))
    lines += [Line("lr_scheduler_type", "cosine"), Line("warmup_ratio", "0.05")]
    if rows is not None and rows < 2000:
        lines.append(Line("logging_steps", "1" if rows < 100 else "5", "few steps: say more often how it goes"))
    if has_eval and wishes.goal == "best":
        by_epochs = [Line("evals_per_epoch", "4"), Line("saves_per_epoch", "4")]
        by_steps = [Line("eval_steps", "200"), Line("save_steps", "200")]
        lines += [
            *(by_steps if rows is None else by_epochs),
            Line("early_stopping_patience", "3", "stop when evaluations get no better"),
            Line("load_best_model_at_end", "true", "keep the best weights, not the last"),
        ]
    return lines


def _how_long(goal: Goal, rows: int | None) -> Line:
    if goal == "try":
        return Line("max_steps", "60", "enough to see whether it learns; then num_train_epochs")
    epochs = 1 if rows is None or rows > 20_000 else 2 if rows > 2_000 else 3
    why = {1: "many rows are seen once", 2: "", 3: "few rows are seen more often"}[epochs]
    if goal == "best":
        return Line("num_train_epochs", str(epochs + 1), "early stopping ends it before it learns by heart")
    return Line("num_train_epochs", str(epochs), why)


def _length(found: Found) -> Line:
    longest = found.train.percentiles.get("99") if found.train else None
    most = found.model.max_positions if found.model and found.model.max_positions else 8192
    if not longest:
        return Line("max_length", "1024", "tokens a row; how long rows are can't be counted from here")
    rounded = -(-longest * 5 // 4 // 128) * 128
    length = max(256, min(rounded or 128, most, 8192))
    return Line(
        "max_length",
        str(length),
        f"99 of 100 rows have up to {longest:,} tokens{'' if found.is_counted else ', about'}",
    )


def _compute(place: Executor, why: str, here: Here, found: Found) -> list[Line]:
    lines = [Line("executor", place.name, why)]
    if place.rents:
        return [*lines, Line("gpu", found.gpu or "L40S", found.why_gpu or "`sftrun estimate-cost --gpu all` compares")]
    return lines if here.machine.gpu_name else [*lines, Line("gpu", "none", "there is none here")]


def _samples(found: Found) -> Iterator[str]:
    prompts = [one for one in found.prompts if one]
    if prompts:
        yield from ("", "samples:", "  prompts:".ljust(_WIDTH) + "# answered before and after, shown side by side")
        yield from (f"    - {_text(one)}" for one in prompts)


def _text(said: str) -> str:
    import json

    return json.dumps(said, ensure_ascii=False)


def prompts_of(rows: list[Mapping[str, object]], train: DataFacts | None) -> tuple[str, ...]:
    """What the first rows ask, where they are short."""
    names = ("instruction", "prompt", "question", "query", "problem", "input")
    asked = (next((row[name] for name in names if isinstance(row.get(name), str)), None) for row in rows)
    form = train.format if train is not None else None
    short = [one for one in asked if isinstance(one, str) and 0 < len(one) <= 300]
    return tuple(short[:2]) if form in ("instruction", "prompt_completion") else ()
