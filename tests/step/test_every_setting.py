"""What the plan says of a step is what the job then does, over models, quantisation, LoRA and settings of the trainer.

The job's own functions take the orders here, on small models and without a GPU: what is no machine's matter is read off
the trainer that stands, the rest is told them (`Here`).
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sftrun.contract import events
from sftrun.contract.jobspec import JobSpec, MoneySpec
from sftrun.contract.stepplan import StepPlan
from sftrun.facts.model.lookup import model_facts
from sftrun.facts.values import DataFacts, ModelFacts
from sftrun.job.fast import fast_path
from sftrun.job.obey import seen
from sftrun.job.obey.orders import Here, Orders
from sftrun.job.prepare import prepared, row_tokenizer
from sftrun.job.prepare.prepared import Prepared
from sftrun.job.prepare.shards import Crew
from sftrun.job.train import make_trainer, saved_tokenizer
from sftrun.plan.assemble import Places, jobspec
from sftrun.plan.build import build
from sftrun.rows.raw.find import Files
from tests.job import tiny
from tests.plan.samples import facts, recipe
from tests.step import small_models

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ROWS = DataFacts(source="counted", format="instruction", rows=1000, tokens=100_000, length_counts=((100, 1000),))
QUANTISED: dict[str, dict[str, Any] | None] = {
    "16 bits": None,
    "4 bits": {"load_in_4bit": True},
    "8 bits": {"load_in_8bit": True},
}
TRAINED: dict[str, dict[str, Any] | None] = {
    "LoRA": {},
    "dropout": {"lora_dropout": 0.1},
    "DoRA": {"use_dora": True},
    "biases": {"bias": "all"},
    "the head": {"modules_to_save": ("lm_head",)},
    "all weights": None,
}
LONG, SHORT = {"max_steps": 1000}, {"max_steps": 20}
WAYS: dict[str, dict[str, Any]] = {
    "padding-free": {"trainer": LONG},
    "packed": {"trainer": LONG | {"packing": True}},
    "short": {"trainer": SHORT},
    "short and packed": {"trainer": SHORT | {"packing": True}},
    "padded": {"trainer": SHORT, "model": {"attn_implementation": "sdpa"}},
    "packed by TRL": {"trainer": SHORT | {"packing": True, "extra": {"packing_strategy": "bfd_split"}}},
    "checkpointed": {"trainer": LONG | {"gradient_checkpointing": True}},
    "short and checkpointed": {"trainer": SHORT | {"gradient_checkpointing": True}},
    "smoothed": {"trainer": SHORT | {"extra": {"label_smoothing_factor": 0.1}}},
    "filled": {"trainer": SHORT | {"extra": {"pad_to_multiple_of": 64}}},
    "in float32": {"trainer": LONG | {"bf16": False, "fp16": False}, "model": {"dtype": "float32"}},
    "varlen in float32": {
        "trainer": LONG | {"bf16": False, "fp16": False},
        "model": {"dtype": "float32", "attn_implementation": "varlen"},
    },
    "over float32": {"trainer": LONG, "model": {"dtype": "float32"}},
    "in float16": {"trainer": LONG | {"fp16": True, "bf16": False}},
    "weights' own type": {"trainer": LONG | {"bf16": False, "fp16": False}},
}
OTHER_MODELS = tuple(name for name in small_models.CONFIGS if name != "llama")


class Ear:
    """Hears what the job would say."""

    rank = 0

    def __init__(self) -> None:
        self.heard: list[events.Event] = []

    def say(self, event: events.Event) -> None:
        self.heard.append(event)

    def note(self, message: str, *, is_warning: bool = False) -> None:
        self.say(events.Note(message=message))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: small_models.save(name, root / str(number)) for number, name in enumerate(small_models.CONFIGS)}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    budget = torch._functorch.config.activation_memory_budget
    yield
    torch._functorch.config.activation_memory_budget = budget


def planned(folder: Path, place: Path, gpu: str | None, **sections: Any) -> JobSpec:
    """The job of a recipe, on that kind of GPU or on none."""
    rows = tiny.write_rows(place / "rows.jsonl", tiny.make_rows(8))
    compute = {"executor": "local"} if gpu is None else {"executor": "modal", "gpu": gpu}
    trainer = {"max_length": 256, "per_device_train_batch_size": 4} | sections.pop("trainer", {})
    model = {"name_or_path": str(folder)} | sections.pop("model", {})
    made = recipe(
        model=model, trainer=trainer, compute=compute, output={"dir": str(place / "out")}, volumes={}, **sections
    )
    shapes = model_facts(str(folder), None, folder, offline=True)
    assert isinstance(shapes, ModelFacts)
    known = facts(model=shapes, train=ROWS, train_files=Files(paths=(str(rows),), sha256="aa"))
    plan = build(made, known, folders={"model.name_or_path": str(folder)})
    return jobspec(plan, "r", Places(str(place / "record"), str(place / "cache")), MoneySpec())


def done(spec: JobSpec, here: Here) -> tuple[StepPlan, list[events.Disobeyed]]:
    """How the job would compute its steps there, and what it says that it does not obey."""
    ear = Ear()
    orders = Orders(spec.step, ear)  # type: ignore[arg-type]
    spec = spec.model_copy(update={"step": orders.fit(here)})
    trainer, _ = make_trainer.trainer(spec, ear, orders, *rows_of(spec))  # type: ignore[arg-type]
    if computes_on_a_cpu(spec):
        fast_path.require_rows_apart(spec, trainer)
    fast = fast_path.prepare(spec, trainer, ear, orders)  # type: ignore[arg-type]
    orders.report(seen.step_of(trainer, fast, orders.step, here))
    (ready,) = (event for event in ear.heard if isinstance(event, events.StepsReady))
    return ready.step, [event for event in ear.heard if isinstance(event, events.Disobeyed)]


def computes_on_a_cpu(spec: JobSpec) -> bool:
    """Not fp16's autocast, nor 8 bits, which are for a GPU alone; 4 bits take long here."""
    return spec.quantization is None and not spec.trainer.fp16


