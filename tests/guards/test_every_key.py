"""Every key of the recipe is obeyed: another value of it changes what the job is told, here or on Modal.

The keys are read off the recipe's classes.  A new one is tried with a value of its type that passes the checks; where
that takes more than the key itself, say so in `CASES`.  A key that is for this side alone stands in `CLIENT`.
"""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from unittest.mock import patch

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from safetensors.numpy import save_file

from sftrun.cli.examine import examine
from sftrun.contract.jobspec import JobSpec
from sftrun.facts.values import Machine
from sftrun.plan.types import Plan
from sftrun.recipe.load import load
from sftrun.recipe.models import Recipe, Trainer
from sftrun.recipe.sources import Columns
from sftrun.run.ledger import Ledger, Lock
from sftrun.run.local import Local
from sftrun.run.modal.executor import Modal
from sftrun.run.modal.start import Start
from sftrun.strict import Strict
from tests.guards import modal_ear
from tests.recipe.leaves import leaves

Written = dict[str, Any]  # dotted key -> value; None takes the key out
RUN = "0123456789"
ROWS = [{"instruction": f"say {n}", "output": "one two three"} for n in range(40)]
BASE: Written = {
    "version": 1,
    "name": "base",
    "model.name_or_path": "Qwen/Qwen2.5-0.5B-Instruct",
    "quantization.load_in_4bit": True,
    "lora.r": 16,
    "dataset.train.path": "train.jsonl",
    "dataset.eval.path": "eval.jsonl",
    "dataset.format": "instruction",
    "trainer.max_steps": 100,
    "compute.gpu": "H200",
    "volumes": {"/out": "outputs"},
    "output.dir": "/out/base",
    "budget.max_usd": 100,
}
HUB: Written = {"dataset.train.path": None, "dataset.train.hub": "org/rows"}
HUB_EVAL: Written = {"dataset.eval.path": None, "dataset.eval.hub": "org/rows"}
# how a source's rows are read; of rows that can't be seen from here nothing is wrong
NAMES: Written = {f"columns.{name}": "other" for name in Columns.model_fields} | {
    "format": "text",
    "roles": {"other": "user"},
    "max_examples": 3,
}
PROMPT: Written = {"samples.prompts": ["hello"]}
TESTED: Written = {"evaluation.data.path": "eval.jsonl"}
HUB_TESTED: Written = {"evaluation.data.hub": "org/rows"}
GENERAL: Written = {**TESTED, "evaluation.general.path": "eval.jsonl"}
HUB_GENERAL: Written = {**TESTED, "evaluation.general.hub": "org/rows"}
GATED: Written = {**TESTED, "evaluation.metrics": ["exact_match", "json"], "evaluation.gate.metric": "exact_match"}
# what stands in the recipe before and after, where the key alone does not do
CASES: dict[str, tuple[Written, Written]] = {
    "model.name_or_path": ({}, {"model.name_or_path": "Qwen/Qwen2.5-1.5B-Instruct"}),
    "model.dtype": ({}, {"model.dtype": "float32"}),
    "model.adapter": ({}, {"model.adapter": "adapter"}),
    "model.attn_implementation": ({}, {"model.attn_implementation": "eager"}),
    "quantization.load_in_4bit": ({}, {"quantization.load_in_4bit": None, "quantization.load_in_8bit": True}),
    "quantization.load_in_8bit": ({}, {"quantization.load_in_4bit": None, "quantization.load_in_8bit": True}),
    "lora.target_modules": ({}, {"lora.target_modules": ["q_proj"]}),
    "lora.target_parameters": (
        {"model.name_or_path": "Qwen/Qwen3-30B-A3B", "lora.target_modules": ["q_proj"]},
        {"lora.target_parameters": ["mlp.experts.down_proj"]},
    ),
    "lora.exclude_modules": ({}, {"lora.exclude_modules": ["q_proj"]}),
    "lora.layers_to_transform": (
        {"lora.target_modules": ["q_proj", "v_proj"]},
        {"lora.layers_to_transform": [0, 1]},
    ),
    "lora.rank_pattern": ({}, {"lora.rank_pattern": {"q_proj": 8}}),
    "lora.alpha_pattern": ({}, {"lora.alpha_pattern": {"q_proj": 8}}),
    "lora.init_lora_weights": ({}, {"lora.init_lora_weights": "gaussian"}),
    "lora.modules_to_save": ({}, {"lora.modules_to_save": ["lm_head"]}),
    "dataset.chat_template": (
        HUB | HUB_EVAL | {"dataset.format": "messages"},
        {"dataset.chat_template": "llama3"},
    ),
    "dataset.chunk": (HUB | HUB_EVAL | {"dataset.format": "text"}, {"dataset.chunk": True}),
    "dataset.chunk_overlap": (
        HUB | HUB_EVAL | {"dataset.format": "text", "dataset.chunk": True},
        {"dataset.chunk_overlap": 8},
    ),
    "dataset.train.path": ({}, {"dataset.train.path": "other.jsonl"}),
    "dataset.train.hub": (HUB, {"dataset.train.hub": "org/others"}),
    "dataset.train.config": (HUB, {"dataset.train.config": "other"}),
    "dataset.train.split": (HUB, {"dataset.train.split": "other"}),
    "dataset.train.revision": (HUB, {"dataset.train.revision": "other"}),
    **{
        f"dataset.{split}.{key}": (HUB | HUB_EVAL, {f"dataset.{split}.{key}": value})
        for split in ("train", "eval")
        for key, value in NAMES.items()
    },
    "dataset.eval.path": ({}, {"dataset.eval.path": "other.jsonl"}),
    "dataset.eval.hub": (HUB_EVAL, {"dataset.eval.hub": "org/others"}),
    "dataset.eval.config": (HUB_EVAL, {"dataset.eval.config": "other"}),
    "dataset.eval.split": (HUB_EVAL, {"dataset.eval.split": "other"}),
    "dataset.eval.revision": (HUB_EVAL, {"dataset.eval.revision": "other"}),
    "dataset.eval_fraction": ({"dataset.eval.path": None}, {"dataset.eval_fraction": 0.25}),
    "dataset.format": ({**HUB, **HUB_EVAL}, {"dataset.format": "text"}),
    "dataset.instruction_template": ({}, {"dataset.instruction_template": "plain"}),
    "trainer.num_train_epochs": ({"trainer.max_steps": None}, {"trainer.num_train_epochs": 2}),
    "trainer.lr_scheduler_type": ({}, {"trainer.lr_scheduler_type": "cosine"}),
    "trainer.optim": ({}, {"trainer.optim": "adamw_8bit"}),
    "trainer.bf16": ({"trainer.bf16": True}, {"trainer.bf16": False}),
    "trainer.assistant_only_loss": (
        {**HUB, **HUB_EVAL, "dataset.format": "messages"},
        {"trainer.assistant_only_loss": True},
    ),
    "trainer.load_best_model_at_end": (
        {"trainer.eval_steps": 10, "trainer.save_steps": 10},
        {"trainer.load_best_model_at_end": True},
    ),
    "trainer.evals_per_epoch": ({"trainer.max_steps": None}, {"trainer.evals_per_epoch": 4}),
    "trainer.saves_per_epoch": ({"trainer.max_steps": None}, {"trainer.saves_per_epoch": 4}),
    "trainer.metric_for_best_model": (
        {"trainer.eval_steps": 10, "trainer.early_stopping_patience": 2},
        {"trainer.metric_for_best_model": "eval_mean_token_accuracy"},
    ),
    "trainer.early_stopping_patience": ({"trainer.eval_steps": 10}, {"trainer.early_stopping_patience": 2}),
    "trainer.report_to": ({}, {"trainer.report_to": ["trackio"]}),
    "trainer.extra": ({}, {"trainer.extra": {"adam_beta2": 0.95}}),
    "compute.executor": ({"compute.gpu": None}, {"compute.executor": "local"}),
    "compute.gpu": ({}, {"compute.gpu": "H100"}),
    "compute.nodes": ({"compute.gpu": "H100:8"}, {"compute.nodes": 2}),
    "compute.memory": ({}, {"compute.memory": "16GiB"}),
    "compute.timeout": ({}, {"compute.timeout": "2h"}),
    "compute.region": ({}, {"compute.region": "us"}),
    "volumes": ({}, {"volumes": {"/out": "others"}}),
    "output.dir": ({}, {"output.dir": "/out/other"}),
    "evaluation.data.path": (TESTED, {"evaluation.data.path": "other.jsonl"}),
    "evaluation.data.hub": (HUB_TESTED, {"evaluation.data.hub": "org/others"}),
    "evaluation.data.config": (HUB_TESTED, {"evaluation.data.config": "other"}),
    "evaluation.data.split": (HUB_TESTED, {"evaluation.data.split": "other"}),
    "evaluation.data.revision": (HUB_TESTED, {"evaluation.data.revision": "other"}),
    "evaluation.general.path": (GENERAL, {"evaluation.general.path": "other.jsonl"}),
    "evaluation.general.hub": (HUB_GENERAL, {"evaluation.general.hub": "org/others"}),
    "evaluation.general.config": (HUB_GENERAL, {"evaluation.general.config": "other"}),
    "evaluation.general.split": (HUB_GENERAL, {"evaluation.general.split": "other"}),
    "evaluation.general.revision": (HUB_GENERAL, {"evaluation.general.revision": "other"}),
    "evaluation.metrics": (TESTED, {"evaluation.metrics": ["exact_match", "loss"]}),
    "evaluation.by": (TESTED, {"evaluation.by": "id"}),
    "evaluation.max_examples": (TESTED, {"evaluation.max_examples": 2}),
    "evaluation.neutral_text": (TESTED, {"evaluation.neutral_text": True}),
    "evaluation.tolerance": ({**TESTED, "evaluation.metrics": ["number"]}, {"evaluation.tolerance": 0.25}),
    "evaluation.pattern": (
        {**TESTED, "evaluation.metrics": ["regex"], "evaluation.pattern": "one"},
        {"evaluation.pattern": "two"},
    ),
    "evaluation.json_schema": (
        {**TESTED, "evaluation.metrics": ["json"]},
        {"evaluation.json_schema": "schema.json"},
    ),
    "evaluation.gate.metric": (GATED, {"evaluation.gate.metric": "json"}),
    "evaluation.gate.min_gain": (GATED, {"evaluation.gate.min_gain": 0.5}),
    "evaluation.generation.max_new_tokens": (TESTED, {"evaluation.generation.max_new_tokens": 5}),
    "evaluation.generation.temperature": (TESTED, {"evaluation.generation.temperature": 0.5}),
    "samples.max_new_tokens": (PROMPT, {"samples.max_new_tokens": 5}),
    "samples.temperature": (PROMPT, {"samples.temperature": 0.5}),
}
# keys that change nothing of the job, and why that is right
CLIENT: dict[str, str] = {
    "description": "for readers: kept with the run, in the recipe's text",
    "dataset.train.num_examples": "said of rows that can't be counted: for the estimate alone",
    "dataset.train.mean_tokens": "likewise",
    "dataset.eval.num_examples": "likewise",
    "dataset.eval.mean_tokens": "likewise",
    "evaluation.tolerance": "answers are judged where they are read: tests/report/test_verdicts.py",
    "evaluation.pattern": "likewise",
    "evaluation.json_schema": "likewise",
    "evaluation.gate.metric": "likewise",
    "evaluation.gate.min_gain": "likewise",
}
# keys that order a container, which a job on this machine has not
CONTAINER = {
    "compute.gpu",
    "compute.cpu",
    "compute.memory",
    "compute.retries",
    "compute.region",
    "compute.image.pip",
    "compute.image.apt",
    "compute.image.env",
    "secrets",
    "tags",
}
NOT_HERE = {"compute.executor", "compute.nodes"}  # what is here, and is one machine
ONE_VALUE = {"version", "dataset.eval.weight"}  # another one is an error
CANDIDATES: tuple[Any, ...] = (True, False, 3, 2, 0.5, 0.25, "other", ["other"], {"other": "thing"})


