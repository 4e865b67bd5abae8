"""The engines: the libraries that train, as values that answer what one must know of them.

A new one has its name in `choices.EngineName`, an entry here, a lock in `sftrun/facts/locks`, and where it brings a
model of its own, a module with `load(spec)`: see docs/extending.md.
"""

from typing import Final, NamedTuple

from sftrun.contract.choices import EngineName


class Engine(NamedTuple):
    """One engine.

    `lock`: the name of its file in `facts/locks`.  `first_import`: a package that patches the others, so that it must
    be imported before them, and libraries are not here what they are there.  `loader`: a module whose `load(spec)`
    gives the model with its adapter on; without one transformers and PEFT make it.  `runs_our_step`: attention,
    products, head and graphs of `sftrun.job.fast` fit it; another brings kernels, layout and compiling of its own.
    `has_all_of_peft`: its adapters take every option of PEFT's LoraConfig.
    """

    name: EngineName
    about: str
    lock: str
    first_import: str | None = None
    loader: str | None = None
    runs_our_step: bool = False
    can_use_several_gpus: bool = False
    can_shard: bool = False
    can_train_all_weights: bool = False
    can_train_in_8bit: bool = False
    can_use_dora: bool = False
    has_all_of_peft: bool = False
    keeps_adapters_in_float32: bool = False
    offloads_checkpoints: bool = False


TRL: Final = Engine(
    name="trl",
    about="TRL's SFTTrainer",
    lock="trl",
    runs_our_step=True,
    can_use_several_gpus=True,
    can_shard=True,
    can_train_all_weights=True,
    can_train_in_8bit=True,
    can_use_dora=True,
    has_all_of_peft=True,
)
UNSLOTH: Final = Engine(
    name="unsloth",
    about="Unsloth, on one GPU",
    lock="unsloth",
    first_import="unsloth",
    loader="sftrun.job.train.unsloth_engine",
    keeps_adapters_in_float32=True,
    offloads_checkpoints=True,
)
ENGINES: Final[dict[str, Engine]] = {engine.name: engine for engine in (TRL, UNSLOTH)}


def engine(name: str) -> Engine:
    """The engine of a recipe's `trainer.engine`."""
    return ENGINES[name]
