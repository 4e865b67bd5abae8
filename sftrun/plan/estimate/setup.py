"""What memory and time are computed from: the model's shapes and the settings that matter to them, in one value."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from sftrun.contract.jobspec import LoraSpec, ModelSpec, QuantizationSpec, TrainerSpec
from sftrun.facts.values import Linear, ModelFacts
from sftrun.step import heads

# the code that runs a step; each has its own kernels, and so its own memory and speed
Stack = Literal["eager", "fused", "liger", "compiled", "unsloth"]
Sharding = Literal["one", "ddp", "fsdp"]
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}


class Setup(NamedTuple):
    """A model under a recipe's settings on one GPU of `gpus`, which are all of `nodes` machines."""

    model: ModelFacts
    spec: ModelSpec
    trainer: TrainerSpec
    quantization: QuantizationSpec | None
    lora: LoraSpec | None
    gpus: int = 1
    nodes: int = 1

    @property
    def stack(self) -> Stack:
        return stack_of(self.trainer, self.spec)

    @property
    def sharding(self) -> Sharding:
        if self.gpus <= 1:
            return "one"
        return "fsdp" if self.trainer.fsdp else "ddp"

    @property
    def keeps_fetched(self) -> bool:
        """Whether FSDP's layers stay whole from the forward pass to the backward one (ZeRO-2, `shard_grad_op`)."""
        written, options = self.trainer.extra.get("fsdp"), self.trainer.extra.get("fsdp_config")
        given = options if isinstance(options, dict) else {}
        asked = given.get("reshard_after_forward", given.get("fsdp_reshard_after_forward"))
        return not asked if asked is not None else "shard_grad_op" in str(written).split()

    @property
    def wants_rdma(self) -> bool:
        return wants_rdma(self.lora)

    @property
    def fuses_lora(self) -> bool:
        """Whether LoRA's products ride in the frozen weights' (`job.fast.fused_lora`): plain LoRA, our attention."""
        if self.lora is None or self.trainer.engine != "trl" or self.spec.attn_implementation != "varlen":
            return False
        if self.sharding == "fsdp":
            return False
        return not self.lora.lora_dropout and not self.lora.use_dora and self.lora.bias == "none"

    @property
    def trains_head(self) -> bool:
        return self.lora is None or "lm_head" in self.lora.modules_to_save

    @property
    def makes_logits_once(self) -> bool:
        """Whether the loss is `job.fast.head_kernels`': of a frozen head in bfloat16, with nothing between the two."""
        in_bfloat16 = self.spec.dtype == "bfloat16" and not self.trainer.fp16
        if self.trainer.engine != "trl" or self.trains_head or not in_bfloat16:
            return False
        return not self.model.scaled_logits and heads.is_aligned(self.model.vocab_size)

    @property
    def bits(self) -> int:
        return bits_of(self.quantization, self.spec)

    @property
    def is_quantized(self) -> bool:
        return self.bits < 16

    @property
    def weight_bytes(self) -> int:
        return BYTES[self.spec.dtype]

    @property
    def activation_bytes(self) -> int:
        """Autocast computes in 16 bits, also over 32-bit weights."""
        return 2 if self.trainer.bf16 or self.trainer.fp16 else self.weight_bytes

    @property
    def adapter_bytes(self) -> int:
        """PEFT makes adapters fp32 (autocast_adapter_dtype); TRL casts them to bf16 over quantised weights.

        Unsloth keeps them fp32, and the loss scaler of fp16 needs them so.
        """
        return 2 if self.is_quantized and self.trainer.engine == "trl" and not self.trainer.fp16 else 4

    @property
    def linear_parameters(self) -> int:
        return sum(x.in_features * x.out_features * x.count for x in self.model.linears)

    @property
    def active_linear_parameters(self) -> float:
        """Those that one token passes: of experts, the chosen ones."""
        return sum(x.in_features * x.out_features * used(self.model, x) for x in self.model.linears)

    @property
    def head_parameters(self) -> int:
        return self.model.vocab_size * self.model.hidden_size

    @property
    def targets(self) -> tuple[Linear, ...]:
        """Linear layers that get an adapter; none under full fine-tuning."""
        if self.lora is None:
            return ()
        return tuple(x for x in self.model.linears if _is_target(x, self.lora.target_modules) and not x.expert)

    @property
    def adapter_parameters(self) -> int:
        """r × (in + out) each (LoRA, sec. 4.1); DoRA adds a magnitude for each output."""
        if self.lora is None:
            return 0
        extra = sum(x.out_features * x.count for x in self.targets) if self.lora.use_dora else 0
        return self.lora.r * sum((x.in_features + x.out_features) * x.count for x in self.targets) + extra

    @property
    def saved_modules_parameters(self) -> int:
        """Modules trained in full beside the adapter (`modules_to_save`)."""
        wanted = set(self.lora.modules_to_save) if self.lora is not None else set()
        linears = sum(x.in_features * x.out_features * x.count for x in self.model.linears if x.name in wanted)
        others = (o for o in self.model.others if o.path.rpartition(".")[2] in wanted)
        return linears + sum((o.parameters or (o.shape[0] * o.shape[1] if o.shape else 0)) * o.count for o in others)

    @property
    def trainable_parameters(self) -> int:
        if self.lora is None:
            return self.model.parameters
        return self.adapter_parameters + self.saved_modules_parameters

    @property
    def trainable_bytes(self) -> int:
        """Of one trained parameter; FSDP keeps weights that are computed in 16 bits in 32."""
        if self.lora is not None:
            return self.adapter_bytes
        return 4 if self.sharding == "fsdp" and self.activation_bytes == 2 else self.weight_bytes

    def trains(self, names: tuple[str, ...]) -> bool:
        """Whether any linear layer of these names needs its input for a gradient."""
        if self.lora is None:
            return True
        return any(x.name in names for x in self.targets)


def stack_of(trainer: TrainerSpec, spec: ModelSpec) -> Stack:
    """The code that runs a step: `fused` has LoRA's products joined, which FSDP leaves PEFT's, but plain layers."""
    if trainer.engine == "unsloth":
        return "unsloth"
    if trainer.compile_layers:
        return "compiled"
    if trainer.use_liger_kernel:
        return "liger"
    if trainer.fsdp:
        return "eager"
    return "fused" if spec.attn_implementation == "varlen" or trainer.dequantize else "eager"


def wants_rdma(lora: LoraSpec | None) -> bool:
    """Whether machines exchange so much that it pays to wait for such as have RDMA: all weights' gradients."""
    return lora is None


def bits_of(quantization: QuantizationSpec | None, spec: ModelSpec) -> int:
    """Bits of a linear layer's weight."""
    if quantization is not None and quantization.load_in_4bit:
        return 4
    if quantization is not None and quantization.load_in_8bit:
        return 8
    return 8 * BYTES[spec.dtype]


def used(model: ModelFacts, linear: Linear) -> float:
    """How many of these layers one token passes."""
    if not linear.expert or not model.experts:
        return float(linear.count)
    return linear.count * model.experts_per_token / model.experts


def per_layer(setup: Setup) -> Iterator[tuple[Linear, float]]:
    """Each linear layer with how many of it one token passes in one decoder layer."""
    for linear in setup.model.linears:
        yield linear, used(setup.model, linear) / max(setup.model.layers, 1)


def _is_target(linear: Linear, targets: tuple[str, ...] | str) -> bool:
    if targets == "all-linear":
        return True
    if isinstance(targets, str):
        return re.fullmatch(targets, linear.path or linear.name) is not None
    return any(linear.name == t or linear.path.endswith(f".{t}") for t in targets)
