"""The roofline: how work grows, and that measured paces are met."""

import pytest

from sftrun.contract.jobspec import LoraSpec
from sftrun.facts.gpus import calibration
from sftrun.plan.estimate import roofline, workload
from sftrun.plan.estimate.lengths import lognormal
from sftrun.plan.estimate.setup import Setup
from sftrun.step.given import Model
from tests.plan.shapes import gpu, setup

LENGTHS = lognormal(177, 1900, 0.8)


def seconds(found: Setup, name: str = "H200") -> float:
    batch = workload.batch(found.trainer, found.step, LENGTHS, 100)
    accumulation = found.trainer.gradient_accumulation_steps
    return roofline.step(found, batch, accumulation, gpu(name), calibration.shipped()).seconds


def compiled(**values: object) -> Setup:
    return setup(attention="varlen", compiled=True, **values)  # type: ignore[arg-type]


def test_frozen_weights_need_two_passes_and_trained_ones_three() -> None:
    assert roofline.passes(setup()) == 2
    assert roofline.passes(setup(checkpointed=True)) == 3
    assert roofline.passes(setup(nf4=False, rank=None)) == 3


def test_lora_does_four_operations_a_weight_and_token() -> None:
    found = setup()
    batch = workload.worst_batch(found.trainer, found.step)
    assert roofline.linear_flops(found, batch) == pytest.approx(4 * 3_623_878_656 * 16384)


def test_fused_adapters_cost_a_product_64_columns_more() -> None:
    found = compiled()
    outputs = sum(x.out_features * x.modules for x in found.targets)
    assert roofline.fused_weights(found) == 64 * outputs
    assert roofline.fused_weights(setup()) == 0
    # two of three siblings have a product each
    pair = LoraSpec(r=64, lora_alpha=16.0, target_modules=("q_proj", "v_proj"))
    assert roofline.fused_weights(found._replace(lora=pair)) == 64 * 2 * 3072 * 32


def test_a_frozen_heads_logits_are_made_once_and_a_trained_ones_gradient_besides() -> None:
    found = setup()
    batch = workload.worst_batch(found.trainer, found.step)
    product = 2 * 32064 * 3072 * batch.tokens
    for one, products in (
        (found, 2),
        (setup(fp16=True, bf16=False), 3),
        (setup(engine="unsloth"), 3),
        (setup(shape=Model(scales_logits=True)), 3),
        (setup(shape=Model(vocab_size=32_001)), 3),
        (setup(saved=("lm_head",)), 4),
        (setup(nf4=False, rank=None), 4),
    ):
        assert roofline.head_flops(one, batch) == products * product * one.model.vocab_size / 32064


def test_machines_exchange_an_adapter_over_any_network_and_all_weights_over_a_fast_one() -> None:
    for rank, gigabytes_a_second in ((16, 6.25), (None, 300.0)):
        one = setup(nf4=rank is not None, rank=rank, gpus=8)
        two = one._replace(gpus=16, nodes=2)
        gradients = one.trained_bytes
        more = 2 * gradients * (15 / 16 / (gigabytes_a_second * 1e9) - 7 / 8 / 300e9)
        assert seconds(two) - seconds(one) == pytest.approx(more, rel=1e-6)


def test_a_mask_computes_the_whole_square_and_known_bounds_do_not() -> None:
    bounds, masked = setup(attention="varlen"), setup(attention="sdpa")
    batch = workload.batch(bounds.trainer, bounds.step, LENGTHS, 100)
    squared, known = (calibration.shipped().stacks[found.stack] for found in (masked, bounds))
    assert roofline.attention_flops(masked, batch, squared) > 3 * roofline.attention_flops(bounds, batch, known)


def test_weights_dequantised_once_are_not_dequantised_again() -> None:
    assert roofline.dequantized_bytes(setup(dequantized=True)) == 0
    assert roofline.dequantized_bytes(setup()) > 0


