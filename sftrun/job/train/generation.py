"""Where an answer ends: at the base's own ends, and at those that turns were trained to end with.

They stand in `generation_config.json` beside what was trained, so that whatever loads it stops there too.
"""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

FILE = "generation_config.json"


def config(model: Any, tokenizer: Any, ends: Sequence[str]) -> Any:
    """transformers' GenerationConfig of the base, with the ends that turns were trained with and the padding."""
    made = deepcopy(model.generation_config)
    trained = [tokenizer.convert_tokens_to_ids(end) for end in ends]
    found = [*_ids(made.eos_token_id), *trained] or [tokenizer.eos_token_id]
    made.eos_token_id = list(dict.fromkeys(found))
    if made.pad_token_id is None:
        made.pad_token_id = tokenizer.pad_token_id
    return made


def saved(folder: str, model: Any, tokenizer: Any, ends: Sequence[str]) -> Any:
    """What a run has saved; of an older one, which saved none, as it would be today."""
    from transformers import GenerationConfig

    if (Path(folder) / FILE).is_file():
        return GenerationConfig.from_pretrained(folder)
    return config(model, tokenizer, ends)


def save(made: Any, folder: Path) -> None:
    """As it is: `save_pretrained` refuses settings that many bases come with."""
    made.to_json_file(folder / FILE)


def _ids(value: int | Sequence[int] | None) -> list[int]:
    if value is None:
        return []
    return [value] if isinstance(value, int) else list(value)
