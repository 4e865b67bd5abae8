"""The base model, its tokenizer and its adapter: transformers', bitsandbytes' and PEFT's corner.

Weights come from safetensors alone unless the recipe says otherwise: a pickle in a model folder is a program.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sftrun import builtin
from sftrun.contract.choices import Dtype
from sftrun.contract.jobspec import AdapterSpec, JobSpec, LoraSpec, ModelSpec, QuantizationSpec
from sftrun.contract.stepplan import StepPlan
from sftrun.disk import adapter_files
from sftrun.job.failures import DENIED, JobFailure, translate
from sftrun.job.train import arguments

# of what is free on a GPU: the rest is for what an answer's tokens leave behind
FREE = 0.9


def locate(model: ModelSpec) -> str:
    """A folder of this machine, or the Hub's id."""
    name = model.name_or_path
    if not name.startswith(builtin.PREFIX):
        return name
    try:
        return str(builtin.path(name))
    except KeyError:
        raise JobFailure(
            "model", f"no model {name} ships with this version", f"use one of {', '.join(builtin.NAMES)}"
        ) from None


def has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def auto_tokenizer(model: ModelSpec) -> Any:
    """The tokenizer as transformers chooses it."""
    from transformers import AutoTokenizer

    name = locate(model)
    return said(
        f"the tokenizer of {name}",
        lambda: AutoTokenizer.from_pretrained(name, revision=model.revision, trust_remote_code=model.trust_remote_code),
    )


def load_model(
    model: ModelSpec,
    quantization: QuantizationSpec | None,
    step: StepPlan,
    *,
    is_whole: bool = False,
    room: dict[int | str, int] | None = None,
) -> Any:
    """The base model on its device, quantised if asked; where `step` shards it, as `sharded` wants to have it.

    `is_whole`: it is to answer, and nobody shards it.  `room`: bytes of each device; the layers are then laid out over
    them, and each computes where it lies.
    """
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    name = locate(model)
    require_folder(name, needs_safetensors=model.use_safetensors)
    is_sharded = step.sharding == "fsdp" and not is_whole
    if step.attention == "varlen":
        from sftrun.job.fast import attention

        attention.register()
    options: dict[str, Any] = {
        "revision": model.revision,
        "dtype": model.dtype,
        "attn_implementation": step.attention,
        "trust_remote_code": model.trust_remote_code,
        "use_safetensors": model.use_safetensors or None,
        "device_map": "auto" if room else _device_map(quantization, is_sharded),
        "max_memory": room,
    }
    if quantization is not None:
        options["quantization_config"] = BitsAndBytesConfig(
            **arguments.bnb_config(quantization, step if is_sharded else None)
        )
    loaded = said(f"the model {name}", lambda: AutoModelForCausalLM.from_pretrained(name, **options))
    if room and "disk" in getattr(loaded, "hf_device_map", {}).values():
        free = sum(room.values()) / 1e9
        raise JobFailure("out_of_memory", f"{name} does not fit into the {free:.1f} GB that are free", "free more")
    _keep_trainable(loaded)
    return loaded


def room(spec: JobSpec) -> dict[int | str, int] | None:
    """What the GPUs have free over which a model is to answer that fits none whole; None where one is enough.

    4-bit weights were whole on each GPU when training began.
    """
    import torch

    gpus = min(spec.gpu_count, torch.cuda.device_count())
    if spec.step.sharding != "fsdp" or spec.quantization is not None or gpus < 2:
        return None
    return {gpu: int(FREE * torch.cuda.mem_get_info(gpu)[0]) for gpu in range(gpus)}


def load_tuned(spec: JobSpec, base: Any) -> Any:
    """The result of a run: its adapter on `base`, or the model that it saved."""
    if spec.lora is None:
        tuned = spec.model.model_copy(update={"name_or_path": spec.output_dir, "revision": None})
        return load_model(tuned, spec.quantization, spec.step, is_whole=True, room=room(spec))
    from peft import PeftModel

    if not (Path(spec.output_dir) / "adapter_model.safetensors").is_file():
        raise JobFailure("model", f"{spec.output_dir} holds no adapter_model.safetensors", "train it to the end first")
    return said(f"the adapter {spec.output_dir}", lambda: PeftModel.from_pretrained(base, spec.output_dir))


