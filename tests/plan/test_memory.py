"""Memory: each part by its formula, and the whole against peaks that were measured on an H200."""

from typing import Any

import pytest

from sftrun.facts.gpus import catalog
from sftrun.plan.build import build
from sftrun.plan.estimate import graph_memory, memory, total, workload
from sftrun.plan.estimate.lengths import lognormal
from sftrun.plan.estimate.setup import Setup
from sftrun.plan.types import Plan
from tests.plan.samples import facts, recipe
from tests.plan.shapes import deeper, gpu, setup


def allocated(found: Setup) -> float:
    return memory.allocated_gb(memory.estimate(found, workload.worst_batch(found.trainer, found.step), gpu()))


def part(found: Setup, name: str) -> float:
    parts = memory.estimate(found, workload.worst_batch(found.trainer, found.step), gpu()).parts
    return next(one.gb for one in parts if one.name == name)


def test_nf4_counts_block_scales_and_double_quantisation() -> None:
    assert memory.quantized_bytes(setup()) == pytest.approx(0.5 + 1 / 64 + 4 / 16384)


def test_nf4_without_double_quantisation_keeps_fp32_scales() -> None:
    plain = setup()
    assert plain.quantization is not None
    single = plain.quantization.model_copy(update={"bnb_4bit_use_double_quant": False})
    assert memory.quantized_bytes(plain._replace(quantization=single)) == 0.5 + 4 / 64


def test_the_adapter_of_seven_targets_has_the_known_size() -> None:
    assert setup().trainable_parameters == 29_884_416


def test_embeddings_stay_in_sixteen_bits() -> None:
    linear = 3_623_878_656
    rest = setup().model.parameters - linear
    assert memory.weights_bytes(setup()) == pytest.approx(linear * memory.quantized_bytes(setup()) + rest * 2)


@pytest.mark.parametrize(
    ("optim", "bytes_each"),
    [("adamw_torch_fused", 4), ("adamw_8bit", 2.03125), ("sgd", 0), ("lion_32bit", 4), ("not_known", 8)],
)
def test_the_optimiser_s_state_is_counted_by_its_name(optim: str, bytes_each: float) -> None:
    found = setup(optim=optim)
    assert memory.optimizer_bytes(found) == pytest.approx(found.trainable_parameters * bytes_each)


def test_full_fine_tuning_trains_every_parameter() -> None:
    found = setup(nf4=False, rank=None)
    assert found.trainable_parameters == found.model.parameters
    assert part(found, "gradients") == pytest.approx(7.642, abs=0.001)


def test_trained_weights_in_32_bits_take_sixteen_bytes_each() -> None:
    wide = setup(nf4=False, rank=None)
    wide = wide._replace(
        spec=wide.spec.model_copy(update={"dtype": "float32"}),
        step=wide.step.model_copy(update={"precision": wide.step.precision.model_copy(update={"trained": "float32"})}),
    )
    names = ("weights", "gradients", "optimiser")
    assert sum(part(wide, name) for name in names) * 1e9 == pytest.approx(16 * wide.model.parameters, rel=1e-3)
    twice = wide.training(gradient_accumulation_steps=2)
    assert part(twice, "weights in 16 bits") * 1e9 == pytest.approx(2 * wide.linear_parameters, rel=1e-3)


def test_checkpointing_keeps_each_layer_s_input_alone() -> None:
    assert part(setup(checkpointed=True), "activations") < part(setup(), "activations") / 8


def test_eager_attention_pays_for_its_scores() -> None:
    assert part(setup(attention="eager"), "activations") > 2 * part(setup(), "activations")


def test_full_logits_are_counted_where_they_are_made() -> None:
    found = setup()
    batch = workload.worst_batch(found.trainer, found.step)
    more = memory.working_bytes(found, batch, full_logits=True) - memory.working_bytes(found, batch, full_logits=False)
    assert more > 16384 * 32064 * 8


def test_each_cuda_graph_keeps_gradients_of_its_own() -> None:
    found = setup(cuda_graphs=True)
    batch = workload.worst_batch(found.trainer, found.step)
    ten = graph_memory.held_bytes(found, batch, gpu(), 20) - graph_memory.held_bytes(found, batch, gpu(), 10)
    assert ten == 10 * (29_884_416 * 2 + 2 * batch.tokens * 3072 * 2)


def test_the_more_row_lengths_differ_the_more_shapes_are_captured_up_to_a_limit() -> None:
    found = setup(cuda_graphs=True, packing=False, layout="padding_free")
    alike, unlike, wild = (
        workload.batch(found.trainer, found.step, lognormal(177, 1900, sigma), 100) for sigma in (0.05, 0.4, 1.2)
    )
    counts = [graph_memory.shapes(found, batch, gpu()) for batch in (alike, unlike, wild)]
    assert counts == sorted(set(counts))
    assert graph_memory.shapes(found, wild, gpu("A100-80GB")) == 32


def test_packed_steps_differ_in_their_number_of_rows_alone() -> None:
    found = setup(cuda_graphs=True)
    assert found.trainer.packing
    few, many = (workload.batch(found.trainer, found.step, lognormal(177, 1900, s), 100) for s in (0.05, 0.8))
    assert graph_memory.shapes(found, few, gpu()) < graph_memory.shapes(found, many, gpu()) < 32


