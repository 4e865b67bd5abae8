"""What memory and time are computed from: the model's shapes and the settings that matter to them, in one value."""

import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from sftrun.contract.choices import EngineName
from sftrun.contract.engines import Engine
from sftrun.contract.jobspec import LoraSpec, ModelSpec, QuantizationSpec, TrainerSpec
from sftrun.contract.stepplan import StepPlan
from sftrun.facts.values import Linear, ModelFacts
from sftrun.step import compiling, heads, layout

# the code that runs a step; each has its own kernels, and so its own memory and speed
Stack = Literal["eager", "fused", "liger", "compiled"] | EngineName
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}


class Setup(NamedTuple):
    """A model under a recipe's settings on one GPU of `gpus`, which are all of `nodes` machines."""

    model: ModelFacts
    spec: ModelSpec
    trainer: TrainerSpec
    quantization: QuantizationSpec | None
    lora: LoraSpec | None
    step: StepPlan
    gpus: int = 1
    nodes: int = 1

    def training(self, **changes: object) -> "Setup":
        """The same with other settings of the trainer."""
        return self._replace(trainer=self.trainer.model_copy(update=changes)).computing()

    def computing(self, *, checkpointed: bool | None = None, **changes: object) -> "Setup":
        """The same with steps computed otherwise, and what follows from it."""
        known, engine = self.step.model_copy(update=changes), self.trainer.library
        is_checkpointed = known.checkpointing != "none" if checkpointed is None else checkpointed
        update: dict[str, Any] = {"checkpointing": compiling.checkpointing(is_checkpointed, engine, known.compiled)}
        update["pad_to_multiple_of"] = layout.multiple(
            self.trainer, known.layout, compiled=known.compiled, has_gpu=True
        )
        return self._replace(step=known.model_copy(update=update))

    @property
    def stack(self) -> Stack:
        return stack_of(self.step, self.trainer.library)

    @property
    def wants_rdma(self) -> bool:
        return wants_rdma(self.lora)

    @property
    def trains_head(self) -> bool:
        return heads.trains_head(self.lora)

    @property
    def is_checkpointed(self) -> bool:
        return self.step.checkpointing != "none"

    @property
    def is_masked(self) -> bool:
        """Whether a mask keeps rows of one sequence apart, so that attention computes the whole square."""
        in_mask = self.step.attention in ("sdpa", "eager", "varlen") and not self.step.has_varlen_kernel
        return self.step.layout == "padded" or in_mask

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
        return BYTES[self.step.precision.step]

    @property
    def adapter_bytes(self) -> int:
        """Of one weight of an adapter."""
        return BYTES[self.step.precision.adapters or "float32"]

    @property
    def own_bytes(self) -> int:
        """Of one trained weight of the model's own."""
        return BYTES[self.step.precision.trained or self.spec.dtype]

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
    def trained_bytes(self) -> int:
        """Of all that is trained."""
        if self.lora is None:
            return self.model.parameters * self.own_bytes
        return self.adapter_parameters * self.adapter_bytes + self.saved_modules_parameters * self.own_bytes

    def trains(self, names: tuple[str, ...]) -> bool:
        """Whether any linear layer of these names needs its input for a gradient."""
        if self.lora is None:
            return True
        return any(x.name in names for x in self.targets)


def stack_of(step: StepPlan, engine: Engine) -> Stack:
    """The code that runs a step: `fused` has plain layers, and no adapter of PEFT's in them."""
    if not engine.runs_our_step:
        return engine.name
    if step.compiled:
        return "compiled"
    if step.liger:
        return "liger"
    has_no_adapter = step.precision.adapters is None and step.attention == "varlen" and step.sharding != "fsdp"
    return "fused" if step.fused_lora or has_no_adapter else "eager"


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
