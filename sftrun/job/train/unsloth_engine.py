"""`trainer.engine: unsloth`: its patched model and adapter; the rest of the job stays the same."""

from typing import Any

from sftrun.contract.jobspec import JobSpec
from sftrun.job.failures import JobFailure
from sftrun.job.train import arguments
from sftrun.job.train.loading import locate


def load(spec: JobSpec) -> Any:
    """The base model with its LoRA layers, as Unsloth makes them."""
    from unsloth import FastLanguageModel

    if spec.lora is None:
        raise JobFailure(
            "model", "the unsloth engine trains adapters only", "add a `lora` section, or set `trainer.engine: trl`"
        )
    quantization = spec.quantization
    base, _ = FastLanguageModel.from_pretrained(
        model_name=locate(spec.model),
        revision=spec.model.revision,
        max_seq_length=spec.trainer.max_length,
        load_in_4bit=quantization is not None and quantization.load_in_4bit,
        load_in_8bit=quantization is not None and quantization.load_in_8bit,
        trust_remote_code=spec.model.trust_remote_code,
        use_exact_model_name=True,
    )
    lora = arguments.lora_config(spec.lora)
    return FastLanguageModel.get_peft_model(
        base,
        **{
            key: lora[key]
            for key in ("r", "lora_alpha", "lora_dropout", "bias", "target_modules", "modules_to_save", "use_rslora")
        },
        use_gradient_checkpointing="unsloth" if spec.step.checkpointing == "offloaded" else False,
        random_state=spec.trainer.seed,
    )
