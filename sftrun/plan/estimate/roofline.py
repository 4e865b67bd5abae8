"""Seconds of a step: what the GPU must compute and move, against what the CPU must launch.  Pure.

Work of the linear layers a token: 2 FLOP a weight forward and 2 for the gradient of the input; frozen weights need no
gradient of their own, so LoRA costs 4N where full fine-tuning costs 6N (Kaplan et al., arXiv 2001.08361, sec. 2.1);
checkpointing repeats the forward pass, +2N.  Attention: 4 × Σ length² × width forward, half of it when causal kernels
skip the rest, and 2.5 times that backward (FlashAttention-2, arXiv 2307.08691, sec. 4.1).  What is not a matrix
product is bound by memory (Williams et al., 2009: the roofline).  A small step waits for the launches instead, or,
where CUDA graphs replay them, for kernels that take their time however little they do.
"""

import math
from typing import Final, NamedTuple

from sftrun.facts.gpus.calibration import Calibration, StackConstants
from sftrun.facts.values import Gpu
from sftrun.plan.estimate import memory
from sftrun.plan.estimate.setup import Setup, used
from sftrun.plan.estimate.workload import Batch
from sftrun.step import fused

# how sharply the larger of GPU and host time wins; at equality the step takes 1.15 times either
SHARPNESS: Final = 5
# times as long to launch where others use the machine's CPU (docs/estimates.md)
BUSY_CPU: Final = 1.8
# to launch a replayed layer, forward and backward: two graphs of 24 layers took 3.2 ms, of 32 layers 4.2 (2026-11-26)
GRAPHS_SECONDS_PER_LAYER: Final = 0.000135
# they share the product of their siblings where adapters are fused
SHARING: Final = tuple(name for _, *names in fused.SIBLINGS for name in names)
# an NVLink of Hopper, one way; older and smaller GPUs have PCIe
NVLINK_BYTES: Final = 300e9
PCIE_BYTES: Final = 20e9
# between two of Modal's machines, one way: 50 Gbps, or RDMA's 3,200 (modal.com/docs/guide/multi-node-training)
NETWORK_BYTES: Final = 6.25e9
RDMA_BYTES: Final = 400e9


class StepTime(NamedTuple):
    """Seconds of one optimiser step, and the parts of one micro-batch; `busy`: where others use the CPU as well."""

    seconds: float
    gpu: dict[str, float]
    host: float
    busy: float

    @property
    def is_launch_bound(self) -> bool:
        return self.host > sum(self.gpu.values())


def step(setup: Setup, batch: Batch, accumulation: int, gpu: Gpu, calibration: Calibration) -> StepTime:
    """One optimiser step of `accumulation` mean micro-batches."""
    constants = calibration.stacks[setup.stack]
    parts = gpu_seconds(setup, batch, gpu, constants)
    host = host_seconds(setup, constants)
    computed, launched = accumulation * sum(parts.values()), accumulation * host + constants.host_seconds_per_step
    after = optimizer_seconds(setup, gpu) + _exchange(setup, gpu, accumulation)
    slowly = BUSY_CPU * (launched + accumulation * graphs_seconds(setup))
    return StepTime(_soft_max(computed, launched) + after, parts, host, _soft_max(computed, slowly) + after)


def gpu_seconds(setup: Setup, batch: Batch, gpu: Gpu, constants: StackConstants) -> dict[str, float]:
    """Seconds that the GPU is busy with one micro-batch, forward and backward, by kind of work."""
    flops, moved = gpu.bf16_tflops * 1e12, gpu.memory_gb_per_second * 1e9
    product = flops * constants.matmul_efficiency
    share = constants.recompute_share
    layers = {
        "linear layers": linear_flops(setup, batch, share) / product,
        "last waves": constants.wave_outputs * wave_flops(setup, share) / product,
        "attention": attention_flops(setup, batch, constants, share) / (flops * constants.attention_efficiency),
        "elementwise": constants.layer_traffic * layer_bytes(setup, batch) / moved,
        "adapters": constants.adapter_traffic * adapter_bytes(setup, batch) / moved,
        "experts' adapters": stacked_seconds(setup, batch, gpu),
        "dequantising": constants.dequantize_traffic * dequantized_bytes(setup) / moved,
        "casting": cast_bytes(setup) / moved,
    }
    busy, least = sum(layers.values()), constants.kernel_share * launch_seconds(setup, constants)
    logits = batch.tokens * setup.model.vocab_size * setup.activation_bytes
    head = head_flops(setup, batch) / product + constants.head_traffic * logits / moved
    return {**layers, "short kernels": _soft_max(busy, least) - busy, "head": head}