def rows_of(spec: JobSpec) -> tuple[Any, Prepared]:
    tokens = row_tokenizer.of_job(spec)
    data = prepared.make(spec, tokens, prepared.folder(spec, tokens), Crew())
    return saved_tokenizer.load(spec.model, tokens), data


HOPPER = Here(has_gpu=True, has_varlen_kernel=True, processes=1)
TURING = Here(has_gpu=True, has_varlen_kernel=False, processes=1)
NO_GPU = Here(has_gpu=False, has_varlen_kernel=False, processes=1)
MACHINES = {"H200": HOPPER, "T4": TURING, None: NO_GPU}


def wrong(spec: JobSpec, here: Here) -> dict[str, object]:
    """What the job does otherwise than ordered, or says that it does not obey."""
    found, disobeyed = done(spec, here)
    differing = {
        name: getattr(found, name) for name in StepPlan.model_fields if getattr(found, name) != getattr(spec.step, name)
    }
    return differing | {event.order: event.message for event in disobeyed}


def settings(quantised: str, way: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for trained, lora in TRAINED.items():
        if lora is not None or quantised == "16 bits":
            yield trained, {"quantization": QUANTISED[quantised], "lora": lora, **WAYS[way]}


@pytest.mark.parametrize(
    ("quantised", "way"),
    [
        *itertools.product(("16 bits", "4 bits"), WAYS),
        *itertools.product(("8 bits",), ("padding-free", "short and packed", "in float16")),
    ],
)
def test_the_job_does_what_the_plan_says(quantised: str, way: str, folders: dict[str, Path], tmp_path: Path) -> None:
    found = {
        trained: wrong(planned(folders["llama"], tmp_path, "H200", **sections), HOPPER)
        for trained, sections in settings(quantised, way)
    }
    assert not {trained: differing for trained, differing in found.items() if differing}


@pytest.mark.parametrize("way", ["padding-free", "short and packed"])
@pytest.mark.parametrize("name", OTHER_MODELS)
def test_the_job_does_it_with_other_models(name: str, way: str, folders: dict[str, Path], tmp_path: Path) -> None:
    found = {
        (quantised, trained): wrong(planned(folders[name], tmp_path, "H200", **sections), HOPPER)
        for quantised in ("16 bits", "4 bits")
        for trained, sections in settings(quantised, way)
        if trained in ("LoRA", "biases", "all weights")
    }
    assert not {trained: differing for trained, differing in found.items() if differing}


@pytest.mark.parametrize("gpu", ["T4", None])
@pytest.mark.parametrize("way", ["padding-free", "packed"])
def test_the_job_does_it_on_other_machines(gpu: str | None, way: str, folders: dict[str, Path], tmp_path: Path) -> None:
    found = {
        (quantised, trained): wrong(planned(folders["llama"], tmp_path, gpu, **sections), MACHINES[gpu])
        for quantised in ("16 bits", "4 bits")
        for trained, sections in settings(quantised, way)
        if trained in ("LoRA", "dropout", "all weights")
    }
    assert not {trained: differing for trained, differing in found.items() if differing}
