"""The waist: what one side writes the other reads, and nothing else passes."""

from decimal import Decimal
from typing import get_args

import pytest
from pydantic import ValidationError

from sftrun.contract import events
from sftrun.contract.events import AnyEvent, Disobeyed, Failed, Finished, Started, Step, StepsReady
from sftrun.contract.jobspec import DatasetSpec, DataSource, JobSpec, LoraSpec, ModelSpec, MoneySpec, TrainerSpec
from sftrun.contract.stepplan import Precision, StepPlan

EVENTS: list[AnyEvent] = [
    Started(seq=1, at=1.5, run_id="r", attempt=2, host="h", pid=7, device="cpu", gpu_count=0, versions={"torch": "2"}),
    Step(seq=2, step=10, total_steps=60, epoch=0.5, loss=1.25, learning_rate=2e-4, grad_norm=None),
    Disobeyed(seq=3, order="head", wanted="frozen", done="learnt", reason="the head has a bias"),
    StepsReady(seq=3, step=StepPlan(head="learnt", precision=Precision(step="bfloat16"))),
    Failed(seq=3, failure="data", stage="data", message="m", tail=("a", "b"), spent_usd=Decimal("0.10")),
    Finished(seq=4, step=60, train_loss=1.0, output_dir="/o", spent_usd=Decimal("1.234567")),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_an_event_is_one_line_and_comes_back_the_same(event: AnyEvent) -> None:
    line = events.dump(event)
    assert "\n" not in line
    assert events.parse(line) == event


def test_every_kind_has_a_name_of_its_own() -> None:
    union, _ = get_args(AnyEvent)
    kinds = [kind.model_fields["kind"].default for kind in get_args(union)]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize(
    "line",
    [
        "",
        '{"kind":"step","st',
        '{"kind":"tea"}',
        '{"kind":"note","message":"m","colour":"red"}',
        '{"kind":"note","message":7}',
        '{"kind":"eval","step":1,"loss":NaN,"rows":1}',
    ],
)
def test_torn_and_foreign_lines_are_refused(line: str) -> None:
    with pytest.raises(ValidationError):
        events.parse(line)


def test_a_job_comes_back_the_same() -> None:
    job = JobSpec(
        run_id="r",
        name="n",
        record_dir="/r",
        output_dir="/o",
        checkpoints_dir="/c",
        model=ModelSpec(name_or_path="m"),
        lora=LoraSpec(r=8, lora_alpha=16.0, target_modules=("q_proj",)),
        dataset=DatasetSpec(train=(DataSource(files=("/a", "/b")),)),
        trainer=TrainerSpec(extra={"betas": [0.9, 0.95], "adam_epsilon": 1e-8, "torch_compile": False}),
        step=StepPlan(layout="padding_free", fused_lora=True, precision=Precision(step="bfloat16", adapters="float32")),
        money=MoneySpec(usd_per_second=Decimal("0.001261"), max_usd=Decimal("20.00")),
    )
    assert JobSpec.read(job.model_dump_json()) == job