def test_a_small_step_waits_for_launches() -> None:
    small = compiled(per_device_train_batch_size=1, max_length=512)
    batch = workload.worst_batch(small.trainer, small.step)
    assert roofline.step(small, batch, 1, gpu(), calibration.shipped()).is_launch_bound


def test_a_busy_cpu_holds_up_what_waits_for_launches_and_hardly_what_does_not() -> None:
    def share(batch_size: int, cuda_graphs: bool = False) -> float:
        found = compiled(per_device_train_batch_size=batch_size, max_length=512, cuda_graphs=cuda_graphs)
        step = roofline.step(found, workload.worst_batch(found.trainer, found.step), 1, gpu(), calibration.shipped())
        return step.busy / step.seconds

    assert share(1) > 1.7
    assert share(64) < 1.01
    assert share(64, cuda_graphs=True) < 1.01
    assert share(2, cuda_graphs=True) < share(2)


def test_twice_the_tokens_take_about_twice_as_long_when_the_gpu_is_full() -> None:
    ratio = seconds(compiled(per_device_train_batch_size=16)) / seconds(compiled())
    assert 1.7 < ratio < 2.05


def test_an_older_gpu_is_slower() -> None:
    assert seconds(compiled(), "L4") > 5 * seconds(compiled())


def test_accumulation_repeats_the_micro_batch() -> None:
    assert seconds(compiled(gradient_accumulation_steps=4)) == pytest.approx(4 * seconds(compiled()), rel=0.15)


def parts(found: Setup, tokens_a_row: float) -> dict[str, float]:
    rows = lognormal(tokens_a_row, 2048, 0.01)
    batch = workload.batch(found.trainer, found.step, rows, 100)
    return roofline.gpu_seconds(found, batch, gpu("H100"), calibration.shipped().stacks[found.stack])


def test_attention_costs_short_rows_much_beside_their_squares() -> None:
    short, long = parts(compiled(), 180), parts(compiled(), 2000)
    assert short["attention"] < long["attention"] < 4 * short["attention"]  # with eleven times the squares
    assert long["attention"] < 0.5 * long["linear layers"]


def test_the_last_wave_weighs_more_the_smaller_a_product_is() -> None:
    small, large = (parts(compiled(per_device_train_batch_size=n), 180) for n in (1, 16))
    assert small["last waves"] == large["last waves"]
    assert small["last waves"] / small["linear layers"] == pytest.approx(
        16 * large["last waves"] / large["linear layers"]
    )


def test_kernels_of_a_replayed_step_take_a_share_of_their_launching_at_least() -> None:
    replayed = compiled(cuda_graphs=True, packing=False, layout="padding_free", per_device_train_batch_size=1)
    constants = calibration.shipped().stacks["compiled"]
    batch = workload.batch(replayed.trainer, replayed.step, lognormal(30, 2048, 0.1), 100)
    busy = sum(roofline.gpu_seconds(replayed, batch, gpu("H100"), constants).values())
    assert busy > constants.kernel_share * roofline.launch_seconds(replayed, constants)
    assert roofline.host_seconds(replayed, constants) == 0


def test_sharded_weights_are_fetched_in_each_pass_of_each_micro_batch() -> None:
    shared, whole = (setup(nf4=False, rank=None, gpus=4, sharded=is_sharded) for is_sharded in (True, False))
    once = roofline.fetch_seconds(shared, gpu())
    assert once == pytest.approx(0.75 * 3_623_878_656 * 2 / roofline.NVLINK_BYTES)
    assert roofline.fetch_seconds(whole, gpu()) == 0.0

    def more(found: Setup) -> float:
        batch = workload.worst_batch(found.trainer, found.step)
        one, two = (roofline.step(found, batch, n, gpu(), calibration.shipped()).seconds for n in (1, 2))
        return two - one

    assert more(shared) - more(whole) == pytest.approx(2 * once, rel=1e-6)
