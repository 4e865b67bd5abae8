"""Writes sftrun/facts/model/shipped: what `validate` knows of popular models with no network.

    python -m tools.ship_model_facts

Each model is built on the meta device by transformers itself, so that names and shapes are those that training will
see.  Three things must agree before a file is written: the page's published size, the model's own parameter count, and
the linear layers that torch finds.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sftrun.facts.model import shapes
from sftrun.facts.model.tensor_names import Tensor
from sftrun.facts.values import ModelFacts
from tools.model_configs import MODELS, Shipped

FOLDER = Path("sftrun/facts/model/shipped")


def main() -> None:
    """All files, and the index from Hub ids to them."""
    FOLDER.mkdir(exist_ok=True)
    index: dict[str, str] = {}
    for shipped in MODELS:
        model = build(shipped)
        facts = derive(shipped, model)
        check(shipped, model, facts)
        file = shipped.name.replace("/", "--") + ".json"
        (FOLDER / file).write_text(
            facts.model_dump_json(exclude_defaults=True, exclude={"module_names"}) + "\n", "utf-8"
        )
        index |= dict.fromkeys((shipped.name, *shipped.also), file)
        print(f"{shipped.name:45} {facts.parameters:>16,}")
    listed = json.dumps(dict(sorted(index.items())), indent=1)
    (FOLDER / "index.json").write_text(listed + "\n", "utf-8")


def build(shipped: Shipped) -> torch.nn.Module:
    """The model as transformers makes it, with no memory behind its weights."""
    config = AutoConfig.for_model(shipped.model_type, **shipped.config)
    with torch.device("meta"):
        model: torch.nn.Module = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    return model


def derive(shipped: Shipped, model: torch.nn.Module) -> ModelFacts:
    """The facts, by the same function that reads checkpoints."""
    tensors = {name: Tensor("BF16", tuple(weight.shape)) for name, weight in model.named_parameters()}
    config = {**shipped.config, "model_type": shipped.model_type, "architectures": [type(model).__name__]}
    return shapes.facts(
        tensors,
        config,
        source="shipped",
        name_or_path=shipped.name,
        has_chat_template=shipped.has_chat_template,
        gated=shipped.gated,
    )


def check(shipped: Shipped, model: torch.nn.Module, facts: ModelFacts) -> None:
    """Published size, own count and torch's linear layers agree, or nothing ships."""
    counted = sum(weight.numel() for weight in model.parameters())
    if not shipped.parameters == counted == facts.parameters:
        raise SystemExit(
            f"{shipped.name}: published {shipped.parameters:,}, built {counted:,}, facts {facts.parameters:,}"
        )
    head = model.get_output_embeddings()
    linears = sum(isinstance(module, torch.nn.Linear) and module is not head for module in model.modules())
    if linears != sum(linear.count for linear in facts.linears if not linear.expert):
        raise SystemExit(f"{shipped.name}: torch has {linears} linear layers, the facts another number")


if __name__ == "__main__":
    main()
