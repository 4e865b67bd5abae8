"""An adapter's facts, from the two files that PEFT keeps of it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from sftrun.disk import adapter_files, outside
from sftrun.errors import Problem
from sftrun.facts.model.headers import Malformed, read_header
from sftrun.facts.values import AdapterFacts
from sftrun.rows.raw.find import sha256

# what changes the model in ways that a plan doesn't count
UNCOUNTED = (
    "target_parameters",
    "trainable_token_indices",
    "layer_replication",
    "lora_bias",
    "use_qalora",
    "alora_invocation_tokens",
)
# by the plan or by the run that goes on, not by the adapter
_DECIDED = ("ensure_weight_tying", "added_tokens", "autocast_adapter_dtype")
_PREFIX = "base_model.model."


class Place(NamedTuple):
    """Where an adapter lies on this machine; `run_id`: whose it is."""

    name: str
    folder: Path
    run_id: str | None = None


def adapter_facts(place: Place, cache_dir: Path) -> AdapterFacts | Problem:
    """What its files say; never raises for what it reads."""
    folder = place.folder
    for name in adapter_files.FILES:
        if not (folder / name).is_file():
            return Problem(
                "missing", f"`{folder}` holds no {name}", "name the folder of a LoRA adapter that PEFT saved"
            )
    try:
        config = outside.read_object(folder / adapter_files.CONFIG)
        shapes = _shapes({name: found.shape for name, found in read_header(folder / adapter_files.WEIGHTS).items()})
        content = adapter_files.content(folder, partial(sha256, cache_dir=cache_dir))
    except (OSError, outside.Damaged, Malformed) as error:
        return Problem("malformed", f"the adapter `{place.name}` can't be read: {error}", "restore its files")
    if (why := _uncounted(config)) is not None:
        return Problem("unsafe", f"`{place.name}` {why}", "go on from a plain LoRA adapter")
    try:
        lora = _lora(config)
    except ValidationError as error:
        first = ".".join(map(str, error.errors()[0]["loc"]))
        return Problem(
            "malformed", f"`{first}` in the adapter's {adapter_files.CONFIG} is none of PEFT's values", "restore it"
        )
    base = config.get("base_model_name_or_path")
    return AdapterFacts(
        name=place.name,
        run_id=place.run_id,
        folder=str(folder),
        sha256=content,
        base_model=base if isinstance(base, str) else None,
        lora=lora,
        shapes=shapes,
    )


def _uncounted(config: Mapping[str, Any]) -> str | None:
    kind = config.get("peft_type")
    if kind != "LORA":
        return f"is no LoRA adapter: its `peft_type` is {kind}"
    found = next((key for key in UNCOUNTED if config.get(key)), None)
    return None if found is None else f"has `{found}`, which can't be gone on from here"


def _lora(config: Mapping[str, Any]) -> dict[str, Any]:
    """PEFT writes None where nothing was said; the first values are those of the adapter."""
    from sftrun.contract.jobspec import LoraSpec  # not for a recipe without an adapter

    fields = LoraSpec.model_fields.keys() - {"init_lora_weights", *_DECIDED}
    told = {key: config[key] for key in fields if config.get(key) is not None}
    layers = told.get("layers_to_transform")
    if isinstance(layers, int):
        told["layers_to_transform"] = [layers]
    if isinstance(told.get("target_modules"), list):
        told["target_modules"] = sorted(told["target_modules"])
    return LoraSpec.model_validate({key: tuple(v) if isinstance(v, list) else v for key, v in told.items()}).model_dump(
        exclude=set(_DECIDED)
    )


def _shapes(tensors: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, int]]:
    inputs, outputs = dict[str, int](), dict[str, int]()
    for name, shape in tensors.items():
        module, _, part = name.removeprefix(_PREFIX).rpartition(".lora_")
        if part == "A.weight" and len(shape) == 2:
            inputs[module] = shape[1]
        elif part == "B.weight" and len(shape) == 2:
            outputs[module] = shape[0]
    return {module: (inputs[module], outputs[module]) for module in inputs.keys() & outputs.keys()}
