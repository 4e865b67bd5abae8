"""Whether each GPU has all weights, and how long fetched layers stay whole."""

from sftrun.contract.jobspec import TrainerSpec
from sftrun.contract.stepplan import Sharding


def sharding(wanted: bool, processes: int) -> Sharding:
    """One process has nobody to share with."""
    if processes <= 1:
        return "one"
    return "fsdp" if wanted else "ddp"


def keeps_fetched(trainer: TrainerSpec) -> bool:
    """Whether FSDP's layers stay whole from the forward pass to the backward one (ZeRO-2, `shard_grad_op`).

    As transformers reads `fsdp` and `fsdp_config`: the second has the last word.
    """
    written, options = trainer.extra.get("fsdp"), trainer.extra.get("fsdp_config")
    given = options if isinstance(options, dict) else {}
    asked = given.get("reshard_after_forward", given.get("fsdp_reshard_after_forward"))
    return not asked if asked is not None else "shard_grad_op" in str(written).split()
