"""Peak memory of one GPU, from shapes and settings.  Pure; GB are 1e9 bytes.

Sources: block scales and double quantisation: QLoRA (arXiv 2305.14314), sec. 3.  What a layer keeps for the backward
pass: Korthikanti et al. (arXiv 2205.05198), sec. 4, re-counted for RMSNorm, SwiGLU, fused attention and frozen weights,
and held against measured peaks (`docs/estimates.md`).  Sharding: ZeRO (arXiv 1910.02054), sec. 5.
"""

from typing import Final

from sftrun.facts.values import Gpu
from sftrun.plan.estimate import graph_memory
from sftrun.plan.estimate.setup import BYTES, Setup, per_layer
from sftrun.plan.estimate.workload import Batch
from sftrun.plan.types import MemoryEstimate, MemoryPart, Plan
from sftrun.step import fused

GB: Final = 1e9
# CUDA context, cuBLAS and NCCL workspaces: outside of torch's allocator
CONTEXT_GB: Final = 0.6
NCCL_GB: Final = 1.0
# share of what comes and goes that torch's allocator holds but can't use
SLACK: Final = 0.04
# besides what comes before training
OUTSIDE_ALLOCATOR: Final = ("CUDA context", "allocator slack", "graphs' pool", "loading")

# bytes of optimiser state a trained parameter; `p` means as wide as the parameter itself
STATE_BYTES: Final[dict[str, tuple[float, float]]] = {
    # name: (fixed bytes, times the parameter's own bytes)
    "adamw_torch": (0, 2),
    "adamw_torch_fused": (0, 2),
    "adamw_8bit": (2 + 8 / 256, 0),
    "adamw_bnb_8bit": (2 + 8 / 256, 0),
    "paged_adamw_8bit": (2 + 8 / 256, 0),
    "paged_adamw_32bit": (8, 0),
    "ademamix_8bit": (3 + 12 / 256, 0),
    "lion_8bit": (1 + 4 / 256, 0),
    "paged_lion_8bit": (1 + 4 / 256, 0),
    "lion_32bit": (4, 0),
    "adafactor": (0, 0.02),
    "sgd": (0, 0),
    "rmsprop": (0, 1),
    "adagrad": (0, 1),
}
_ATTENTION_INPUTS: Final = ("q_proj", "k_proj", "v_proj", "qkv_proj", "query_key_value", "Wqkv", "c_attn")
_ATTENTION_OUTPUTS: Final = ("o_proj", "dense", "out_proj")
_MLP_INPUTS: Final = ("gate_proj", "up_proj", "gate_up_proj", "fc1", "dense_h_to_4h", "c_fc", "w1", "w3")
MLP_OUTPUTS: Final = ("down_proj", "fc2", "dense_4h_to_h", "w2")


def estimate(
    setup: Setup,
    batch: Batch,
    gpu: Gpu,
    *,
    full_logits: bool = False,
    basis: str = "",
    captured: int | None = None,
) -> MemoryEstimate:
    """The peak over a run whose largest micro-batch is `batch.largest_tokens`.

    `captured`: CUDA graphs, where their number is known; else as many as a long run meets shapes.
    """
    parts = (
        ("weights", weights_bytes(setup)),
        ("adapters", _adapter_bytes(setup)),
        ("gradients", gradient_bytes(setup)),
        ("optimiser", optimizer_bytes(setup)),
        ("activations", activation_bytes(setup, batch)),
        ("working space", working_bytes(setup, batch, full_logits)),
        ("CUDA graphs", graph_memory.held_bytes(setup, batch, gpu, captured) if setup.step.cuda_graphs else 0.0),
    )
    moving = sum(size for name, size in parts if name in ("activations", "working space"))
    context = (CONTEXT_GB + (NCCL_GB if setup.gpus > 1 else 0)) * GB
    # a step that no graph replays (yet) finds no room in what the graphs compute in, even while they rest
    pool = moving if setup.step.cuda_graphs else 0.0
    rows = [*parts, ("CUDA context", context), ("allocator slack", SLACK * moving), ("graphs' pool", pool)]
    if setup.step.sharding == "fsdp":
        rows.insert(1, ("layers fetched", _fetched_bytes(setup)))
    if merged := _merged_bytes(setup):
        rows.insert(1, ("experts with adapters", merged))
    if copies := _cast_bytes(setup):
        rows.insert(1, ("weights in 16 bits", copies))
    total = sum(size for _, size in rows)
    if (loading := loading_bytes(setup) + context) > total:
        rows.append(("loading", loading - total))
        total = loading
    return MemoryEstimate(
        peak_gb=round(total / GB, 2),
        capacity_gb=gpu.memory_gb,
        parts=tuple(MemoryPart(name=name, gb=round(size / GB, 3)) for name, size in rows),
        basis=basis or "computed from the model's shapes and the longest batch",
    )


