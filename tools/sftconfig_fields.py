"""Write sftrun/recipe/sftconfig.json: the fields of the locked TRL's SFTConfig, with schedules and optimisers.

`validate` checks `trainer.extra` against this file, so that it needs neither TRL nor torch.  Run it with the locked
stack installed whenever the lock moves; a test compares.
"""

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "sftrun" / "recipe" / "sftconfig.json"
_NAMES = {bool: "bool", int: "int", float: "float", str: "str", dict: "dict", list: "list", type(None): "null"}
# `fsdp: true` is what transformers wants; it writes str, so that its own command line can still read the old words
_ALSO = {"fsdp": {"bool"}}


def table() -> dict[str, object]:
    """What the file holds, from the installed TRL and transformers."""
    import transformers
    import trl
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    return {
        "trl": trl.__version__,
        "transformers": transformers.__version__,
        "fields": {
            field.name: sorted(_kinds(field.type) | _ALSO.get(field.name, set()))
            for field in dataclasses.fields(trl.SFTConfig)
        },
        "schedules": [one.value for one in SchedulerType],
        "optimizers": [one.value for one in OptimizerNames],
    }


def _kinds(kind: Any) -> set[str]:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return {name for part in typing.get_args(kind) for name in _kinds(part)}
    if typing.get_origin(kind) is typing.Literal:
        return {_NAMES[type(value)] for value in typing.get_args(kind)}
    base = typing.get_origin(kind) or kind
    # enums are given by their value, a text
    return {_NAMES.get(base, "str")} if isinstance(base, type) else {"str"}


def text() -> str:
    """The file's text."""
    return json.dumps(table(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), "utf-8")
    print(TARGET)
