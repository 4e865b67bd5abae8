"""What memory and time are computed from: the model's shapes and the settings that matter to them, in one value."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from sftrun.contract.choices import EngineName
from sftrun.contract.engines import Engine
from sftrun.contract.jobspec import LoraSpec, ModelSpec, QuantizationSpec, TrainerSpec
from sftrun.contract.stepplan import StepPlan
from sftrun.facts.values import Linear, ModelFacts
from sftrun.plan import peft_names
from sftrun.plan.targets import Reached, reach
from sftrun.step import compiling, heads, layout

# the code that runs a step; each has its own kernels, and so its own memory and speed
Stack = Literal["eager", "fused", "liger", "compiled"] | EngineName
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}


class Target(NamedTuple):
    """Linear layers of one group with an adapter: `modules` of them, `ranks` the sum of their ranks."""

    name: str
    in_features: int
    out_features: int
    modules: int
    ranks: int

    @property
    def rank(self) -> float:
        """Of one, on average."""
        return self.ranks / self.modules


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
    def casts_weights(self) -> bool:
        """Whether autocast copies 32-bit weights into 16 for each product; FSDP does it while it fetches them."""
        is_wide = self.weight_bytes > self.activation_bytes and not self.is_quantized
        return is_wide and self.step.sharding != "fsdp"

    @property
    def stream_bytes(self) -> int:
        """Of what goes from layer to layer: embeddings in 32 bits begin it so, and norms keep it."""
        return self.weight_bytes if self.casts_weights else self.activation_bytes

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
    def targets(self) -> tuple[Target, ...]:
        """Linear layers that get an adapter; none under full fine-tuning."""
        lora = self.lora
        if lora is None:
            return ()
        found = (_target(x, lora) for x in self.model.linears if not x.expert)
        return tuple(target for target in found if target is not None)

    @property
    def adapter_parameters(self) -> int:
        """r × (in + out) each (LoRA, sec. 4.1); DoRA adds a magnitude for each output."""
        targets = self.targets
        extra = sum(x.out_features * x.modules for x in targets) if self.lora is not None and self.lora.use_dora else 0
        modules = sum(x.ranks * (x.in_features + x.out_features) for x in targets) + extra
        return modules + sum(x.r * (x.in_features + x.out_features) * x.modules for x in self.stacked)

    @property
    def stacked(self) -> tuple[Reached, ...]:
        """Experts with adapters: each pass adds them to all of a layer's weights anew."""
        if self.lora is None or not self.model.experts:
            return ()
        return tuple(group for group in reach(self.lora, self.model).reached if group.expert)

    @property
    def stacked_bytes(self) -> int:
        """Of the weights that they are added to."""
        return sum(x.in_features * x.out_features * x.modules for x in self.stacked) * self.weight_bytes

    @property
    def saved_modules_parameters(self) -> int:
        """Modules trained in full beside the adapter (`modules_to_save`)."""
        names = self.lora.modules_to_save if self.lora is not None else ()
        if self.lora is not None and self.lora.ensure_weight_tying and self.model.tie_word_embeddings:
            names = peft_names.tied_saved(names, self.model.others)
        wanted = {name.rpartition(".")[2] for name in names}
        linears = sum(x.in_features * x.out_features * x.count for x in self.model.linears if x.name in wanted)
        others = (o for o in self.model.others if o.path.rpartition(".")[2] in wanted)
        return linears + sum((o.parameters or (o.shape[0] * o.shape[1] if o.shape else 0)) * o.count for o in others)

    @property
    def trainable_parameters(self) -> int:
        if self.lora is None:
            return self.model.parameters
        return self.adapter_parameters + self.saved_modules_parameters + self.token_parameters

    @property
    def token_parameters(self) -> int:
        """Rows of embedding and head that are trained beside the adapter, of `dataset.add_tokens`."""
        added = self.lora.added_tokens if self.lora is not None else 0
        return added * self.model.hidden_size * (1 if self.model.tie_word_embeddings else 2)

    @property
    def trained_bytes(self) -> int:
        """Of all that is trained."""
        if self.lora is None:
            return self.model.parameters * self.own_bytes
        adapters = self.adapter_parameters + self.token_parameters
        return adapters * self.adapter_bytes + self.saved_modules_parameters * self.own_bytes

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


def per_layer(setup: Setup) -> Iterator[tuple[Target, float]]:
    """Each linear layer with an adapter, and how many of it one decoder layer has."""
    for target in setup.targets:
        yield target, target.modules / max(setup.model.layers, 1)


def _target(linear: Linear, lora: LoraSpec) -> Target | None:
    count, ranks = _reached(linear, lora)
    return Target(linear.name, linear.in_features, linear.out_features, count, ranks) if count else None


def _reached(linear: Linear, lora: LoraSpec) -> tuple[int, int]:
    """(layers with an adapter, the sum of their ranks)."""
    targets = ".*" if lora.target_modules == peft_names.ALL_LINEAR else lora.target_modules
    if not linear.path or _is_by_name(lora):  # asked for each estimate: a name is quicker than all paths
        is_target = peft_names.matches(linear.name, targets)
        return (linear.count, linear.count * peft_names.rank(lora, linear.name)) if is_target else (0, 0)
    ranks = [peft_names.rank(lora, x) for x in peft_names.paths(linear) if peft_names.is_target(lora, x, targets)]
    return len(ranks), sum(ranks)


def _is_by_name(lora: LoraSpec) -> bool:
    """Whether the last part of a module's name decides."""
    narrowed = lora.exclude_modules or lora.layers_to_transform or lora.rank_pattern or lora.modules_to_save
    targets = lora.target_modules
    return not narrowed and (targets == peft_names.ALL_LINEAR or not any("." in name for name in targets))
