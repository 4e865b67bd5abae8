"""Types: of a step, of adapters, of what is trained of the model itself."""

from sftrun.contract.choices import Dtype
from sftrun.contract.jobspec import LoraSpec, TrainerSpec
from sftrun.contract.stepplan import Precision
from sftrun.step.given import Model, Settings


def autocast(trainer: TrainerSpec) -> Dtype | None:
    """What products are computed in, where that is not the weights' own type."""
    return "bfloat16" if trainer.bf16 else "float16" if trainer.fp16 else None


def step_dtype(given: Settings) -> Dtype:
    """What activations are in."""
    return autocast(given.trainer) or given.model.dtype


def precision(given: Settings, model: Model) -> Precision:
    """What PEFT, TRL and accelerate make of the types written.

    PEFT makes adapters fp32 (`autocast_adapter_dtype`); TRL makes all that is trained bf16 over quantised weights, but
    not DoRA's magnitudes, and the job casts adapters back.  The loss scaler of fp16 takes no gradients in 16 bits, so
    the job widens what is trained.
    """
    trains_biases = given.lora is not None and given.lora.bias != "none" and model.has_biases
    trains_own = given.lora is None or bool(given.lora.modules_to_save) or trains_biases
    return Precision(
        step=step_dtype(given),
        adapters=None if given.lora is None else _adapters(given, given.lora),
        trained=_trained(given) if trains_own else None,
    )


def unmoved(learning_rate: float) -> float:
    """Above it no weight in bfloat16 moves: AdamW's step is the rate, less than half of what 8 bits tell apart there.

    From 2**e on they are 2**(e - 7) apart, so that a step below 2**(e - 8) is rounded away.
    """
    return 2.0**9 * learning_rate


def widens_trained(trainer: TrainerSpec) -> bool:
    """Whether the job casts what is trained to 32 bits."""
    return autocast(trainer) == "float16"


def _adapters(given: Settings, lora: LoraSpec) -> Dtype:
    asked, trainer = lora.autocast_adapter_dtype, given.trainer
    if asked is None or trainer.library.keeps_adapters_in_float32 or widens_trained(trainer):
        return "bfloat16" if _is_narrowed(given) else "float32"
    return "float32" if asked else "bfloat16" if _is_quantized(given) else given.model.dtype


def _trained(given: Settings) -> Dtype:
    if _is_narrowed(given):
        return "bfloat16"
    in_4bit = given.quantization is not None and given.quantization.load_in_4bit
    # FSDP's mixed precision keeps 32 bits of what it computes in 16, but beside 4-bit weights
    is_kept_wide = given.sharded and autocast(given.trainer) is not None and not in_4bit
    return "float32" if is_kept_wide or widens_trained(given.trainer) else given.model.dtype


def _is_quantized(given: Settings) -> bool:
    quantization = given.quantization
    return quantization is not None and (quantization.load_in_4bit or quantization.load_in_8bit)


def _is_narrowed(given: Settings) -> bool:
    trainer = given.trainer
    return _is_quantized(given) and not trainer.library.keeps_adapters_in_float32 and not widens_trained(given.trainer)
