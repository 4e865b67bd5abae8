"""Jobs that older releases wrote, as the present one reads them: `job.json` of a ledger outlives the program.

Version 1 left decisions to the job; version 2 has them in `rows` and `step`, and of 0.2.0 one source of rows.
"""

from collections.abc import Callable
from typing import Any

from sftrun.contract.step_versions import with_step

Told = dict[str, Any]


def upgraded(told: Any) -> Any:
    """A job's parsed JSON as version 2; what is no job of version 1 comes back as it is."""
    if not isinstance(told, dict) or told.get("version") != 1:
        return with_sources(told) if isinstance(told, dict) else told
    new: Told = {**told, "version": 2}
    for step in _FROM_1:
        new = step(new)
    return with_sources(new)


def with_sources(told: Told) -> Told:
    """A job's or a plan's `dataset` with a list of sources, and those to evaluate on by name: 0.2.0 had one of each."""
    dataset = told.get("dataset")
    train = dataset.get("train") if isinstance(dataset, dict) else None
    if not isinstance(dataset, dict) or not isinstance(train, dict):
        return told
    held_out = dataset.get("eval")
    return told | {"dataset": dataset | {"train": [train], "eval": {} if held_out is None else {"": held_out}}}


def _step(told: Told) -> Told:
    gpus, nodes = told.get("gpu_count") or 0, told.get("nodes") or 1
    return with_step(told, gpus * nodes) if isinstance(gpus, int) and isinstance(nodes, int) else told


def with_rows(told: Told) -> Told:
    """A job's or a plan's sections with `rows`: they stood in `dataset`, `trainer` and `trainer.extra`.

    What has no such sections comes back as it is.
    """
    if not all(isinstance(told.get(name), dict) for name in ("dataset", "trainer")):
        return told
    dataset, trainer = dict(told["dataset"]), dict(told["trainer"])
    extra = dict(trainer.get("extra") or {})
    rows = {
        "format": dataset.pop("format", "auto"),
        "instruction_template": dataset.pop("instruction_template", "alpaca"),
        "assistant_only": trainer.pop("assistant_only_loss", None),
        "completion_only": trainer.pop("completion_only_loss", None),
        "text_column": extra.pop("dataset_text_field", "text"),
        "eos_token": extra.pop("eos_token", None),
        "pad_token": extra.pop("pad_token", None),
        "truncation_mode": extra.pop("truncation_mode", "keep_start"),
    }
    return told | {"rows": rows, "dataset": dataset, "trainer": trainer | {"extra": extra}}


_FROM_1: tuple[Callable[[Told], Told], ...] = (_step, with_rows)
