"""Checks that the recipe alone decides, in one list.

A check takes the recipe and yields Diagnostics.  Where a key was wrong by itself, it is taken out before the checks
run, so that one wrong value hides no other problem; what a check says because of that hole is dropped again.
"""

from collections.abc import Callable, Iterable, Iterator

from sftrun.diagnostics import Diagnostic, Path
from sftrun.recipe.check.adapters import ADAPTERS
from sftrun.recipe.check.best import BEST
from sftrun.recipe.check.compute import COMPUTE
from sftrun.recipe.check.dataset import DATA
from sftrun.recipe.check.evaluation import EVALUATION
from sftrun.recipe.check.paths import PATHS
from sftrun.recipe.check.reporting import REPORTING
from sftrun.recipe.check.training import TRAINING
from sftrun.recipe.check.trl_names import NAMES
from sftrun.recipe.going_on import with_lora
from sftrun.recipe.models import Recipe

Check = Callable[[Recipe], Iterator[Diagnostic]]
ALL: tuple[Check, ...] = (*TRAINING, *BEST, *REPORTING, *ADAPTERS, *NAMES, *DATA, *EVALUATION, *COMPUTE, *PATHS)

# keys whose absence a check speaks of
_RESTS_ON: dict[str, tuple[Path, ...]] = {
    "R204": (("dataset", "eval"), ("dataset", "eval_fraction")),
    "R205": (("trainer", "eval_steps"), ("trainer", "evals_per_epoch"), ("trainer", "saves_per_epoch")),
    "R207": (("lora",),),
    "R211": (("dataset", "train"), ("dataset", "eval")),
    "R212": (("dataset", "train"), ("dataset", "eval")),
    "E101": (("evaluation", "data"), ("evaluation", "general")),
    "E102": (("evaluation",),),
    "R213": (("quantization",),),
    "R217": (("compute",),),
    "R222": (("lora",),),
    "R219": (("samples", "prompts"),),
    "R241": (("trainer", "eval_steps"), ("trainer", "evals_per_epoch")),
    "R243": (("trainer", "load_best_model_at_end"), ("trainer", "early_stopping_patience")),
    "R246": (("secrets",), ("compute", "image", "env")),
    "V101": (("volumes",),),
    "V102": (("volumes",),),
    "S102": (("model", "revision"),),
    "R233": (("lora",),),
}


def check(recipe: Recipe, holes: Iterable[Path] = ()) -> Iterator[Diagnostic]:
    """Everything that is wrong with a recipe by itself.  `holes` are the paths that were wrong and taken out."""
    gone, recipe = tuple(holes), with_lora(recipe, None)
    for one in ALL:
        for found in one(recipe):
            if not any(_touches(found, hole) for hole in gone):
                yield found


def _touches(found: Diagnostic, hole: Path) -> bool:
    places = (found.at, *(path for path, _ in found.also), *_RESTS_ON.get(found.code, ()))
    return any(place[: len(hole)] == hole or hole[: len(place)] == place for place in places)