def allocated_gb(found: MemoryEstimate) -> float:
    """What `torch.cuda.max_memory_allocated` would show of it."""
    return sum(part.gb for part in found.parts if part.name not in OUTSIDE_ALLOCATOR)


def answering_gb(plan: Plan) -> float | None:
    """GPU memory that base and tuned model take when they answer; None where the run was not estimated.

    What training took is enough, but where each GPU had a share of the weights; 4-bit ones were whole on each when they
    were loaded.  A model trained in full stands beside its base, and its weights were in 32 bits.
    """
    if plan.memory is None or plan.step.sharding != "fsdp" or plan.quantization is not None:
        return None if plan.memory is None else plan.memory.peak_gb
    shared = next(part.gb for part in plan.memory.parts if part.name == "weights") * plan.compute.gpu_count
    models = 1.0 if plan.lora is not None else 2 * BYTES[plan.model.dtype] / 4
    return CONTEXT_GB + (1 + SLACK) * shared * models


def weights_bytes(setup: Setup) -> float:
    """Linear layers as quantised, all else in the model's dtype; a copy in 16 bits where they are dequantised once."""
    if setup.step.sharding == "fsdp":
        return _sharded_bytes(setup)
    stored = _whole_bytes(setup)
    if setup.is_quantized and setup.step.dequantized:
        stored += copies_bytes(setup)
    elif setup.bits == 4 and setup.step.fused_lora:
        stored += setup.linear_parameters * 4 / 64  # the scales once more, in fp32, for one kernel to unpack
        stored += copies_bytes(setup, packed=False)
    return stored


def loading_bytes(setup: Setup) -> float:
    """FSDP's 4-bit weights are quantised whole on each GPU and shared out then; others come by shares."""
    if setup.step.sharding != "fsdp" or setup.bits != 4:
        return 0.0
    return _whole_bytes(setup)


def _whole_bytes(setup: Setup) -> float:
    rest = (setup.model.parameters - setup.linear_parameters) * setup.weight_bytes
    return setup.linear_parameters * quantized_bytes(setup) + rest


def copies_bytes(setup: Setup, *, packed: bool = True) -> float:
    """4-bit weights once more in 16 bits: those of layers with an adapter, whose products read the copy.

    Without `packed`: of those alone whose shape makes a copy of them in any case.
    """
    copied = (x for x in setup.targets if packed or not fused.stays_packed(x.in_features))
    return sum(x.in_features * x.out_features * x.modules for x in copied) * setup.activation_bytes


def quantized_bytes(setup: Setup) -> float:
    """Bytes a weight of a linear layer.

    NF4: 4 bits and an fp32 scale per 64 weights; double quantisation makes the scale 8 bits and adds an fp32 scale per
    256 scales.  LLM.int8: 8 bits and an fp32 scale a row.
    """
    if setup.bits == 4:
        double = setup.quantization is not None and setup.quantization.bnb_4bit_use_double_quant
        return 0.5 + (1 / 64 + 4 / (64 * 256) if double else 4 / 64)
    if setup.bits == 8:
        rows = sum(x.out_features * x.count for x in setup.model.linears)
        return 1 + 4 * rows / max(setup.linear_parameters, 1)
    return setup.weight_bytes


