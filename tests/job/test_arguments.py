"""JobSpec -> the libraries' own arguments; no library is loaded."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sftrun.contract.choices import Dtype
from sftrun.contract.jobspec import (
    DatasetSpec,
    DataSource,
    JobSpec,
    LoraSpec,
    ModelSpec,
    QuantizationSpec,
    TrainerSpec,
)
from sftrun.contract.row_rules import RowRules
from sftrun.contract.stepplan import Precision, Sharding, StepPlan
from sftrun.job.prepare.source_rows import Rows, split
from sftrun.job.train.arguments import ELSEWHERE, SAME, bnb_config, lora_config, sft_config
from tests import steps


def job(dataset: dict[str, Any] | None = None, step: dict[str, Any] | None = None, **trainer: Any) -> JobSpec:
    sections = {
        "run_id": "r",
        "name": "n",
        "record_dir": "/r",
        "output_dir": "/o",
        "checkpoints_dir": "/c",
        "model": ModelSpec(name_or_path="/m"),
        "dataset": DatasetSpec(train=(DataSource(files=("/d.jsonl",)),), **(dataset or {})),
        "trainer": TrainerSpec(**trainer),
    }
    return steps.job(sections, steps.GPU, **(step or {}))


def config(spec: JobSpec, *, has_eval: bool = False, has_gpu: bool = True) -> dict[str, Any]:
    return sft_config(spec, has_eval=has_eval, has_gpu=has_gpu)


def test_every_field_of_the_trainer_is_wired_or_obeyed_elsewhere() -> None:
    assert {*SAME, *ELSEWHERE} == set(TrainerSpec.model_fields)
    assert not set(SAME) & set(ELSEWHERE)


def test_fields_of_the_same_name_arrive_unchanged() -> None:
    spec = job(learning_rate=3e-4, warmup_steps=0.03, optim="adamw_8bit", max_steps=60, seed=1, save_steps=5)
    made = config(spec)
    assert {name: made[name] for name in SAME} == {name: getattr(spec.trainer, name) for name in SAME}


def test_rows_come_cut_so_max_length_is_for_packing_alone() -> None:
    assert config(job(max_length=512))["max_length"] is None
    assert config(job(max_length=512, packing=True))["max_length"] == 512


@pytest.mark.parametrize(
    ("extra", "is_fetched_again"),
    [
        ({"fsdp": True}, True),
        ({"fsdp": "shard_grad_op auto_wrap"}, False),
        ({"fsdp": True, "fsdp_config": {"fsdp_reshard_after_forward": False}}, False),
        ({"fsdp": "shard_grad_op", "fsdp_config": {"reshard_after_forward": True}}, True),
    ],
)
def test_weights_are_sharded_by_fsdp2_and_read_once_where_they_are_not_quantised(
    extra: dict[str, Any], is_fetched_again: bool
) -> None:
    made = config(job(step={"sharded": True, "sharding": "fsdp"}, extra=extra))
    assert made["fsdp"] is True
    options = {"version": 2, "cpu_ram_efficient_loading": True, "reshard_after_forward": is_fetched_again}
    assert made["fsdp_config"] == options
    assert "fsdp" not in config(job())


@pytest.mark.parametrize(
    ("sharding", "step", "storage"),
    [("fsdp", "bfloat16", "bfloat16"), ("fsdp", "float16", "float16"), ("ddp", "bfloat16", None)],
)
def test_sharded_4_bit_weights_lie_in_the_type_of_the_step(
    sharding: Sharding, step: Dtype, storage: str | None
) -> None:
    given = QuantizationSpec(load_in_4bit=True, bnb_4bit_compute_dtype="float32")
    made = bnb_config(given, StepPlan(sharding=sharding, precision=Precision(step=step)))
    assert made.get("bnb_4bit_quant_storage") == storage


def test_extra_has_the_last_word() -> None:
    made = config(job(learning_rate=1e-4, extra={"adam_beta2": 0.95, "learning_rate": 5e-5, "dataset_num_proc": 4}))
    assert (made["adam_beta2"], made["learning_rate"]) == (0.95, 5e-5)
    assert "dataset_num_proc" not in made


def test_the_trainer_never_drops_checkpoints_by_itself() -> None:
    assert config(job(save_total_limit=1))["save_total_limit"] is None


@pytest.mark.parametrize(
    ("steps", "has_eval", "expected"),
    [
        (50, True, {"eval_strategy": "steps", "eval_steps": 50}),
        (50, False, {"eval_strategy": "no"}),
        (None, True, {"eval_strategy": "no"}),
    ],
)
def test_evaluation_needs_rows_and_an_interval(steps: int | None, has_eval: bool, expected: dict[str, Any]) -> None:
    made = config(job(eval_steps=steps), has_eval=has_eval)
    assert {name: made[name] for name in ("eval_strategy", "eval_steps") if name in made} == expected


def test_without_a_gpu_the_cpu_is_asked_for() -> None:
    made = config(job(), has_gpu=False)
    assert (made["use_cpu"], made["dataloader_pin_memory"]) == (True, False)


def test_loaders_fetch_ahead_for_a_gpu_alone() -> None:
    names = {"dataloader_num_workers", "dataloader_persistent_workers", "accelerator_config"}
    assert {name: config(job()).get(name) for name in names} == {
        "dataloader_num_workers": 2,
        "dataloader_persistent_workers": True,
        "accelerator_config": {"non_blocking": True},
    }
    assert not names & set(config(job(), has_gpu=False))
    assert not names & set(config(job(engine="unsloth")))


@pytest.mark.parametrize(
    ("trainer", "compiled", "multiple"),
    [
        ({"packing": True, "max_length": 2048, "per_device_train_batch_size": 14}, True, 28_672),
        ({}, True, 256),
        ({"extra": {"pad_to_multiple_of": 64}}, True, 64),
        ({}, False, None),
        ({"packing": True}, False, None),
    ],
)
def test_compiled_layers_get_batches_of_few_sizes(
    trainer: dict[str, Any], compiled: bool, multiple: int | None
) -> None:
    step = {"attention": "varlen", "compiled": compiled}
    assert config(job(step=step, **trainer)).get("pad_to_multiple_of") == multiple


def test_the_compiler_checkpoints_by_itself() -> None:
    assert config(job(step={"checkpointed": True}))["gradient_checkpointing"] is True
    assert config(job(step={"checkpointed": True, "compiled": True}))["gradient_checkpointing"] is False


def test_rows_lie_as_ordered() -> None:
    free, padded = config(job(step={"attention": "varlen"})), config(job())
    assert (free["padding_free"], padded["padding_free"]) == (True, False)
    ours, theirs = config(job(packing=True)), config(job(packing=True, extra={"packing_strategy": "wrapped"}))
    assert ours["dataset_kwargs"] == {"skip_prepare_dataset": True}
    assert "dataset_kwargs" not in theirs


def test_ligers_fused_loss_stays_off() -> None:
    made = config(job(step={"liger": True}))
    assert (made["use_liger_kernel"], made["liger_kernel_config"]) == (True, {"fused_linear_cross_entropy": False})


def test_order_is_the_files_without_shuffle() -> None:
    assert config(job({"shuffle": False}))["train_sampling_strategy"] == "sequential"
    assert config(job())["train_sampling_strategy"] == "random"


def test_the_worker_knows_no_tracker() -> None:
    assert config(job(report_to=("wandb", "mlflow")))["report_to"] == "none"


def test_lora_keeps_pefts_names() -> None:
    made = lora_config(LoraSpec(r=8, lora_alpha=16.0, target_modules=("q_proj",), use_rslora=True))
    assert (made["r"], made["lora_alpha"], made["target_modules"], made["use_rslora"]) == (8, 16.0, ["q_proj"], True)
    assert (made["modules_to_save"], made["task_type"]) == (None, "CAUSAL_LM")
    of_the_jobs_own = {"added_tokens", "autocast_adapter_dtype"}  # told to PEFT otherwise, or beside its config
    assert set(LoraSpec.model_fields) - of_the_jobs_own <= set(made)


def test_quantisation_keeps_the_names_of_bitsandbytes_config() -> None:
    assert bnb_config(QuantizationSpec(load_in_8bit=True)) == {"load_in_8bit": True}
    made = bnb_config(QuantizationSpec(load_in_4bit=True, bnb_4bit_quant_type="fp4"))
    assert (made["load_in_4bit"], made["bnb_4bit_quant_type"], made["bnb_4bit_compute_dtype"]) == (
        True,
        "fp4",
        "bfloat16",
    )


def test_the_evaluation_split_is_fixed_by_the_seed() -> None:
    rows = Rows(RowRules(), "text", [{"text": str(i)} for i in range(50)], [f"f:{i}" for i in range(50)])
    train, held_out = split(rows, 0.1, seed=3)
    assert (len(train), len(held_out)) == (45, 5)
    assert list(split(rows, 0.1, seed=3)[1].places) == list(held_out.places)
    assert list(split(rows, 0.1, seed=4)[1].places) != list(held_out.places)
    assert sorted([*train.places, *held_out.places]) == sorted(rows.places)


BLOCKER = """
import gc; gc.disable()
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, *rest):
        return None if name.split(".")[0] in {absent!r} else self.finder.find_spec(name, *rest)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
