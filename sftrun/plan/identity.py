"""A run's identity: a versioned hash of what decides its result.

In it: the recipe without what only concerns the outside, the data's content, the model's commit or content, the locked
packages.  Not in it: name, description, tags, budget, secrets, time limits, machine sizes, declared counts; two recipes
that differ in those alone are one run.  The kind of GPU is left out too, so that a pre-empted run may go on on another.
How many rows a step has is in it, and not how they are divided: a run may go on on half the GPUs with twice the
accumulation, or with smaller batches where memory ran out.

Version 2 leaves defaults out, so that a release with a new key changes no identity.  The defaults are those of
`identity_keys.json`, each as it was when its key came: where a release changes one, the runs that get the new value
are others, and who writes the old value finds the old run.  Version 1 hashed all keys of its time, from a list that is
frozen here.  A run's id is made of the oldest version that can say its recipe, so that ids stay what they were.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sftrun.diagnostics import Path, dotted
from sftrun.facts.values import Facts
from sftrun.plan.types import ComputePlan
from sftrun.recipe.models import Recipe
from sftrun.recipe.sources import Source

# keys and sections of the recipe that don't decide the result, or are counted otherwise (executor, rows a step)
OUTSIDE = frozenset(
    {
        "version",
        "name",
        "description",
        "tags",
        "budget",
        "secrets",
        "evaluation",
        "dataset.train.num_examples",
        "dataset.train.mean_tokens",
        "dataset.eval.weight",
        "dataset.eval.num_examples",
        "dataset.eval.mean_tokens",
        "trainer.per_device_train_batch_size",
        "trainer.gradient_accumulation_steps",
        "compute.executor",
        "compute.gpu",
        "compute.nodes",
        "compute.timeout",
        "compute.cpu",
        "compute.memory",
        "compute.retries",
        "compute.region",
    }
)
_NO_KEY = object()


def identity(recipe: Recipe, facts: Facts, compute: ComputePlan) -> str:
    """`2-` and 64 hex digits."""
    recipe = _as_before(recipe)
    return f"2-{_hash({'recipe': _with_text(written(recipe), facts), **_besides(recipe, facts, compute)})}"


def earlier(recipe: Recipe, facts: Facts, compute: ComputePlan) -> tuple[str, ...]:
    """What older releases called the same run, the latest first; nothing for a recipe that they could not read."""
    recipe, known = _bare(_as_before(recipe)), keys()["1"]
    if not all(_is_said_in(known, key, value) for key, value in written(recipe).items()):
        return ()
    body = _only(recipe.model_dump(mode="json"), known)
    image = body.pop("compute")["image"]
    return (_hash({"recipe": {"version": 1, **body}, "image": image, **_besides(recipe, facts, compute)}),)


def written(recipe: Recipe) -> dict[str, object]:
    """What a recipe says besides defaults: dotted key -> value, in one form however it was written."""
    return dict(_written(_bare(recipe), ""))


def _bare(recipe: Recipe) -> Recipe:
    """A list of one source is that source."""
    data = recipe.dataset
    if isinstance(data.train, Source) or len(data.train) > 1:
        return recipe
    return recipe.model_copy(update={"dataset": data.model_copy(update={"train": data.train[0]})})


@cache
def keys() -> dict[str, dict[str, Any]]:
    """By the version of the identity that first had them: the recipe's keys with their defaults of that time."""
    found: dict[str, dict[str, Any]] = json.loads(FilePath(__file__).with_name("identity_keys.json").read_text("utf-8"))
    return found


def _as_before(recipe: Recipe) -> Recipe:
    """The recipe in the words of the releases that had no word for a type: what they did is what nothing says."""
    return _with_adapters(_with_dtype(recipe))