def _adapter_bytes(setup: Setup) -> float:
    """Adapters, and the trained copies that PEFT keeps of `modules_to_save`; none under full fine-tuning."""
    return 0.0 if setup.lora is None else _sharded(setup, setup.trained_bytes)


def gradient_bytes(setup: Setup) -> float:
    """As wide as the parameter; DDP keeps its buckets beside them."""
    size = setup.trained_bytes + _copied_rows(setup)
    return size * 2 if setup.step.sharding == "ddp" else _sharded(setup, size)


def _copied_rows(setup: Setup) -> float:
    """PEFT writes the rows of added tokens into a copy of embedding and of head; each copy has a gradient."""
    if setup.lora is None or not setup.lora.added_tokens:
        return 0.0
    return 4 * setup.model.vocab_size * setup.model.hidden_size * setup.weight_bytes


def optimizer_bytes(setup: Setup) -> float:
    """A GPU's part of the state."""
    return _sharded(setup, state_bytes(setup))


def state_bytes(setup: Setup) -> float:
    """Of all that is trained, by `optim`; one that is not known counts as AdamW in fp32."""
    fixed, times = STATE_BYTES.get(setup.trainer.optim, (8, 0))
    return setup.trainable_parameters * fixed + setup.trained_bytes * times


def activation_bytes(setup: Setup, batch: Batch) -> float:
    """What the forward pass keeps: all layers, or with checkpointing each layer's input and one layer whole."""
    layer = layer_bytes_per_token(setup) * batch.largest_tokens + _scores_bytes(setup, batch)
    layers, stream = setup.model.layers, setup.model.hidden_size * setup.stream_bytes
    if not setup.is_checkpointed:
        return layers * layer
    # Unsloth keeps the layers' inputs in the machine's memory, two at a time on the GPU
    kept = 2 if setup.step.checkpointing == "offloaded" else layers
    return kept * stream * batch.largest_tokens + layer


def layer_bytes_per_token(setup: Setup) -> float:
    """Bytes that one decoder layer keeps of one token for the backward pass.

    Two norms keep their input (fp32 in plain code); attention its q, k, v, output and log-sum-exp; SwiGLU its gate and
    up, eager code also silu(gate); a trained linear layer its input, which siblings share.
    """
    model, a = setup.model, setup.activation_bytes
    hidden, inner = model.hidden_size, _inner_width(setup)
    queries, keys = model.attention_heads * model.head_dim, model.key_value_heads * model.head_dim
    norms = 2 * hidden * (4 if setup.stack in ("eager", "fused") else setup.stream_bytes)
    attention = (2 * queries + 2 * keys) * a + 4 * model.attention_heads
    mlp = (3 if setup.stack == "eager" else 2) * inner * a
    return norms + attention + mlp + _inputs_bytes(setup, inner)


def _inputs_bytes(setup: Setup, inner: float) -> float:
    """Inputs of trained linear layers, the adapters' own activations, and copies that the code at work makes."""
    a, hidden = setup.activation_bytes, setup.model.hidden_size
    attention, mlp = setup.trains(_ATTENTION_INPUTS), setup.trains(_MLP_INPUTS)
    inputs: float = hidden * (attention + mlp)
    inputs += inner * (setup.trains(MLP_OUTPUTS) or setup.stack == "eager")
    if setup.lora is None:
        return a * inputs
    per_token = list(per_layer(setup))
    if setup.step.fused_lora:
        inputs += _fused(setup, hidden * (attention + mlp), inner)
    elif setup.adapter_bytes == 4 and setup.stack in ("eager", "liger") and setup.step.sharding != "fsdp":
        # PEFT casts x to the adapter's fp32 and autocast back: every adapter keeps a copy of its own; FSDP casts the
        # adapter
        inputs = sum(x.in_features * n for x, n in per_token)
    elif setup.adapter_bytes == 4 and setup.stack == "compiled":
        inputs += hidden
    dropped = sum(x.in_features * n for x, n in per_token) * (a + 1) if setup.lora.lora_dropout else 0
    return a * (inputs + sum(x.rank * n for x, n in per_token)) + dropped