def passes(setup: Setup, recompute_share: float = 1.0) -> float:
    """Products of a layer's weights with activations: forward, backward, once more under checkpointing, and dW."""
    again = recompute_share if setup.is_checkpointed else 0.0
    return 2 + again + (setup.lora is None)


def linear_flops(setup: Setup, batch: Batch, recompute_share: float = 1.0) -> float:
    """2 FLOP a weight, token and pass; fused adapters are further columns of the same products."""
    weights = setup.active_linear_parameters + fused_weights(setup)
    return 2 * passes(setup, recompute_share) * weights * batch.tokens


def fused_weights(setup: Setup) -> float:
    """Of the columns that fused products have beside the frozen ones: siblings' ranks, up to a multiple of 64."""
    if setup.lora is None or not setup.step.fused_lora:
        return 0.0
    total, targets = 0.0, {x.name: x for x in setup.targets}
    for target in targets.values():
        siblings = next((names for names in fused.SIBLINGS if target.name in names), (target.name,))
        together = siblings if targets.keys() >= set(siblings) else (target.name,)
        rank = math.ceil(sum(targets[name].rank for name in together))
        columns = fused.columns(target.in_features, rank) - target.in_features
        total += columns * target.out_features * target.modules
    return total


def wave_flops(setup: Setup, recompute_share: float = 1.0) -> float:
    """Of a wave one output wide, for each product: a wave is half full on average when a product ends."""
    again = recompute_share if setup.is_checkpointed else 0.0
    sharing = SHARING if setup.step.fused_lora else ()
    forward = sum(x.in_features * used(setup.model, x) for x in setup.model.linears if x.name not in sharing)
    backward = sum(x.out_features * used(setup.model, x) for x in setup.model.linears)
    return (1 + again) * forward + backward


def head_flops(setup: Setup, batch: Batch) -> float:
    """Logits, once more for the backward pass where they are not kept, their gradient by the hidden states, and dW."""
    products = (2 if setup.step.head == "frozen" else 3) + setup.trains_head
    return 2 * products * setup.head_parameters * batch.tokens


def attention_flops(setup: Setup, batch: Batch, constants: StackConstants, recompute_share: float = 1.0) -> float:
    """By true row lengths where the kernel knows them; a mask makes it compute the whole square, of packed rows too.

    Beside a row's own keys a query costs as much as some hundred more: tiles that are not full, and what begins and
    ends one.  Of short rows that is most, and no faster where only the memory is.
    """
    width = setup.model.attention_heads * setup.model.head_dim
    squares, masked = batch.squares, batch.layout == "padded"
    if batch.layout != "padded" and setup.is_masked:
        squares, masked = max(squares, batch.tokens * setup.trainer.max_length), True
    forward = ((4 if masked else 2) * squares + 2 * constants.attention_keys * batch.tokens) * width
    again = recompute_share if setup.is_checkpointed else 0.0
    return setup.model.layers * forward * (3.5 + again)


def layer_bytes(setup: Setup, batch: Batch) -> float:
    """What the layers write for the backward pass to read; checkpointing writes it once more."""
    share = 1.5 if setup.is_checkpointed else 1.0
    return setup.model.layers * batch.tokens * memory.layer_bytes_per_token(setup) * share


def adapter_bytes(setup: Setup, batch: Batch) -> float:
    """Inputs and outputs of the adapters: products of rank r are bound by reading x and writing y."""
    width = sum((x.in_features + x.out_features) * x.modules for x in setup.targets)
    return width * batch.tokens * setup.activation_bytes * (passes(setup) / 2)