def test_the_longest_row_is_a_size_of_its_own_where_the_kernel_asks_for_it() -> None:
    found = setup(cuda_graphs=True)
    batch = workload.batch(found.trainer, found.step, lognormal(177, 1900, 0.8), 100)
    sums = graph_memory.shapes(found, batch, gpu("H200"))
    assert graph_memory.shapes(found, batch, gpu("A100-80GB")) == 2 * sums
    odd = found._replace(model=found.model.model_copy(update={"head_dim": 112}))
    assert graph_memory.shapes(odd, batch, gpu("H200")) == 2 * sums


def test_steps_that_no_graph_replays_have_no_part_in_the_graphs_memory() -> None:
    plain, replayed = setup(), setup(cuda_graphs=True)
    moving = part(plain, "activations") + part(plain, "working space")
    assert part(replayed, "graphs' pool") == pytest.approx(moving, abs=0.001)


def test_fsdp_shares_out_weights_and_optimiser() -> None:
    whole = setup(nf4=False, rank=None)
    shared = setup(nf4=False, rank=None, gpus=8, sharded=True)
    # in 32 bits, where one GPU has them in the weights' own 16
    assert part(shared, "optimiser") == pytest.approx(2 * part(whole, "optimiser") / 8, rel=0.01)
    assert part(shared, "weights") == pytest.approx(2 * part(whole, "weights") / 8, rel=0.01)
    layer, head = 3_623_878_656 / 32 * 2e-9, 32064 * 3072 * 2e-9
    assert part(shared, "layers fetched") == pytest.approx(3 * layer + 2 * head, rel=0.01)


@pytest.mark.parametrize(
    "extra",
    [
        {"fsdp": True, "fsdp_config": {"reshard_after_forward": False}},
        {"fsdp": True, "fsdp_config": {"fsdp_reshard_after_forward": False}},
        {"fsdp": "shard_grad_op auto_wrap"},
    ],
)
def test_layers_that_stay_whole_until_the_backward_pass_are_all_held(extra: dict[str, Any]) -> None:
    kept = setup(nf4=False, gpus=8, sharded=True, extra=extra)
    assert part(kept, "layers fetched") == pytest.approx((3_623_878_656 + 32064 * 3072) * 2e-9, rel=0.01)
    again = setup(nf4=False, gpus=8, sharded=True, extra={"fsdp": "full_shard"})
    assert part(again, "layers fetched") < part(kept, "layers fetched") / 5


def test_4_bit_weights_are_whole_on_each_gpu_while_fsdp_loads_them() -> None:
    short = {"max_length": 128, "per_device_train_batch_size": 1, "checkpointed": True}
    whole, shared = setup(gpus=8, **short), setup(gpus=8, sharded=True, **short)
    assert part(shared, "weights") < part(whole, "weights") / 2
    found = memory.estimate(shared, workload.worst_batch(shared.trainer, shared.step), gpu())
    assert found.peak_gb == pytest.approx(part(whole, "weights") + part(whole, "CUDA context"), abs=0.02)
    assert memory.allocated_gb(found) < part(whole, "weights")


def test_ddp_keeps_buckets_beside_the_gradients() -> None:
    assert part(setup(gpus=2), "gradients") == pytest.approx(2 * part(setup(), "gradients"), rel=0.01)


MEASURED: list[tuple[str, float, dict[str, Any]]] = [
    ("Unsloth, packed, its checkpointing", 5.2, {"engine": "unsloth", "checkpointed": True}),
    ("Unsloth, packed", 55.6, {"engine": "unsloth"}),
    ("TRL, bf16", 89.1, {"nf4": False}),
    ("TRL, Liger, bf16", 73.9, {"nf4": False, "liger": True}),
    ("TRL, Liger, checkpointing", 7.9, {"liger": True, "checkpointed": True}),
    ("TRL, Liger", 54.9, {"liger": True}),
    ("TRL, Liger, one sequence", 9.2, {"liger": True, "per_device_train_batch_size": 1}),
]


@pytest.mark.parametrize(("name", "peak_gb", "settings"), MEASURED, ids=[name for name, _, _ in MEASURED])
def test_a_measured_peak_is_met_within_ten_per_cent(name: str, peak_gb: float, settings: dict[str, Any]) -> None:
    assert allocated(setup(**settings)) == pytest.approx(peak_gb, rel=0.10)


def test_adapters_under_a_loss_scaler_are_in_32_bits() -> None:
    narrow, wide = setup(), setup(bf16=False, fp16=True)
    assert (narrow.adapter_bytes, wide.adapter_bytes) == (2, 4)
    assert memory.gradient_bytes(wide) == 2 * memory.gradient_bytes(narrow)


def sharded_plan(**sections: Any) -> Plan:
    """14 B weights on four GPUs that share them."""
    trainer = {"max_steps": 100, "extra": {"fsdp": True}}
    about = facts(model=deeper(4), catalog=catalog.shipped())
    made = recipe(compute={"executor": "modal", "gpu": "H100:4"}, trainer=trainer, **sections)
    return total.priced(build(made, about, folders={}), about)


def test_answers_take_all_weights_where_training_took_a_share_of_each_gpu() -> None:
    weights = 2 * deeper(4).parameters / memory.GB
    adapted, trained = memory.answering_gb(sharded_plan(lora={})), memory.answering_gb(sharded_plan(lora=None))
    assert adapted == pytest.approx(weights, rel=0.07)
    assert trained == pytest.approx(4 * weights, rel=0.07)  # a base and a tuned one, in 32 bits


def test_answers_take_what_training_took_where_the_weights_were_whole() -> None:
    made = sharded_plan(lora={}, quantization={"load_in_4bit": True})
    assert made.memory is not None
    assert memory.answering_gb(made) == made.memory.peak_gb
    assert memory.answering_gb(made.model_copy(update={"memory": None})) is None
