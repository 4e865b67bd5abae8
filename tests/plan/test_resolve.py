"""Each `auto` becomes a value with a reason; what changes the result is never chosen."""

from typing import Any

import pytest

from sftrun.facts.values import Catalog, DataFacts, Machine
from sftrun.plan.build import build
from sftrun.plan.types import Plan
from tests.plan.samples import H200, PRICES, facts, recipe
from tests.plan.shapes import phi3


def plan(**sections: Any) -> Plan:
    return build(recipe(**sections), facts(), folders={"model.name_or_path": "/r"})


def reasons(made: Plan) -> dict[str, str]:
    return {decision.at: decision.value for decision in made.decisions}


def test_each_decision_says_its_reason() -> None:
    made = plan()
    assert made.decisions
    assert all(decision.reason for decision in made.decisions)


def test_a_learning_rate_is_chosen_by_the_method() -> None:
    assert plan().trainer.learning_rate == 2e-4
    assert plan(lora=None).trainer.learning_rate == 2e-5
    assert plan(trainer={"learning_rate": 1e-3}).trainer.learning_rate == 1e-3


def test_neither_epochs_nor_steps_is_one_pass_and_said() -> None:
    made = plan()
    assert made.trainer.num_train_epochs == 1
    assert reasons(made)["trainer.num_train_epochs"] == "1"
    assert "trainer.num_train_epochs" not in reasons(plan(trainer={"max_steps": 5}))


def test_packed_rows_never_see_each_other_even_without_a_gpu() -> None:
    made = plan(trainer={"packing": True}, compute={"executor": "local"})
    assert made.step.attention == "varlen"


def test_padding_goes_where_the_gpu_has_variable_length_attention() -> None:
    assert plan().step.layout == "padding_free"
    assert plan(trainer={"packing": True}).step.layout == "packed"
    assert plan(compute={"executor": "modal", "gpu": "T4"}).step.layout == "padded"


def test_a_gpu_without_bfloat16_gets_float16() -> None:
    made = plan(compute={"executor": "modal", "gpu": "T4"})
    assert (made.trainer.bf16, made.trainer.fp16) == (False, True)


@pytest.mark.parametrize("gpu", ["T4", ("H200", "T4")])
def test_what_has_no_type_written_is_float16_where_one_gpu_of_the_list_has_no_bfloat16(gpu: Any) -> None:
    made = plan(compute={"executor": "modal", "gpu": gpu}, quantization={"load_in_4bit": True})
    assert made.trainer.fp16
    assert made.model.dtype == "float16"
    assert made.quantization is not None
    assert made.quantization.bnb_4bit_compute_dtype == "float16"
    assert made.step.attention == "sdpa"
    assert said(made, "trainer.fp16") == "T4 has no bfloat16"


def test_weights_that_float16_steps_train_are_in_32_bits() -> None:
    assert plan(trainer={"fp16": True}).model.dtype == "float16"
    assert plan(trainer={"fp16": True}, lora=None).model.dtype == "float32"


@pytest.mark.parametrize("compute", [{"executor": "modal", "gpu": "H200"}, {"executor": "local"}])
def test_weights_that_are_all_trained_keep_32_bits_and_are_computed_in_16_where_the_gpu_can(
    compute: dict[str, Any],
) -> None:
    made = plan(lora=None, compute=compute)
    assert made.step.precision.trained == made.model.dtype == "float32"
    assert made.trainer.bf16 == (compute["executor"] == "modal")
    assert "those above 0.01 would not move at 2e-05" in said(made, "model.dtype")


def test_frozen_weights_need_no_more_than_16_bits() -> None:
    assert plan().model.dtype == plan(quantization={"load_in_4bit": True}).model.dtype == "bfloat16"


def test_adapters_over_quantised_weights_keep_32_bits_unless_the_recipe_says_otherwise() -> None:
    quantised = {"quantization": {"load_in_4bit": True}}
    made = plan(**quantised)
    assert made.step.precision.adapters == "float32"
    assert "32 bits" in said(made, "lora.autocast_adapter_dtype")
    narrow = {"lora": {"autocast_adapter_dtype": False}}
    assert plan(**quantised, **narrow).step.precision.adapters == "bfloat16"
    assert plan(**narrow).step.precision.adapters == "bfloat16"
    assert plan().step.precision.adapters == "float32"


