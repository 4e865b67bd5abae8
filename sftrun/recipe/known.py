"""Names that a recipe may use and that others decide: GPUs of Modal, folders of its containers, forms of names.

Small constants on purpose: the catalog with memory and prices belongs to `facts`, and a test holds the two together.
"""

import re
from functools import cache
from pathlib import Path

GPUS = (
    "T4",
    "L4",
    "A10",
    "A10G",
    "L40S",
    "A100",
    "A100-40GB",
    "A100-80GB",
    "RTX-PRO-6000",
    "H100",
    "H100!",
    "H200",
    "B200",
    "B200+",
    "B300",
)
MOST_GPUS = 8
FEWER_GPUS = {"A10": 4, "A10G": 4}
MOST_NODES = 32  # of a cluster (modal.com/docs/guide/multi-node-clusters)
# no bfloat16 and no FlashAttention; Hopper alone has FlashAttention 3
NO_BF16 = frozenset({"T4"})
HOPPER = frozenset({"H100", "H100!", "H200"})
USUAL_RATE, USUAL_RATE_OF_ALL = 2e-4, 2e-5  # learning rates of adapters, and where all weights are trained

# Modal refuses the first three; the rest is the container's system, or Modal's own
# of two keys that say the same, `--set` of one takes the other's place
EXCLUSIVE = (
    ("trainer.max_steps", "trainer.num_train_epochs"),
    ("trainer.warmup_steps", "trainer.warmup_ratio"),
    ("trainer.eval_steps", "trainer.evals_per_epoch"),
    ("trainer.save_steps", "trainer.saves_per_epoch"),
    ("trainer.bf16", "trainer.fp16"),
    ("quantization.load_in_4bit", "quantization.load_in_8bit"),
    ("dataset.eval", "dataset.eval_fraction"),
)
NO_GPU = ("none", "cpu", "no", "null", "false", "~", "")  # what people write for a CPU
FORBIDDEN_MOUNTS = ("/", "/root", "/tmp")
SYSTEM_FOLDERS = (
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/pkg",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var",
    "/__modal",
)

OBJECT_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")
TAG_KEY = re.compile(r"[A-Za-z0-9._-]{1,63}")
TAG_VALUE = re.compile(r"[A-Za-z0-9._-]{1,63}")
COMMIT = re.compile(r"[0-9a-f]{40}")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"(\d{1,9})\s*([smhd]?)", re.IGNORECASE)
MEMORY = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(MiB|GiB|TiB|MB|GB)", re.IGNORECASE)
TIMEOUT_SECONDS = (1, 86400)
# Modal refuses to guarantee more (as users quote its answer, 2026-11-26); a container takes what its machine has left
MOST_GIB, MOST_CORES = 336, 64


@cache
def sft_config() -> dict[str, dict[str, list[str]]]:
    """The generated table of the locked TRL's SFTConfig: `fields`, each with the kinds that it takes."""
    import json

    table = json.loads(Path(__file__).with_name("sftconfig.json").read_text("utf-8"))
    return {"fields": table["fields"], "names": {"schedules": table["schedules"], "optimizers": table["optimizers"]}}


# the short list that almost every recipe is done with, without reading the table
USUAL_SCHEDULES = frozenset({"linear", "cosine", "constant", "constant_with_warmup"})
USUAL_OPTIMIZERS = frozenset({"adamw_torch_fused", "adamw_torch", "adamw_8bit", "paged_adamw_8bit", "adamw_bnb_8bit"})
# which update weights that FSDP has sharded: bitsandbytes' and Adafactor end in an error (torch 2.13, 2026-11-26)
SHARDED_OPTIMIZERS = frozenset({"adamw_torch_fused", "adamw_torch", "sgd"})
# transformers' old words for FSDP that FSDP2 understands, and the options of `fsdp_config` that a run obeys
FSDP_WORDS = frozenset({"full_shard", "shard_grad_op", "auto_wrap"})
FSDP_WRAPS = ("TRANSFORMER_BASED_WRAP", "SIZE_BASED_WRAP")
FSDP_OPTIONS = (
    "version",
    "reshard_after_forward",
    "auto_wrap_policy",
    "transformer_layer_cls_to_wrap",
    "min_num_params",
    "cpu_offload",
)


def rate(written: float | str, *, is_full: bool) -> float:
    """The learning rate; the method's usual one where the recipe leaves it open."""
    if not isinstance(written, str):
        return written
    return USUAL_RATE_OF_ALL if is_full else USUAL_RATE
