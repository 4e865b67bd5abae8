"""Values that several tools write alike, as a recipe has them."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from sftrun.diagnostics import Path
from sftrun.recipe import known
from sftrun.recipe.foreign.draft import Draft, source_has

DTYPES = {
    "bf16": "bfloat16",
    "bfloat16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
    "float16": "float16",
    "fp32": "float32",
    "float": "float32",
    "float32": "float32",
}
ATTENTION = {
    "fa2": "flash_attention_2",
    "flash_attention_2": "flash_attention_2",
    "flash_attention_3": "flash_attention_3",
    "fa3": "flash_attention_3",
    "sdpa": "sdpa",
    "eager": "eager",
}
TRACKERS = ("trackio", "wandb", "mlflow", "tensorboard")
_FILE = re.compile(r".*\.(json|jsonl|csv|parquet|txt|tsv)(\.gz|\.zst)?$", re.IGNORECASE)


Key = Callable[[Draft, Path, Any], None]
Step = Callable[[Draft, dict[str, Any]], None]
_ODD = (TypeError, ValueError, AttributeError, KeyError, IndexError)


def carry(draft: Draft, values: dict[str, Any], keys: dict[str, Key], steps: dict[str, Step]) -> set[str]:
    """Each key by its function, in the order of the file; then what several decide together, named by one of them."""
    done = [key for key in values if key in keys]
    for key in done:
        before = dict(draft.values)
        try:
            keys[key](draft, (key,), values[key])
            draft.use(*([key] if draft.values != before else []))
        except _ODD:
            draft.differ((key,), values[key], "not a value that this key has")
    for key, step in steps.items():
        try:
            step(draft, values)
        except _ODD:
            draft.differ((key,), values.get(key), "not a value that this key has")
    return set(done)


def base_model(draft: Draft, at: Path, value: Any) -> None:
    """The model, and a name for the recipe."""
    draft.put(at, "model.name_or_path", str(value))
    name = re.sub(r"[^A-Za-z0-9._-]", "-", str(value).rstrip("/").rpartition("/")[2]).strip("-._").lower()
    draft.values.setdefault("name", f"{name or 'imported'}-sft"[:63])


def targets(draft: Draft, at: Path, value: Any) -> None:
    """LoRA targets: all, names, or a regular expression of whole names."""
    if value in ("all", "all-linear", "all_linear", ["all"], ["all-linear"], ["all_linear"]):
        draft.put(at, "lora.target_modules", "all-linear")
    else:
        draft.put(at, "lora.target_modules", value)


def dtype(draft: Draft, at: Path, value: Any) -> None:
    """Type of the weights; `auto` is what the checkpoint has, which is bfloat16 of nearly all."""
    word = str(value).rpartition(".")[2]
    draft.put(at, "model.dtype", DTYPES.get(word, "bfloat16" if word in ("auto", "None") else word))


def attention(draft: Draft, at: Path, value: Any) -> None:
    """The kernel, where a recipe has its name; another computes the same."""
    if str(value) in ATTENTION:
        draft.put(at, "model.attn_implementation", ATTENTION[str(value)])
    else:
        draft.same(at, value, "another kernel for the same attention is chosen")


def number(value: Any) -> Any:
    """`2e-4` as its author means it, also where a YAML reader takes it for a text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def scheduler(draft: Draft, at: Path, value: Any) -> None:
    """The schedule, where transformers knows it."""
    if value in known.USUAL_SCHEDULES or value in known.sft_config()["names"]["schedules"]:
        draft.put(at, "trainer.lr_scheduler_type", value)
    else:
        draft.differ(at, value, "no schedule of transformers")


def optimizer(draft: Draft, at: Path, value: Any) -> None:
    """The optimiser, where transformers knows it."""
    if value in known.USUAL_OPTIMIZERS or value in known.sft_config()["names"]["optimizers"]:
        draft.put(at, "trainer.optim", value)
        if value in ("adamw_torch_4bit", "adamw_torch_8bit"):
            draft.values["compute.image.pip"] = ["torchao"]
    else:
        draft.differ(at, value, "no optimiser of transformers")


