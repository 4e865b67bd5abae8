"""How a step was computed by the job of version 1, which decided it itself: the same as a `step`, for older records.

What is written here is history and does not change with `sftrun.step`.
"""

from typing import Any, Final

Told = dict[str, Any]
_MOVED: Final[Told] = {
    "padding_free": False,
    "gradient_checkpointing": False,
    "use_liger_kernel": False,
    "compile_layers": False,
    "dequantize": False,
    "record_graphs": False,
    "cuda_graphs": False,  # as the last of version 1 called them
    "fsdp": False,
}
_PACKING: Final = {"packing_strategy", "eval_packing", "shuffle_dataset", "dataset_kwargs", "packing", "max_length"}


def with_step(told: Told, gpus: int) -> Told:
    """A job's or a plan's sections with what version 1 had in `trainer` and `model` in `step`; `gpus`: of all machines.

    What has no such sections comes back as it is.
    """
    if not all(isinstance(told.get(name), dict) for name in ("model", "trainer")):
        return told
    old = {name: told["trainer"].get(name, default) for name, default in _MOVED.items()}
    old["attention"] = told["model"].get("attn_implementation", "sdpa")
    trainer = {name: value for name, value in told["trainer"].items() if name not in _MOVED}
    model = {name: value for name, value in told["model"].items() if name != "attn_implementation"}
    new = {**told, "trainer": trainer, "model": model}
    return {**new, "step": _step(new, old, gpus)}


def _step(told: Told, old: Told, gpus: int) -> Told:
    trainer = told["trainer"]
    extra, packs = trainer.get("extra") or {}, trainer.get("packing", False)
    reason, is_fast = _unfused_because(told, old), _is_fast(told, old)
    if not gpus and not (old["compile_layers"] or old["dequantize"]):
        reason = reason or "without a GPU they gain nothing"
    return {
        "attention": old["attention"],
        "has_varlen_kernel": old["attention"] == "varlen" and gpus > 0 and not trainer.get("fp16"),
        "layout": "packed" if packs else "padding_free" if old["padding_free"] else "padded",
        "packed_by": ("trl" if _PACKING & extra.keys() else "sftrun") if packs else None,
        "pad_to_multiple_of": extra.get("pad_to_multiple_of") or _multiple(trainer, old, gpus),
        "fused_lora": bool(told.get("lora")) and is_fast and reason is None,
        "unfused_because": reason if told.get("lora") and is_fast else None,
        "dequantized": old["dequantize"],
        "compiled": old["compile_layers"],
        "liger": old["use_liger_kernel"],
        "checkpointing": _checkpointing(trainer, old),
        "cuda_graphs": old["record_graphs"] or old["cuda_graphs"],
        "head": "learnt" if _is_trl(trainer) else "trl",
        "sharding": "one" if gpus <= 1 else "fsdp" if old["fsdp"] else "ddp",
        "keeps_fetched": old["fsdp"] and _keeps_fetched(extra),
        "precision": _precision(told, old),
    }


def _is_trl(trainer: Told) -> bool:
    return bool(trainer.get("engine", "trl") == "trl")


def _is_fast(told: Told, old: Told) -> bool:
    is_fast = old["compile_layers"] or old["dequantize"] or old["attention"] == "varlen"
    return _is_trl(told["trainer"]) and bool(is_fast)


def _autocast(trainer: Told) -> str | None:
    return "bfloat16" if trainer.get("bf16", True) else "float16" if trainer.get("fp16") else None


def _unfused_because(told: Told, old: Told) -> str | None:
    lora, quantization = told.get("lora") or {}, told.get("quantization") or {}
    weights = told["model"].get("dtype", "bfloat16")
    if quantization.get("load_in_4bit"):
        weights = quantization.get("bnb_4bit_compute_dtype", "bfloat16")
    step = _autocast(told["trainer"]) or weights
    reasons = {
        "`lora_dropout` is above 0": lora.get("lora_dropout", 0) > 0,
        "`use_dora` scales each output": lora.get("use_dora"),
        "`bias` trains the frozen layers' biases": lora.get("bias", "none") != "none",
        "8-bit weights are bitsandbytes' own": quantization.get("load_in_8bit"),
        "the weights are sharded": old["fsdp"],
        f"the weights compute in {weights}, the step in {step}": weights != step,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _multiple(trainer: Told, old: Told, gpus: int) -> int | None:
    if not gpus or not old["compile_layers"] or not _is_trl(trainer):
        return None
    if trainer.get("packing"):
        return int(trainer.get("per_device_train_batch_size", 8) * trainer.get("max_length", 1024))
    return 256 if old["padding_free"] else None


def _checkpointing(trainer: Told, old: Told) -> str:
    if not old["gradient_checkpointing"]:
        return "none"
    return "offloaded" if not _is_trl(trainer) else "compiler" if old["compile_layers"] else "transformers"


def _keeps_fetched(extra: Told) -> bool:
    options = extra.get("fsdp_config")
    given = options if isinstance(options, dict) else {}
    asked = given.get("reshard_after_forward", given.get("fsdp_reshard_after_forward"))
    return not asked if asked is not None else "shard_grad_op" in str(extra.get("fsdp")).split()


def _precision(told: Told, old: Told) -> Told:
    lora, quantization = told.get("lora"), told.get("quantization") or {}
    dtype, autocast = told["model"].get("dtype", "bfloat16"), _autocast(told["trainer"])
    in_4bit, in_8bit = quantization.get("load_in_4bit"), quantization.get("load_in_8bit")
    is_narrowed = (in_4bit or in_8bit) and _is_trl(told["trainer"]) and autocast != "float16"
    is_widened = autocast == "float16" or (old["fsdp"] and autocast is not None and not in_4bit)
    trained = "bfloat16" if is_narrowed else "float32" if is_widened else dtype
    trains_own = lora is None or lora.get("modules_to_save") or lora.get("bias", "none") != "none"
    return {
        "step": autocast or dtype,
        "adapters": None if lora is None else "bfloat16" if is_narrowed else "float32",
        "trained": trained if trains_own else None,
    }
