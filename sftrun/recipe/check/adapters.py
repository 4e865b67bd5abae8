"""What the names and patterns of `lora` must be, whatever the model."""

import re
from collections.abc import Iterator

from sftrun.diagnostics import Diagnostic, Path
from sftrun.recipe.models import Lora, Recipe

ALL_LINEAR = "all-linear"
# what PEFT alone has: key -> what it is without it
_OPTIONS = (
    "target_parameters",
    "exclude_modules",
    "layers_to_transform",
    "rank_pattern",
    "alpha_pattern",
    "init_lora_weights",
    "autocast_adapter_dtype",
)


def patterns(recipe: Recipe) -> Iterator[Diagnostic]:
    """Regular expressions that are none, and plain words that stand where one does."""
    for at, text, is_whole in _expressions(recipe.lora) if recipe.lora is not None else ():
        reason = _broken(text)
        if reason is not None:
            yield Diagnostic(
                "R223",
                f"`{text}` is no regular expression: {reason}",
                at=at,
                on_key=not is_whole,
                help=r"write one like `.*\.(q|v)_proj`",
            )
        elif is_whole and re.fullmatch(r"[\w, -]+", text):
            yield Diagnostic(
                "R223",
                f"`{text}` as a regular expression is no module's whole name",
                at=at,
                help=_instead(at, text),
            )


def layers(recipe: Recipe) -> Iterator[Diagnostic]:
    lora = recipe.lora
    if lora is not None and lora.layers_to_transform and isinstance(lora.target_modules, str):
        yield Diagnostic(
            "R224",
            f"`layers_to_transform` narrows a list of names, and `target_modules` is `{lora.target_modules}`",
            at=("lora", "layers_to_transform"),
            also=((("lora", "target_modules"), "a list is needed here"),)
            if "target_modules" in lora.model_fields_set
            else (),
            help="write `target_modules: [q_proj, v_proj]`, or the layers into a regular expression",
        )


def options(recipe: Recipe) -> Iterator[Diagnostic]:
    """What an engine with adapters of its own does not take."""
    lora, engine = recipe.lora, recipe.trainer.library
    if lora is None or engine.has_all_of_peft:
        return
    for key in _OPTIONS:
        if getattr(lora, key) != Lora.model_fields[key].default:
            yield _not_there(("lora", key), f"`{key}`", recipe)
    if isinstance(lora.target_modules, str) and lora.target_modules != ALL_LINEAR:
        yield _not_there(("lora", "target_modules"), "a regular expression in `target_modules`", recipe)


def _not_there(at: Path, what: str, recipe: Recipe) -> Diagnostic:
    engine = recipe.trainer.engine
    return Diagnostic(
        "R225",
        f"the engine {engine} does not take {what}",
        at=at,
        also=((("trainer", "engine"), f"{engine} here"),),
        help="write `engine: trl`, or take it out",
    )


def _expressions(lora: Lora) -> Iterator[tuple[Path, str, bool]]:
    """(place, text, whether it must be a module's whole name)."""
    for key in ("target_modules", "exclude_modules"):
        text = getattr(lora, key)
        if isinstance(text, str) and text != ALL_LINEAR:
            yield ("lora", key), text, True
    for key in ("rank_pattern", "alpha_pattern"):
        yield from ((("lora", key, text), text, False) for text in getattr(lora, key))


def _broken(text: str) -> str | None:
    try:
        re.compile(text)
    except re.error as error:
        return error.msg
    return None


def _instead(at: Path, text: str) -> str:
    from difflib import get_close_matches

    if at[-1] == "target_modules" and get_close_matches(text.lower(), [ALL_LINEAR], cutoff=0.7):
        return f"write `{ALL_LINEAR}`"
    names = ", ".join(re.split("[, ]+", text.strip(", ")))
    return f"write `[{names}]`"


ADAPTERS = (patterns, layers, options)
