"""A small model in a folder, whole or damaged, as the tests of models have it."""

import json
import struct
from pathlib import Path
from typing import Any

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 50,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 128,
}
LAYER = {
    "self_attn.q_proj": [8, 8],
    "self_attn.k_proj": [8, 8],
    "self_attn.v_proj": [8, 8],
    "self_attn.o_proj": [8, 8],
    "mlp.gate_proj": [16, 8],
    "mlp.up_proj": [16, 8],
    "mlp.down_proj": [8, 16],
    "input_layernorm": [8],
    "post_attention_layernorm": [8],
}
TENSORS = {"model.embed_tokens.weight": [50, 8], "model.norm.weight": [8], "lm_head.weight": [50, 8]} | {
    f"model.layers.{layer}.{name}.weight": shape for layer in range(2) for name, shape in LAYER.items()
}
PARAMETERS = 2 * 50 * 8 + 8 + 2 * (4 * 64 + 3 * 128 + 16)


def safetensors(tensors: dict[str, list[int]]) -> bytes:
    """A file as the library writes it, all zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in tensors.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def save(folder: Path, tensors: dict[str, list[int]] = TENSORS, config: dict[str, Any] = CONFIG) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(safetensors(tensors))
    return folder


def shard(folder: Path) -> None:
    """The weights in two files, with their index."""
    names = list(TENSORS)
    files = {"model-1-of-2.safetensors": names[:9], "model-2-of-2.safetensors": names[9:]}
    for file, part in files.items():
        (folder / file).write_bytes(safetensors({name: TENSORS[name] for name in part}))
    weight_map = {name: file for file, part in files.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


# case -> (file, what stands in it or None where it is missing, kind of the problem)
BROKEN: dict[str, tuple[str | None, bytes | None, str]] = {
    "no config": ("config.json", None, "missing"),
    "an empty config": ("config.json", b"", "malformed"),
    "a config that is a list": ("config.json", b"[]", "malformed"),
    "a config that is no text": ("config.json", b"\xff\xfe\x00", "malformed"),
    "a config that nests without end": ("config.json", b"[" * 100_000, "malformed"),
    "no weights": ("model.safetensors", None, "missing"),
    "empty weights": ("model.safetensors", b"", "malformed"),
    "seven bytes": ("model.safetensors", b"1234567", "malformed"),
    "a huge header": ("model.safetensors", b"\xff" * 20, "malformed"),
    "a header cut short": ("model.safetensors", safetensors(TENSORS)[:100], "malformed"),
    "weights cut short": ("model.safetensors", safetensors(TENSORS)[:-1], "malformed"),
    "a header of no tensors": ("model.safetensors", safetensors({}), "malformed"),
    "a header of other things": ("model.safetensors", struct.pack("<Q", 9) + b'{"a": [1]}'[:9], "malformed"),
    "a pickle by that name": ("model.safetensors", b"\x80\x04\x95" + bytes(50), "malformed"),
    "an index that leads out": (
        "model.safetensors.index.json",
        json.dumps({"weight_map": {"a": "../../etc/passwd"}}).encode(),
        "malformed",
    ),
    "an index of missing files": ("model.safetensors.index.json", b'{"weight_map": {"a": "b.safetensors"}}', "missing"),
}
