"""What experiment trackers need where the run is rented."""

from collections.abc import Iterator

from sftrun.diagnostics import Diagnostic
from sftrun.recipe.models import Recipe

# tracker -> what its key is called, and the variable without which (or with which) it needs one
_KEYS = {"wandb": "WANDB_API_KEY", "trackio": "HF_TOKEN"}


def keys(recipe: Recipe) -> Iterator[Diagnostic]:
    """A key comes by a Modal Secret; without one the run would end with nothing told."""
    names, env = recipe.trainer.report_to, recipe.compute.image.env
    if names == "none" or recipe.secrets or not recipe.place.rents:
        return
    for name in names:
        needs = {"wandb": env.get("WANDB_MODE") != "offline", "trackio": "TRACKIO_SPACE_ID" in env}.get(name, False)
        if needs:
            yield Diagnostic(
                "R246",
                f"{name} needs `{_KEYS[name]}` on Modal, and the recipe names no Secret",
                at=("trainer", "report_to"),
                help=f"add `secrets: [{name}]`, a Modal Secret that has it"
                + (", or `WANDB_MODE: offline` to `compute.image.env`" if name == "wandb" else ""),
            )


REPORTING = (keys,)