def _with_adapters(recipe: Recipe) -> Recipe:
    """Over quantised weights adapters were in 16 bits, where no loss scaler forbade it: `false` is what was."""
    lora, quantization = recipe.lora, recipe.quantization
    is_quantized = quantization is not None and (quantization.load_in_4bit or quantization.load_in_8bit)
    if lora is None or not is_quantized or recipe.trainer.fp16 or recipe.trainer.library.keeps_adapters_in_float32:
        return recipe
    flipped = lora.model_copy(update={"autocast_adapter_dtype": not lora.autocast_adapter_dtype})
    return recipe.model_copy(update={"lora": flipped})


def _with_dtype(recipe: Recipe) -> Recipe:
    """The type of the weights as it would be written: `auto` was bfloat16, and with `fp16` stood for the steps'."""
    if recipe.model.dtype != "auto":
        return recipe
    is_wide = recipe.is_in_float32 and not recipe.trainer.fp16
    model = recipe.model.model_copy(update={"dtype": "float32" if is_wide else "bfloat16"})
    return recipe.model_copy(update={"model": model})


def _with_text(said: dict[str, object], facts: Facts) -> dict[str, object]:
    """With adapter and chat template by their content, whatever they are called and wherever they lie."""
    if facts.adapter is not None:
        said = said | {"model.adapter": facts.adapter.sha256}
    if facts.chat_template is None:
        return said
    return said | {"dataset.chat_template": hashlib.sha256(facts.chat_template.encode()).hexdigest()}


def _besides(recipe: Recipe, facts: Facts, compute: ComputePlan) -> dict[str, object]:
    rows = (recipe.trainer.per_device_train_batch_size, recipe.trainer.gradient_accumulation_steps)
    return {
        "executor": compute.executor,
        "rows_a_step": math.prod(rows) * max(compute.gpu_count, 1) * compute.nodes,
        "data": [_contents(facts, recipe.dataset.train_sources), _contents(facts, recipe.dataset.eval_sources)],
        "model": None if facts.model is None else facts.model.commit or facts.model.content_sha256,
        "lock": facts.lock,
    }


def _contents(facts: Facts, sources: Mapping[Path, Source]) -> object:
    """The hash of a lone source's files, or those of all."""
    found = [facts.of(dotted(at)).files.sha256 for at in sources]
    return found if len(found) > 1 else found[0] if found else None


def _hash(what: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _written(section: BaseModel, at: str) -> Iterator[tuple[str, object]]:
    for name, field in type(section).model_fields.items():
        key, value = f"{at}{name}", getattr(section, name)
        if key in OUTSIDE:
            continue
        if isinstance(value, BaseModel):
            if field.get_default() is None:  # `lora: {}` is not the same as no `lora`
                yield key, {}
            yield from _written(value, f"{key}.")
        elif field.is_required() or _plain(value, key) != _plain(_default_of(key, field), key):
            yield key, _plain(value, key)


def _plain(value: object, key: str) -> object:
    """JSON's values; a number has one form: 16.0 is 16, and 2e-4 is 0.0002."""
    if isinstance(value, BaseModel):
        return dict(_written(value, f"{key}."))
    if isinstance(value, Mapping):
        return {str(name): _plain(part, key) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, key) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _default_of(key: str, field: FieldInfo) -> object:
    """As the key came with it; a section, and a key that has no line in the file yet, as the class has it."""
    frozen = (_default(key, known) for known in keys().values())
    own = field.get_default(call_default_factory=True)
    return next((found for found in frozen if found is not _NO_KEY and not _is_section(found)), own)


def _is_said_in(known: Mapping[str, Any], key: str, value: object) -> bool:
    found = _default(key, known)
    return value == {} if _is_section(found) else found is not _NO_KEY


def _is_section(default: object) -> bool:
    return isinstance(default, Mapping) and bool(default)


def _default(key: str, known: Mapping[str, Any]) -> object:
    found: Any = known
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return _NO_KEY
        found = found[part]
    return found


def _only(today: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a recipe's dump that have a key in `known`; an empty mapping there is a value, not a section."""
    return {
        name: _only(today[name], part) if _is_section(part) and today[name] else today[name]
        for name, part in known.items()
    }