import importlib
for name in {names!r}:
    importlib.import_module(f"sftrun.job.{{name}}")
print(sorted(set(sys.modules) & {heavy!r}))
"""
HEAVY = {"torch", "transformers", "trl", "datasets", "peft", "numpy"}
NOT_IN_THE_CONTAINER = {"click", "rich", "ruamel", "modal"}
ON_A_GPU = {"head_kernels", "nf4_triton", "row_kernels"}  # they load Triton


def importing(names: list[str], absent: set[str]) -> str:
    code = BLOCKER.format(absent=absent, names=names, heavy=HEAVY)
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def modules_of_the_job() -> list[str]:
    """All of them, named below `sftrun.job`."""
    folder = Path(sys.modules["sftrun"].__path__[0]) / "job"
    found = (path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py") if path.stem != "__init__")
    return sorted(".".join(path.parts) for path in found if path.stem not in ON_A_GPU)


def test_the_supervisor_needs_the_standard_library_and_pydantic_alone() -> None:
    names = [name for name in modules_of_the_job() if name.startswith("supervise.")]
    assert len(names) > 9
    light = ["output", "failures", "train.arguments", "train.answer"]
    assert importing([*names, *light], HEAVY | NOT_IN_THE_CONTAINER) == "[]"


@pytest.mark.slow
def test_every_module_of_the_job_loads_where_the_command_lines_packages_are_absent() -> None:
    assert "torch" in importing(modules_of_the_job(), NOT_IN_THE_CONTAINER)