def warmup(draft: Draft, at: Path, value: Any) -> None:
    """Steps, or a share of them: transformers 5 takes a number below 1 for a share."""
    if isinstance(value, int | float) and 0 < value < 1:
        draft.put(at, "trainer.warmup_ratio", value)
    elif value:
        draft.put(at, "trainer.warmup_steps", int(value) if isinstance(value, float) else value)


def how_often(draft: Draft, kind: str, strategy: Any, at: Path, steps: Any, epochs: Any) -> None:
    """`eval` or `save`: per epoch, every so many steps, or a share of all steps."""
    draft.use(f"{kind}_strategy", "evaluation_strategy")
    if strategy == "epoch":
        draft.put(at, f"trainer.{kind}s_per_epoch", 1)
    elif isinstance(steps, float) and 0 < steps < 1:
        _share(draft, kind, at, steps, epochs)
    elif steps:
        draft.put(at, f"trainer.{kind}_steps", int(steps) if isinstance(steps, float) else steps)


def _share(draft: Draft, kind: str, at: Path, steps: float, epochs: Any) -> None:
    times = 1 / (steps * epochs) if isinstance(epochs, int | float) and epochs else 0
    if times >= 1 and abs(times - round(times)) < 0.01:
        draft.put(at, f"trainer.{kind}s_per_epoch", round(times))
    else:
        draft.differ(at, steps, "a share of all steps; say a number of steps")


def report_to(draft: Draft, at: Path, value: Any) -> None:
    """Trackers that a recipe knows; another is named."""
    names = [value] if isinstance(value, str) else list(value)
    ours = [name for name in names if name in TRACKERS]
    draft.values["trainer.report_to"] = ours or "none"
    others = [name for name in names if name not in (*TRACKERS, "none")]
    if others:
        draft.same(at, value, f"{', '.join(others)}: trackers here are {', '.join(TRACKERS)}")


def output_dir(draft: Draft, at: Path, value: Any) -> None:
    """The adapter's folder, below a Volume's mount."""
    inside = "/".join(part for part in str(value).split("/") if part not in ("", ".", "..", "~"))
    draft.values["output.dir"] = f"/outputs/{inside.removeprefix('outputs/') or 'adapter'}"


def eval_share(draft: Draft, at: Path, value: Any) -> None:
    """A share of the training rows to evaluate on; a number of rows can't be said."""
    if isinstance(value, int | float) and 0 < value < 1:
        draft.put(at, "dataset.eval_fraction", value)
    elif value:
        draft.differ(at, value, "a share of the rows, above 0 and below 1")


def is_file(path: str) -> bool:
    """Whether a data set's name is a file or folder of this machine, and no name of the Hub."""
    return bool(_FILE.match(path)) or path.startswith((".", "/", "~")) or path.count("/") > 1


def sources(draft: Draft, at: Path, which: str, found: list[dict[str, Any]]) -> None:
    """One source of rows, or several that are mixed; with what a source can't say as a difference."""
    if len(found) > 1 and not source_has("weight"):
        draft.differ(at, [source.get("path") or source.get("hub") for source in found], "one source of rows")
        found = found[:1]
    if len(found) == 1:
        draft.values[f"dataset.{which}"] = found[0]
    elif found and which == "train":
        draft.values["dataset.train"] = found
    elif found:
        draft.values["dataset.eval"] = {f"set{number}": source for number, source in enumerate(found, 1)}


def source_key(draft: Draft, at: Path, source: dict[str, Any], key: str, value: Any) -> None:
    """A key of a source, where it has such a key."""
    if source_has(key):
        source[key] = value
    else:
        draft.differ(at, value, f"a source of rows has no `{key}`")


def one_format(draft: Draft, found: Iterable[tuple[dict[str, Any], str]]) -> None:
    """The form of all sources, or each its own."""
    pairs = list(found)
    forms = {form for _, form in pairs}
    if len(forms) == 1:
        draft.values["dataset.format"] = forms.pop()
    elif source_has("format"):
        for source, form in pairs:
            source["format"] = form