class Unobeyed(AssertionError):
    """A key that changes nothing."""


def another(field: FieldInfo, now: Any) -> Any:
    """A value of the key's type that it has not now."""
    kind = TypeAdapter(field.rebuild_annotation())
    said = tuple(words(field.annotation))
    for value in (*said, *CANDIDATES, *([word] for word in said)):
        try:
            read = kind.validate_json(json.dumps(value), strict=True)
        except ValidationError:
            continue
        if read not in (now, field.get_default(call_default_factory=True)):
            return value
    raise Unobeyed("no value of its type is known: write one in CASES")


def words(annotation: Any) -> Iterator[Any]:
    """The words that a type lists."""
    for part in get_args(annotation):
        yield from (part,) if get_origin(annotation) is Literal else words(part)


def text_of(*written: Written) -> str:
    """A recipe as JSON, which is YAML; later keys stand in for earlier ones."""
    whole: dict[str, Any] = {}
    for key, value in {name: value for part in written for name, value in part.items()}.items():
        *sections, name = key.split(".")
        section = whole
        for part in sections:
            section = section.setdefault(part, {})
        section[name] = value
    return json.dumps(_without_nulls(whole))


def _without_nulls(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kept = {name: _without_nulls(part) for name, part in value.items() if part is not None}
    return {name: part for name, part in kept.items() if part != {} or value[name] == {}}


class Desk:
    """A folder with data, where recipes become jobs and orders that nobody gets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, rows in (("train", ROWS), ("eval", ROWS[:4]), ("other", ROWS[4:])):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps({**row, "id": name}) + "\n" for row in rows))
        (folder / "schema.json").write_text('{"type": "object"}')
        _make_adapter(folder / "adapter")
        self.ledger = Ledger(folder / "ledger")
        run = self.ledger.folder(RUN)
        run.path.mkdir(parents=True)
        run.write({"recipe.yaml": "", "lock.json": Lock(packages={}, model="m").model_dump_json()})

    def plan(self, *written: Written) -> Plan:
        loaded = load(self.folder / "recipe.yaml", text=text_of(BASE, *written))
        found = examine(loaded)
        wrong = [one.message for one in found.diagnostics if one.severity == "error"]
        assert not wrong, f"no valid recipe: {wrong}"
        assert found.plan is not None
        return found.plan

    def told_here(self, *written: Written) -> str:
        """What a job on this machine is told."""
        plan = self.plan({"compute.executor": "local", "compute.gpu": None}, *written)
        return _unpriced(Local(self.ledger).job(plan, RUN)).model_dump_json()

    def told_on_modal(self, *written: Written) -> str:
        """What Modal is told, and by it the job; without the texts that are kept beside the record."""
        plan, told = self.plan(*written), list[Any]()
        job = _unpriced(Modal(self.ledger).job(plan, RUN))
        with modal_ear.instead(told):
            Start(self.ledger.folder(RUN), plan, job, print).spawn()
        return repr(told)


def _make_adapter(folder: Path) -> None:
    folder.mkdir()
    told = {"peft_type": "LORA", "r": 16, "lora_alpha": 16, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    save_file({"empty": np.zeros(1)}, str(folder / "adapter_model.safetensors"))


def _unpriced(job: JobSpec) -> JobSpec:
    """Without the one figure of an estimate that goes along: a key that changes that alone is not obeyed."""
    return job.model_copy(update={"money": job.money.model_copy(update={"reserve_seconds": 0.0})})


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with patch("sftrun.facts.gather.machine", Machine), patch("sftrun.facts.gather.find_spec"):
        yield Desk(tmp_path_factory.mktemp("desk"))


def case(key: str, field: FieldInfo) -> tuple[Written, Written]:
    before, after = CASES.get(key, ({}, {}))
    now = {**BASE, **before}.get(key, field.get_default(call_default_factory=True))
    return before, after or {key: another(field, now)}


def keys(besides: Collection[str]) -> list[Any]:
    return [pytest.param(key, field, id=key) for key, field in leaves(Recipe).items() if key not in besides]


@pytest.mark.parametrize(("key", "field"), keys(ONE_VALUE))
def test_a_key_is_obeyed_on_modal(desk: Desk, key: str, field: FieldInfo) -> None:
    before, after = case(key, field)
    is_obeyed = desk.told_on_modal(before) != desk.told_on_modal(before, after)
    assert is_obeyed != (key in CLIENT)


@pytest.mark.parametrize(("key", "field"), keys(ONE_VALUE | NOT_HERE))
def test_a_key_is_obeyed_here(desk: Desk, key: str, field: FieldInfo) -> None:
    before, after = case(key, field)
    is_obeyed = desk.told_here(before) != desk.told_here(before, after)
    assert is_obeyed != (key in CLIENT or key in CONTAINER)


def test_the_same_recipe_is_told_in_the_same_words(desk: Desk) -> None:
    assert desk.told_on_modal() == desk.told_on_modal()
    assert desk.told_here() == desk.told_here()


class NewerTrainer(Trainer):
    fresh: int = 1


class Newer(Strict):
    metrics: tuple[Literal["loss", "words"], ...] = ()


class NewerRecipe(Recipe):
    """A recipe with keys that nothing reads."""

    trainer: NewerTrainer = NewerTrainer()
    later: tuple[Newer, ...] | None = None


@pytest.mark.parametrize(
    ("key", "after"),
    [("trainer.fresh", {"trainer.fresh": 2}), ("later.metrics", {"later": [{"metrics": ["words"]}]})],
)
def test_a_key_that_nothing_obeys_is_found(desk: Desk, key: str, after: Written) -> None:
    assert key in leaves(NewerRecipe)
    assert key not in leaves(Recipe)
    with patch("sftrun.recipe.load.Recipe", NewerRecipe):
        assert desk.told_on_modal() == desk.told_on_modal(after)
        assert desk.told_here() == desk.told_here(after)


def test_a_new_key_gets_a_value_of_its_type() -> None:
    found = leaves(NewerRecipe)
    assert another(found["trainer.fresh"], 1) == 3
    assert another(found["later.metrics"], ()) == ["loss"]