def _fused(setup: Setup, inputs: float, inner: float) -> float:
    """Fused products keep [x | s x Aᵀ] beside x: of attention's input and output and the MLP's input.

    The MLP's inner activation is kept once where the compiler sees both, twice in plain code.
    """
    columns = setup.model.attention_heads * setup.model.head_dim if setup.trains(_ATTENTION_OUTPUTS) else 0
    return inputs + columns + (0 if setup.stack == "compiled" else inner)


def _inner_width(setup: Setup) -> float:
    model = setup.model
    return model.intermediate_size * (model.experts_per_token or 1)


def _scores_bytes(setup: Setup, batch: Batch) -> float:
    """Eager attention keeps the scores' softmax in fp32 and once more in 16 bits; fused kernels keep none."""
    if setup.step.attention != "eager":
        return 0.0
    return setup.model.attention_heads * batch.largest_squares * (4 + setup.activation_bytes)


def working_bytes(setup: Setup, batch: Batch, full_logits: bool) -> float:
    """What is live for a moment at the peak: the MLP's gradients of one layer, or the head's, whichever is larger."""
    a, hidden = setup.activation_bytes, setup.model.hidden_size
    layer = (3 * _inner_width(setup) + 2 * hidden) * a
    # hidden states after the last norm and their gradient, summed in fp32 over tiles of the vocabulary
    head = hidden * (4 + 2 * a)
    if full_logits:
        head += setup.model.vocab_size * (a + 4 + 4)  # logits, their fp32 copy, its gradient
    dense = 0.0
    if setup.is_quantized and not setup.step.dequantized:
        dense = max((x.in_features * x.out_features for x in setup.model.linears), default=0) * setup.activation_bytes
    return batch.largest_tokens * max(layer, head) + dense


def _merged_bytes(setup: Setup) -> float:
    """PEFT adds experts' adapters to a copy of their weights, read by the backward pass; one layer has a gradient."""
    layer = setup.stacked_bytes / max(setup.model.layers, 1)
    return layer * ((1 if setup.is_checkpointed else setup.model.layers) + 1) if layer else 0.0


def _cast_bytes(setup: Setup) -> float:
    """Autocast's copies of 32-bit weights live until the backward pass has used them.

    Gradients take their place, larger than they; those of an earlier micro-batch are there already.
    """
    stay = setup.lora is not None or setup.trainer.gradient_accumulation_steps > 1
    return setup.linear_parameters * setup.activation_bytes if setup.casts_weights and stay else 0.0


def _sharded(setup: Setup, size: float) -> float:
    return size / setup.gpus if setup.step.sharding == "fsdp" else size


def _sharded_bytes(setup: Setup) -> float:
    """A share of all weights; 4-bit weights' scales stay whole."""
    width = setup.weight_bytes if setup.lora is not None else setup.own_bytes
    rest = (setup.model.parameters - setup.linear_parameters) * width
    linear = setup.linear_parameters * (0.5 if setup.bits == 4 else width)
    scales = setup.linear_parameters * (quantized_bytes(setup) - 0.5) if setup.bits == 4 else 0.0
    return _sharded(setup, linear + rest) + scales


def _fetched_bytes(setup: Setup) -> float:
    """FSDP holds whole the layer at work, the next one and the head, or all of them where it keeps what it has fetched.

    Where they are trained, gradients of one each.
    """
    moved = 0.5 if setup.bits == 4 else setup.activation_bytes
    layer = setup.linear_parameters / max(setup.model.layers, 1) * moved
    head = setup.head_parameters * setup.activation_bytes
    layers = setup.model.layers if setup.step.keeps_fetched else 2
    return layers * layer + head + (layer + head if setup.lora is None else 0.0)