def with_adapter(base: Any, adapter: AdapterSpec, lora: LoraSpec) -> Any:
    """An adapter on `base`, to be trained on; its content is what the plan was made for."""
    from peft import LoraConfig, PeftModel

    folder = Path(adapter.folder)
    try:
        found = adapter_files.content(folder)
    except OSError as error:
        gone = f"the adapter to go on from is gone: {error.filename}"
        raise JobFailure("model", gone, "restore it, or name another") from None
    if found != adapter.sha256:
        raise JobFailure(
            "model", f"the adapter in {folder} has changed since the run was planned", "apply the recipe again"
        )
    config = LoraConfig.from_pretrained(str(folder))
    config.lora_dropout = lora.lora_dropout
    return said(
        f"the adapter {folder}",
        lambda: PeftModel.from_pretrained(base, str(folder), is_trainable=True, config=config),
    )


def lora_config(lora: LoraSpec) -> Any:
    from peft import LoraConfig

    return LoraConfig(**arguments.lora_config(lora))


def count_parameters(model: Any) -> tuple[int, int]:
    """(all, trainable), as PEFT counts: a byte of 4-bit weights holds two."""
    trainable = total = 0
    for parameter in model.parameters():
        count = parameter.numel()
        if type(parameter).__name__ == "Params4bit":
            count *= 2 * parameter.element_size()
        total += count
        trainable += count if parameter.requires_grad else 0
    return total, trainable


def widen_trained(model: Any) -> None:
    """In 32 bits what is trained: fp16's loss scaler takes no gradients in 16, and TRL makes QLoRA's adapters bf16."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def cast_adapters(model: Any, dtype: Dtype) -> None:
    """Adapters as the plan wants them: TRL makes them bf16 over quantised weights.  DoRA's magnitudes stay wide."""
    import torch

    for name, parameter in model.named_parameters():
        if parameter.requires_grad and ("lora_A" in name or "lora_B" in name or "lora_embedding" in name):
            parameter.data = parameter.data.to(getattr(torch, dtype))


def require_optimizer(spec: JobSpec) -> None:
    """Paged optimisers live in CUDA's unified memory."""
    if "paged" in spec.trainer.optim and not has_gpu():
        better = spec.trainer.optim.replace("paged_", "")
        raise JobFailure("error", f"`trainer.optim` {spec.trainer.optim} needs a GPU", f"set `trainer.optim: {better}`")


def _keep_trainable(model: Any) -> None:
    """Forbid bitsandbytes to repack 4-bit weights when a CPU with AVX512-BF16 first evaluates.

    The repacked form has no backward pass: a sample or an evaluation would end the training that follows it.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _device_map(quantization: QuantizationSpec | None, is_sharded: bool) -> dict[str, Any] | None:
    if is_sharded and quantization is None:  # the first process reads the weights, the others get their shares
        return {"": "cpu" if os.environ.get("LOCAL_RANK", "0") == "0" else "meta"}
    if has_gpu():
        return {"": int(os.environ.get("LOCAL_RANK", "0"))}
    return {"": "cpu"} if quantization is not None else None


def require_folder(name: str, *, needs_config: bool = True, needs_safetensors: bool = False) -> None:
    """A folder is looked at before it is loaded: transformers would take a missing one for a Hub id."""
    if not os.path.isabs(name):
        return
    folder = Path(name)
    if not folder.is_dir():
        raise JobFailure("model", f"no model folder at {name}", "check `model.name_or_path`")
    if needs_config and not (folder / "config.json").is_file():
        raise JobFailure("model", f"{name} holds no config.json: it is no model folder", "check `model.name_or_path`")
    if needs_safetensors and not any(folder.glob("*.safetensors")):
        raise JobFailure(
            "model", f"{name} holds no safetensors weights", "convert them: no pickle is loaded from a model folder"
        )


def said(what: str, load: Callable[[], Any]) -> Any:
    """Run `load`; whatever a broken file makes a library raise becomes one sentence about the model."""
    try:
        return load()
    except Exception as error:
        failure = translate(error)
        if isinstance(error, OSError) and error.errno in DENIED:
            raise JobFailure(
                "model", f"can't read {error.filename}: {DENIED[error.errno]}", "check its rights"
            ) from error
        if failure.kind != "error":
            raise failure from error
        raise JobFailure(
            "model", f"can't load {what}: {failure.message}", "check its files; download or copy them again"
        ) from error
