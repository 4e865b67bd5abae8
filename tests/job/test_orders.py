"""What a machine or a model does not allow of a step's plan is said, and something that works is done instead."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, PhiConfig

from sftrun.contract import events
from sftrun.contract.events import Disobeyed, StepsReady
from sftrun.contract.stepplan import Precision, StepPlan
from sftrun.job.fast import head, layers
from sftrun.job.obey.orders import Here, Orders
from tests.job import small, tiny
from tests.job.runs import Run, record

HOPPER = Here(has_gpu=True, has_varlen_kernel=True, processes=1)
CPU = Here(has_gpu=False, has_varlen_kernel=False, processes=1)
TURING = Here(has_gpu=True, has_varlen_kernel=False, processes=1)
BF16 = Precision(step="bfloat16")
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2}


class Ear:
    def __init__(self) -> None:
        self.heard: list[events.Event] = []

    def say(self, event: events.Event) -> None:
        self.heard.append(event)


def fitted(step: StepPlan, here: Here) -> tuple[StepPlan, list[str]]:
    ear = Ear()
    found = Orders(step, ear).fit(here)  # type: ignore[arg-type]
    return found, [event.order for event in ear.heard if isinstance(event, Disobeyed)]


@pytest.mark.parametrize(
    ("order", "here", "done"),
    [
        ({"cuda_graphs": True}, CPU, False),
        ({"head": "frozen"}, CPU, "learnt"),
        ({"has_varlen_kernel": True}, TURING, False),
        ({"sharding": "fsdp"}, HOPPER, "one"),
        ({"sharding": "ddp"}, HOPPER, "one"),
    ],
)
def test_an_order_that_a_machine_does_not_allow_is_said(order: dict[str, Any], here: Here, done: object) -> None:
    (name,) = order
    step, refused = fitted(StepPlan(precision=BF16, **order), here)
    assert refused == [name]
    assert step == StepPlan(precision=BF16, **{name: done})


def test_what_a_machine_allows_is_obeyed_without_a_word() -> None:
    whole = StepPlan(attention="varlen", has_varlen_kernel=True, cuda_graphs=True, head="frozen", precision=BF16)
    assert fitted(whole, HOPPER) == (whole, [])


def test_no_difference_between_orders_and_what_is_done_goes_without_a_word() -> None:
    ear = Ear()
    orders = Orders(StepPlan(compiled=True, precision=BF16), ear)  # type: ignore[arg-type]
    orders.refuse("compiled", False, "a reason")
    orders.refuse("compiled", False, "again")
    orders.report(StepPlan(liger=True, precision=BF16))
    assert [event.message for event in ear.heard if isinstance(event, Disobeyed)] == [
        "`step.compiled` is False, not True: a reason",
        "`step.liger` is True, not False: the trainer that stands does so",
    ]
    assert isinstance(ear.heard[-1], StepsReady)


class Trainer:
    """As much of one as the head looks at."""

    label_smoother = compute_loss_func = None
    aux_loss_enabled = False

    def __init__(self, model: Any, loss: str = "nll") -> None:
        self.model = model
        self.args = type("Args", (), {"loss_type": loss})


@pytest.mark.parametrize(
    ("config", "loss", "done", "reason"),
    [
        (LlamaConfig(**SIZES, vocab_size=64), "nll", "frozen", None),
        (LlamaConfig(**SIZES, vocab_size=65), "nll", "learnt", "65 words are no multiple of 8"),
        (PhiConfig(**SIZES, vocab_size=64), "nll", "learnt", "the head has a bias"),
        (LlamaConfig(**SIZES, vocab_size=64), "dft", "trl", "the loss is dft"),
        (
            LlamaConfig(**SIZES, vocab_size=64, logit_scale=0.5),
            "nll",
            "trl",
            "something stands between logits and loss",
        ),
    ],
)
def test_a_head_that_the_model_does_not_allow_is_said(config: Any, loss: str, done: str, reason: str | None) -> None:
    model = small.adapt(small.build(config, "sdpa", torch.bfloat16))
    said: list[tuple[str, str]] = []
    found = head.install(Trainer(model, loss), "frozen", lambda *refusal: said.append(refusal))
    assert found == done
    assert said == ([] if reason is None else [(done, reason)])


def test_layers_and_adapters_that_a_model_has_not_are_said() -> None:
    model = small.adapt(small.build(LlamaConfig(**SIZES, vocab_size=64), "sdpa"), ["embed_tokens"])
    said: list[str] = []
    layers.prepare(model, small.fused(), lambda order, done, reason: said.append(order))
    assert said == ["fused_lora"]
    model.get_base_model()._no_split_modules = None
    prepared = layers.prepare(model, small.fused(compiled=True), lambda order, done, reason: said.append(order))
    assert said == ["fused_lora", "fused_lora", "compiled"]
    assert not prepared.compiled


@pytest.mark.slow
def test_a_run_on_a_cpu_says_what_it_does_not_obey_and_learns(model: Path, tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.make_rows(8))
    step = {"head": "frozen", "cuda_graphs": True, "preparing": "container"}
    spec = tiny.make_job(tmp_path, model, data, trainer={"max_steps": 2}, step=step)
    assert Run(spec, tmp_path).rest()[0] == 0
    found = record(spec)
    refused = {event.order: (event.wanted, event.done) for event in found if isinstance(event, Disobeyed)}
    assert refused == {
        "head": ("frozen", "learnt"),
        "cuda_graphs": ("True", "False"),
        "preparing": ("container", "process"),
    }
    (ready,) = (event for event in found if isinstance(event, StepsReady))
    assert ready.step == spec.step.model_copy(update={"head": "learnt", "cuda_graphs": False, "preparing": "process"})