def test_a_type_that_is_written_stays() -> None:
    sections = {"model": {"name_or_path": "builtin:tiny", "dtype": "float32"}, "trainer": {"fp16": True}}
    made = plan(**sections, quantization={"load_in_4bit": True, "bnb_4bit_compute_dtype": "float32"})
    assert made.model.dtype == "float32"
    assert made.quantization is not None
    assert made.quantization.bnb_4bit_compute_dtype == "float32"


def test_a_local_gpu_without_bfloat16_has_no_variable_length_attention() -> None:
    machine = Machine(gpu_name="Tesla T4", gpu_count=1, gpu_memory_gb=15.5, has_bf16=False)
    made = build(recipe(compute={"executor": "local"}), facts(machine=machine), folders={})
    assert (made.step.attention, made.model.dtype) == ("sdpa", "float16")


def test_without_a_gpu_the_paged_optimiser_is_the_plain_one() -> None:
    made = plan(trainer={"optim": "paged_adamw_8bit"}, compute={"executor": "local"})
    assert made.trainer.optim == "adamw_8bit"
    assert reasons(made)["trainer.optim"] == "adamw_8bit"


def test_a_gpu_of_the_recipe_that_this_machine_lacks_is_said() -> None:
    made = plan(compute={"executor": "local", "gpu": "H200"})
    assert made.compute.gpu_count == 0
    assert reasons(made)["compute.gpu"] == "none"


def test_the_gpu_of_this_machine_is_taken() -> None:
    machine = Machine(gpu_name="NVIDIA H200", gpu_count=2, gpu_memory_gb=141)
    made = build(recipe(compute={"executor": "local"}), facts(machine=machine), folders={})
    assert made.compute.gpu_count == 1


