"""Several GPUs: the list's other kinds, and epochs that are no whole number of rounds."""

from typing import Any

import pytest
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler, SequentialSampler

from sftrun.diagnostics import Diagnostic
from sftrun.facts.gpus import catalog
from sftrun.facts.values import DataFacts
from sftrun.plan.build import build
from sftrun.plan.check.several_gpus import check
from sftrun.plan.estimate import total, workload
from sftrun.plan.types import Plan
from tests.plan.samples import facts, recipe
from tests.plan.shapes import phi3


def planned(rows: int, gpu: Any, **trainer: Any) -> tuple[Plan, list[Diagnostic]]:
    train = DataFacts(source="counted", format="instruction", rows=rows, mean_tokens=100)
    about = facts(model=phi3(), catalog=catalog.shipped(), train=train)
    made = recipe(compute={"executor": "modal", "gpu": gpu}, trainer=trainer)
    plan = total.priced(build(made, about, folders={}), about)
    return plan, list(check(plan, about))


@pytest.mark.parametrize(("rows", "each", "gpus"), [(5, 8, 8), (5, 1, 8), (70, 8, 8), (64, 8, 8), (100, 4, 3)])
def test_rows_that_come_again_are_counted_as_accelerate_hands_them_out(rows: int, each: int, gpus: int) -> None:
    batches = BatchSampler(SequentialSampler(range(rows)), each, drop_last=False)
    shares = [list(BatchSamplerShard(batches, gpus, process)) for process in range(gpus)]
    again = sum(len(batch) for share in shares for batch in share) - rows
    assert workload.repeated(rows, each, gpus) == (again if again > 0.1 * rows else 0)


def test_an_epoch_that_is_filled_up_with_its_own_rows_is_said_with_a_batch_that_helps() -> None:
    _, (found,) = planned(70, "H100:8", per_device_train_batch_size=8)
    assert found.code == "D116"
    assert found.at == ("trainer", "per_device_train_batch_size")
    assert found.help == "write `trainer.per_device_train_batch_size: 1`"


def test_fewer_rows_than_gpus_are_said_at_the_gpus() -> None:
    _, (found,) = planned(5, "H100:8", packing=True)
    assert found.at == ("compute", "gpu")
    assert found.help == "take fewer GPUs"


def test_fewer_rows_than_a_round_takes_are_said_where_their_lengths_are_not_known() -> None:
    train = DataFacts(source="counted", format="instruction", rows=5)
    about = facts(model=phi3(), catalog=catalog.shipped(), train=train)
    made = recipe(compute={"executor": "modal", "gpu": "H100:2"}, trainer={"packing": True})
    (found,) = check(build(made, about, folders={}), about)
    assert "an epoch of 5 is filled up with 11 once more" in found.message


@pytest.mark.parametrize(("rows", "gpu"), [(70, "H100"), (640, "H100:8"), (10_001, "H100:8")])
def test_rows_that_make_whole_rounds_or_many_are_no_matter(rows: int, gpu: str) -> None:
    assert planned(rows, gpu, per_device_train_batch_size=8)[1] == []


def test_micro_batches_stay_apart_where_one_of_them_would_be_filled_up_with_rows() -> None:
    settings = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 8, "num_train_epochs": 200}
    few, many = (planned(rows, "H100:8", **settings)[0] for rows in (300, 3_000))
    assert (few.trainer.per_device_train_batch_size, few.trainer.gradient_accumulation_steps) == (4, 8)
    (reason,) = (one.reason for one in few.decisions if one.at == "trainer.gradient_accumulation_steps")
    assert reason == "an epoch of 300 would be filled up with 212 that were learnt from before"
    assert many.trainer.gradient_accumulation_steps == 1


def test_another_kind_of_the_list_that_is_too_small_is_said_at_its_place() -> None:
    long = {"max_length": 2048, "per_device_train_batch_size": 16, "packing": True}
    _, (found,) = planned(10_000, ("H200", "A100-80GB", "T4"), **long)
    assert found.at == ("compute", "gpu", 2)
    assert found.message.startswith("`T4` has 16 GB, and what is planned for `H200` takes ")
