"""LoRA's products fused with the frozen ones: whether they can be, which projections share one, and how wide it is.

The job computes them so (`job.fast.fused_lora`), and the plan counts their work.
"""

from collections.abc import Iterator
from typing import Final

from sftrun.contract.choices import Dtype
from sftrun.contract.jobspec import LoraSpec, QuantizationSpec, TrainerSpec
from sftrun.contract.stepplan import StepPlan
from sftrun.step.given import Machine, Settings
from sftrun.step.precision import autocast

SIBLINGS: Final = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
COLUMN_STEP: Final = 64  # columns are filled up to a multiple: 128 bytes, a row's start is aligned
BLOCK: Final = 64  # 4-bit weights to a scale


def columns(inputs: int, rank: int) -> int:
    """Of a product over that many inputs, with `rank` columns of adapters beside them."""
    return -(-(inputs + rank) // COLUMN_STEP) * COLUMN_STEP


def stays_packed(inputs: int) -> bool:
    """Whether 4-bit weights of so many inputs can be unpacked for each product: scales end where rows do."""
    return inputs % BLOCK == 0


def unfused_because(given: Settings, machine: Machine) -> str | None:
    """Why LoRA's products stay PEFT's; None where they are fused, or where there is no LoRA."""
    return None if given.lora is None else next(_obstacles(given.lora, given, machine), None)


def can_dequantize(step: StepPlan, quantization: QuantizationSpec | None, trainer: TrainerSpec) -> bool:
    """Whether fused products can read a 16-bit copy of their 4-bit weights: the only code that would use it."""
    if quantization is None or not quantization.load_in_4bit or not step.compiled or not step.fused_lora:
        return False
    return quantization.bnb_4bit_compute_dtype == autocast(trainer)


def _obstacles(lora: LoraSpec, given: Settings, machine: Machine) -> Iterator[str]:
    if not given.trainer.library.runs_our_step:
        yield f"the {given.trainer.engine} engine has products of its own"
    if not (given.attention == "varlen" or given.compiled or given.dequantized):
        yield f"attention is `{given.attention}`, with which they were not measured"
    if lora.lora_dropout > 0:
        yield "`lora_dropout` is above 0"
    if lora.use_dora:
        yield "`use_dora` scales each output"
    if lora.bias != "none":
        yield "`bias` trains the frozen layers' biases"
    if given.quantization is not None and given.quantization.load_in_8bit:
        yield "8-bit weights are bitsandbytes' own"
    if given.sharded:
        yield "the weights are sharded"
    weights, step = _weights(given), autocast(given.trainer)
    if step not in (None, weights):
        yield f"the weights compute in {weights}, the step in {step}"
    if not machine.has_gpu and not (given.compiled or given.dequantized):
        yield "without a GPU they gain nothing"


def _weights(given: Settings) -> Dtype:
    """What the frozen layers compute in."""
    quantization = given.quantization
    in_4bit = quantization is not None and quantization.load_in_4bit
    return quantization.bnb_4bit_compute_dtype if quantization is not None and in_4bit else given.model.dtype
