"""A run's identity: a hash of what decides its result.

In it: the recipe without what only concerns the outside, the data's content, the model's commit or content, the locked
packages.  Not in it: name, description, tags, budget, secrets, time limits, machine sizes, declared counts; two recipes
that differ in those alone are one run.  The kind of GPU is left out too, so that a pre-empted run may go on on another.
How many rows a step has is in it, and not how they are spread: a run may go on on half the GPUs with twice the
accumulation, or with smaller batches where memory ran out.
"""

import hashlib
import json
import math

from sftrun.facts.values import Facts
from sftrun.plan.types import ComputePlan
from sftrun.recipe.models import Recipe

_OUTSIDE = {"name", "description", "tags", "budget", "secrets", "compute", "extends"}


def identity(recipe: Recipe, facts: Facts, compute: ComputePlan) -> str:
    """64 hex digits."""
    text = json.dumps(_what_decides(recipe, facts, compute), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _what_decides(recipe: Recipe, facts: Facts, compute: ComputePlan) -> dict[str, object]:
    body = recipe.model_dump(mode="json", exclude=_OUTSIDE)
    for split in ("train", "eval"):
        for declared in ("num_examples", "mean_tokens"):
            (body["dataset"][split] or {}).pop(declared, None)
    spread = [body["trainer"].pop(name) for name in ("per_device_train_batch_size", "gradient_accumulation_steps")]
    return {
        "recipe": body,
        "executor": compute.executor,
        "rows_a_step": math.prod(spread) * max(compute.gpu_count, 1) * compute.nodes,
        "image": recipe.compute.image.model_dump(mode="json"),
        "data": [facts.train_files.sha256, facts.eval_files.sha256],
        "model": None if facts.model is None else facts.model.commit or facts.model.content_sha256,
        "lock": facts.lock,
    }