def stacked_seconds(setup: Setup, batch: Batch, gpu: Gpu) -> float:
    """Experts' adapters are added to whole weights, whose gradients are whole too: moved, and one more product."""
    if not setup.stacked_bytes:
        return 0.0
    active = setup.stacked_bytes / setup.weight_bytes * setup.model.experts_per_token / setup.model.experts
    moved = (6 + 2 * setup.is_checkpointed) * setup.stacked_bytes / (gpu.memory_gb_per_second * 1e9)
    return moved + 2 * active * batch.tokens / (gpu.bf16_tflops * 1e12)


def dequantized_bytes(setup: Setup) -> float:
    """4 bits read and 16 written for each product; nothing where it was done once."""
    if not setup.is_quantized or setup.step.dequantized:
        return 0.0
    return passes(setup) * setup.linear_parameters * (memory.quantized_bytes(setup) + setup.activation_bytes)


def cast_bytes(setup: Setup) -> float:
    """32-bit weights read and written in 16, and their gradients the other way."""
    times = (1 + setup.is_checkpointed) + (setup.lora is None)
    return times * setup.linear_parameters * (setup.weight_bytes + setup.activation_bytes) * setup.casts_weights


def host_seconds(setup: Setup, constants: StackConstants) -> float:
    """What the CPU needs for one micro-batch, whatever its size: next to nothing where a CUDA graph replays it."""
    return 0.0 if setup.step.cuda_graphs else launch_seconds(setup, constants)


def graphs_seconds(setup: Setup) -> float:
    """What the CPU needs to launch a replayed micro-batch, which a calm one does while the GPU computes."""
    return setup.model.layers * GRAPHS_SECONDS_PER_LAYER if setup.step.cuda_graphs else 0.0


def launch_seconds(setup: Setup, constants: StackConstants) -> float:
    """To launch the kernels of one micro-batch one by one."""
    layer = constants.host_seconds_per_layer
    if setup.is_quantized and not setup.step.dequantized:
        layer += constants.host_seconds_quantized
    if setup.is_checkpointed:
        layer *= constants.host_recompute
    return setup.model.layers * layer


def optimizer_seconds(setup: Setup, gpu: Gpu) -> float:
    """Reading and writing weights, gradients and state once."""
    moved = 3 * memory.gradient_bytes(setup) + 2 * memory.optimizer_bytes(setup)
    return moved / (gpu.memory_gb_per_second * 1e9)


def fetch_seconds(setup: Setup, gpu: Gpu) -> float:
    """What FSDP needs to fetch every layer once; 0 where each GPU has them whole."""
    if setup.step.sharding != "fsdp":
        return 0.0
    share = (setup.gpus - 1) / setup.gpus
    each = min(memory.quantized_bytes(setup), setup.activation_bytes)  # wider ones are cast before they are sent
    return share * setup.linear_parameters * each / _link(setup, gpu)


def _exchange(setup: Setup, gpu: Gpu, accumulation: int) -> float:
    """Gradients round the ring (DDP), or once and the weights in each pass (FSDP); overlap is not counted on.

    A ring moves 2 (n − 1) / n of the gradients through each GPU (Patarasuk & Yuan, 2009), as fast as its slowest link.
    """
    if setup.step.sharding == "one":
        return 0.0
    share = (setup.gpus - 1) / setup.gpus
    gradients = share * setup.trained_bytes / _link(setup, gpu)
    if setup.step.sharding == "ddp":
        return 2 * gradients
    times = 3 if setup.is_checkpointed else 2
    return gradients + accumulation * times * fetch_seconds(setup, gpu)


def _link(setup: Setup, gpu: Gpu) -> float:
    """Bytes a second from one GPU to another, by the slowest link."""
    speed = NVLINK_BYTES if gpu.memory_gb_per_second > 1500 and gpu.compute_capability[0] != 12 else PCIE_BYTES
    if setup.nodes == 1:
        return speed
    return min(speed, RDMA_BYTES if setup.wants_rdma else NETWORK_BYTES)


def _soft_max(one: float, other: float) -> float:
    large, small = max(one, other), min(one, other)
    return large * (1 + (small / large) ** SHARPNESS) ** (1 / SHARPNESS) if large else 0.0