@pytest.mark.parametrize(
    ("trainer", "steps"),
    [
        ({"per_device_train_batch_size": 8}, 125),
        ({"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4}, 32),
        ({"per_device_train_batch_size": 8, "num_train_epochs": 2.0}, 250),
        ({"packing": True, "max_length": 1000, "per_device_train_batch_size": 8}, 13),
        ({"max_steps": 7}, 7),
    ],
)
def test_steps_are_counted_as_the_trainer_counts_them(trainer: dict[str, Any], steps: int) -> None:
    assert plan(trainer=trainer).total_steps == steps


def test_rows_a_step_stay_as_written() -> None:
    made = plan(trainer={"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2})
    assert (made.trainer.per_device_train_batch_size, made.trainer.gradient_accumulation_steps) == (4, 2)


def test_a_short_run_is_not_compiled() -> None:
    assert not plan(trainer={"max_steps": 20}).step.compiled
    assert plan(trainer={"max_steps": 2000}).step.compiled


def large(*, memory_gb: float = 141, lora: dict[str, Any] | None = None, **trainer: Any) -> Plan:
    """Phi-3-mini's shape in NF4, packed, on a run that is worth compiling for."""
    settings = {"packing": True, "max_length": 2048, "max_steps": 1000} | trainer
    made = recipe(
        lora={"target_modules": "all-linear"} | (lora or {}),
        quantization={"load_in_4bit": True},
        trainer=settings,
    )
    catalog = Catalog(gpus=(H200.model_copy(update={"memory_gb": memory_gb}),), prices=PRICES)
    return build(made, facts(model=phi3(), catalog=catalog), folders={})


def said(made: Plan, at: str) -> str:
    return next(decision.reason for decision in made.decisions if decision.at == at)


def test_frozen_weights_are_kept_in_16_bits_where_there_is_room() -> None:
    made = large(per_device_train_batch_size=8)
    assert (made.step.dequantized, made.step.checkpointing) == (True, "none")
    assert said(made, "step.dequantized") == (
        "the same rounded weights, kept in bfloat16: 7.2 GB more, no dequantising each step"
    )


def test_activations_go_before_the_copy_of_the_weights() -> None:
    sizes = {n: large(per_device_train_batch_size=n).step for n in (8, 14, 15, 16, 17, 18, 24, 64)}
    chosen = {n: (step.checkpointing != "none", step.dequantized) for n, step in sizes.items()}
    assert chosen[8] == (False, True)
    assert (False, False) in chosen.values()
    assert chosen[24] == (True, True)


def test_a_copy_that_does_not_fit_is_said() -> None:
    made = large(memory_gb=15, per_device_train_batch_size=8, gradient_checkpointing=True)
    assert not made.step.dequantized
    assert said(made, "step.dequantized") == "7.2 GB more would not stay below 85% of the GPU's memory"


@pytest.mark.parametrize("lora", [{"lora_dropout": 0.1}, {"use_dora": True}, {"bias": "all"}])
def test_what_stays_with_peft_has_no_copy(lora: dict[str, Any]) -> None:
    made = large(lora=lora)
    assert not made.step.dequantized
    assert "step.dequantized" not in reasons(made)


def test_ligers_kernels_and_the_compiler_do_not_meet() -> None:
    made = large(use_liger_kernel=True)
    assert (made.step.liger, made.step.compiled) == (True, False)
    assert "Liger" in said(made, "step.compiled")


def test_the_compiler_s_checkpointing_is_said() -> None:
    made = large(per_device_train_batch_size=64)
    assert made.step.checkpointing == "compiler"
    assert said(made, "trainer.gradient_checkpointing").endswith(
        "the compiler recomputes, all but a layer's last product"
    )


def test_a_model_that_caps_scores_computes_them_plainly() -> None:
    made = build(recipe(), facts(model=phi3().model_copy(update={"softcapping": True})), folders={})
    assert made.step.attention == "eager"
    assert made.step.layout == "padded"


def test_heads_that_the_kernel_cannot_hold_go_to_sdpa() -> None:
    made = build(recipe(), facts(model=phi3().model_copy(update={"head_dim": 320})), folders={})
    assert made.step.attention == "sdpa"


def test_packing_says_what_it_makes_of_a_step() -> None:
    made = plan(trainer={"packing": True, "max_length": 1000, "per_device_train_batch_size": 4})
    assert said(made, "trainer.packing") == (
        "a step takes 4 sequences, about 40 rows of 100 tokens, "
        "so the run takes 26 steps and not about 250; `learning_rate` stays"
    )
    assert made.trainer.learning_rate == plan().trainer.learning_rate
    assert "trainer.packing" not in reasons(plan())


def test_packing_with_a_number_of_steps_says_the_rows() -> None:
    made = plan(trainer={"packing": True, "max_length": 1000, "max_steps": 9, "gradient_accumulation_steps": 2})
    assert "a step takes 16 sequences, about 159 rows of 100 tokens, not 16 rows" in said(made, "trainer.packing")


def test_an_optimiser_that_was_not_written_has_a_reason() -> None:
    assert "trainer.optim" in reasons(plan())
    assert "trainer.optim" not in reasons(plan(trainer={"optim": "adamw_8bit"}))


def test_declared_rows_are_counted_too() -> None:
    declared = {"train": {"path": "/out/train.jsonl", "num_examples": 1000, "mean_tokens": 100}}
    made = build(recipe(dataset=declared, trainer={"packing": True}), facts(train=None), folders={})
    assert made.total_steps == 13
    assert "81 rows of 100 tokens" in said(made, "trainer.packing")


def test_a_base_whose_turns_end_with_another_token_than_its_texts_gets_a_note() -> None:
    counted = DataFacts(source="counted", format="messages", rows=9, ends=("<|im_end|>",), eos_token="<|endoftext|>")
    made = build(recipe(), facts(train=counted), folders={})
    at = "generation_config.eos_token_id"
    assert reasons(made)[at] == "<|im_end|>"
    assert "the tokenizer's `eos_token` is <|endoftext|>" in said(made, at)
    same = counted.model_copy(update={"eos_token": "<|im_end|>"})
    assert at not in reasons(build(recipe(), facts(train=same), folders={}))
