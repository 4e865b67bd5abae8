"""What older releases wrote is read: `job.json` and `plan.json` of their ledgers, whole texts of version 1."""

import json
from pathlib import Path
from typing import Any

import pytest

from sftrun.contract.jobspec import JobSpec
from sftrun.contract.row_rules import RowRules
from sftrun.contract.stepplan import Precision, StepPlan
from sftrun.disk import outside
from sftrun.plan.types import Plan

OLDER = Path(__file__).parent / "older"
JOB, PLAN = ((OLDER / name).read_text() for name in ("job-v1.json", "plan-v1.json"))
STEP = StepPlan(
    attention="varlen",
    has_varlen_kernel=True,
    layout="padding_free",
    pad_to_multiple_of=256,
    fused_lora=True,
    dequantized=True,
    compiled=True,
    cuda_graphs=True,
    head="learnt",
    precision=Precision(step="bfloat16", adapters="bfloat16"),
)


def test_a_job_of_version_1_says_how_its_steps_were_computed() -> None:
    job = JobSpec.read(JOB)
    assert (job.version, job.step) == (2, STEP)
    told, kept = json.loads(JOB), job.model_dump(mode="json")
    (only,) = job.dataset.train
    assert only.files == tuple(told["dataset"]["train"].pop("files"))
    assert (told["dataset"].pop("train")["hub"], told["dataset"].pop("eval")) == (None, None)
    for section in ("samples", "money", "lora", "quantization"):
        assert kept[section] == kept[section] | told[section]
    for section in ("dataset", "trainer"):
        both = kept[section].keys() & told[section].keys()
        assert {key: kept[section][key] for key in both} == {key: told[section][key] for key in both}
    assert set(told["dataset"]) - set(kept["dataset"]) == {"format", "instruction_template"}
    assert set(told["trainer"]) - set(kept["trainer"]) == {
        *("padding_free", "gradient_checkpointing", "use_liger_kernel", "compile_layers"),
        *("dequantize", "record_graphs", "fsdp", "assistant_only_loss", "completion_only_loss"),
    }


def test_a_job_of_version_1_says_how_its_rows_become_tokens() -> None:
    told = json.loads(JOB)
    told["trainer"] |= {"assistant_only_loss": True, "extra": {"eos_token": "<end>", "dataset_text_field": "story"}}
    job = JobSpec.read(json.dumps(told))
    assert job.rows == RowRules(
        format="instruction", text_column="story", eos_token="<end>", assistant_only=True, completion_only=None
    )
    assert job.trainer.extra == {}
    assert Plan.read(PLAN).rows.format == "instruction"


def test_a_plan_of_version_1_says_it_too() -> None:
    plan = Plan.read(PLAN)
    assert (plan.version, plan.step, plan.trainer.max_steps) == (2, STEP, 1000)
    assert plan.memory is not None
    assert plan.cost is not None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"trainer": {"packing": True, "padding_free": False}}, {"layout": "packed", "packed_by": "sftrun"}),
        ({"trainer": {"packing": True, "extra": {"packing_strategy": "wrapped"}}}, {"packed_by": "trl"}),
        ({"trainer": {"gradient_checkpointing": True}}, {"checkpointing": "compiler"}),
        ({"trainer": {"gradient_checkpointing": True, "compile_layers": False}}, {"checkpointing": "transformers"}),
        ({"trainer": {"engine": "unsloth", "gradient_checkpointing": True}}, {"checkpointing": "offloaded"}),
        ({"trainer": {"engine": "unsloth"}}, {"head": "trl", "fused_lora": False, "unfused_because": None}),
        ({"lora": {"lora_dropout": 0.1}}, {"fused_lora": False, "unfused_because": "`lora_dropout` is above 0"}),
        ({"gpu_count": 2}, {"sharding": "ddp"}),
        ({"gpu_count": 2, "trainer": {"fsdp": True, "extra": {"fsdp": "shard_grad_op"}}}, {"keeps_fetched": True}),
        ({"gpu_count": 0}, {"has_varlen_kernel": False, "pad_to_multiple_of": None}),
        ({"trainer": {"bf16": False, "fp16": True}}, {"precision": Precision(step="float16", adapters="float32")}),
        (
            {"lora": None, "quantization": None},
            {"precision": Precision(step="bfloat16", trained="bfloat16"), "fused_lora": False},
        ),
    ],
)
def test_each_setting_of_version_1_is_in_the_step(changes: dict[str, Any], expected: dict[str, object]) -> None:
    told = json.loads(JOB)
    for section, values in changes.items():
        told[section] = {**told[section], **values} if isinstance(values, dict) else values
    step = JobSpec.read(json.dumps(told)).step
    assert {name: getattr(step, name) for name in expected} == expected


@pytest.mark.parametrize("broken", [{"trainer": None}, {"trainer": 7}, {"model": []}, {"gpu_count": "two"}])
def test_what_is_no_job_of_any_version_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="has a fault at"):
        outside.parse_model(JobSpec, json.dumps(json.loads(JOB) | broken))


def test_a_job_of_0_2_0_has_one_source_to_train_on_and_one_to_evaluate_on() -> None:
    new = JobSpec.read(JOB)
    old = json.loads(new.model_dump_json())
    old["dataset"] |= {"train": old["dataset"]["train"][0], "eval": {"files": ["/data/eval.jsonl"]}}
    job = JobSpec.read(json.dumps(old))
    assert job.dataset.train == new.dataset.train
    assert job.dataset.eval[""].files == ("/data/eval.jsonl",)
