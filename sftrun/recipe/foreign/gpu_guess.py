"""A GPU to begin with, by the size that a model's name tells: `sftrun estimate-cost` knows better."""

import re
from typing import Any

from sftrun.contract import engines

# GB that are there for weights, gradients and optimiser; the rest is activations
_ROOM = (("L40S", 36), ("H100", 60), ("H200", 110), ("H200:2", 220), ("H200:4", 440), ("H200:8", 880))
_BILLIONS = re.compile(r"(?<![A-Za-z0-9.])([0-9]+(?:\.[0-9]+)?)[bB](?![A-Za-z])")


def guess(values: dict[str, Any]) -> str:
    """The first GPU with room for what is trained; L40S where the name tells no size."""
    engine = engines.engine(values.get("trainer.engine", "trl"))
    most = _ROOM[-1] if engine.can_use_several_gpus else _ROOM[2]
    needed = billions(str(values.get("model.name_or_path", ""))) * _bytes_a_parameter(values)
    return next((gpu for gpu, room in _ROOM if needed <= min(room, most[1])), most[0])


def billions(name: str) -> float:
    """Parameters by the model's name: `8` of Llama-3.1-8B, 0 where it has none."""
    return max((float(size) for size in _BILLIONS.findall(name)), default=0.0)


def _bytes_a_parameter(values: dict[str, Any]) -> float:
    if not any(key.startswith("lora.") for key in values):
        return 16.0 if values.get("model.dtype") == "float32" else 8.0
    if values.get("quantization.load_in_4bit"):
        return 0.7
    return 1.2 if values.get("quantization.load_in_8bit") else 2.2
