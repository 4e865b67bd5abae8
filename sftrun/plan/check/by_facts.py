"""The checks that need facts and no plan, in one list: facts that could not be had, model, data, output.

Memory, time and money need a plan with an estimate: `checks_cost`.
"""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from sftrun.contract.choices import TRACKERS
from sftrun.diagnostics import Diagnostic, Path, dotted
from sftrun.errors import Problem
from sftrun.facts.values import Facts, Machine
from sftrun.plan.check import adapter_fits
from sftrun.plan.check.data_facts import check_data
from sftrun.plan.check.mixes import check_mix
from sftrun.plan.check.model_facts import check_model, lacks_template, model_problem, no_template
from sftrun.plan.check.model_kind import check_kind
from sftrun.recipe.check.compute import without_bf16
from sftrun.recipe.check.dataset import by_form
from sftrun.recipe.going_on import with_lora
from sftrun.recipe.models import Recipe

# a fact that is only out of reach is no fault of the recipe: the plan says what it rests on instead
_NO_FAULT = {"unreachable", "unknown"}
# of a fact that is missing: what is neither model nor data
_CODES = {"output.dir": "V112", "model.adapter": "M130"}


def check(recipe: Recipe, facts: Facts, problems: Mapping[str, Problem]) -> Iterator[Diagnostic]:
    """Every diagnostic that model and data give rise to."""
    yield from _missing(recipe, problems)
    if facts.adapter is not None:
        yield from adapter_fits.check(recipe, facts.adapter, facts.model)
    recipe = with_lora(recipe, facts.adapter_lora)
    if facts.model is not None:
        yield from check_model(recipe, facts.model)
    yield from check_kind(recipe, facts.model)
    yield from _own_gpu(recipe, facts.machine)
    yield from _own_memory(recipe, facts)
    yield from _data(recipe, facts)
    if recipe.trainer.evals_per_epoch is not None or recipe.trainer.saves_per_epoch is not None:
        from sftrun.plan.check import epochs  # brings the estimates: not for a recipe that says all in steps

        yield from epochs.unknown(recipe, facts)
    if recipe.evaluation is not None:
        from sftrun.plan.check.evaluation_facts import check_evaluation  # brings statistics: few recipes need them

        yield from check_evaluation(recipe, facts)
    yield from _output(recipe, facts)
    for name in facts.trackers_missing:
        at, help = ("trainer", "report_to"), f"`pip install '{TRACKERS[name]}'`, or take it out"
        yield Diagnostic("R247", f"{name} is not installed here", at=at, help=help)


def can_be_estimated(recipe: Recipe, facts: Facts) -> bool:
    """Whether a plan may have an estimate to be judged: that takes the model's shapes and a GPU."""
    has_gpu = facts.machine.gpu_name if recipe.place.is_here else recipe.compute.gpu
    return facts.model is not None and has_gpu is not None


def _own_gpu(recipe: Recipe, machine: Machine) -> Iterator[Diagnostic]:
    """What the GPU of this machine can't do; of the recipe's own its name has said it."""
    name, is_used = machine.gpu_name, recipe.place.is_here and recipe.compute.gpu is None
    if is_used and name is not None and not machine.has_bf16:
        yield from without_bf16(name, recipe)


def _own_memory(recipe: Recipe, facts: Facts) -> Iterator[Diagnostic]:
    """A model that this machine's processors can't hold."""
    machine, quantization = facts.machine, recipe.quantization
    if facts.model is None or not recipe.place.is_here or machine.gpu_count or not machine.memory_gb:
        return
    in_4bit = quantization is not None and quantization.load_in_4bit
    in_8bit = quantization is not None and quantization.load_in_8bit
    each = 0.5 if in_4bit else 1 if in_8bit else 4 if recipe.is_in_float32 else 2
    size = facts.model.parameters * each / 1e9
    if size > machine.memory_gb:
        message = f"the model's weights take {size:.0f} GB of memory, this machine has {machine.memory_gb:.0f} GB"
        help = "rent a GPU: `compute.executor: modal`"
        yield Diagnostic("G108", message, at=("model", "name_or_path"), severity="warning", help=help)


def _data(recipe: Recipe, facts: Facts) -> Iterator[Diagnostic]:
    """What the data say; that each row wants a chat template is said once, of the model."""
    form = recipe.dataset.format if facts.train is None else facts.train.format
    sources = recipe.dataset.train_sources
    rows = [facts.of(dotted(at)).rows for at in sources]
    known = [found.format for found in rows if found is not None and found.format is not None]
    is_auto = any((source.format or recipe.dataset.format) == "auto" for source in sources.values())
    if is_auto and len(known) == len(rows):
        yield from by_form(recipe, known)
    lacking = facts.model is not None and lacks_template(recipe, facts.model, form)
    if facts.model is not None and lacking:
        yield no_template(recipe, facts.model)
    parts = {key: source.rows for key, source in facts.sources.items()}
    positions = None if facts.model is None else facts.model.max_positions
    found = check_data(recipe, facts.train, facts.eval, positions, parts)
    yield from check_mix(recipe, facts)
    yield from (one for one in found if not (lacking and one.code == "D113"))


def _output(recipe: Recipe, facts: Facts) -> Iterator[Diagnostic]:
    other, folder = facts.output_holds, PurePosixPath(recipe.output.dir)
    if other is not None and other != recipe.name:
        free = folder.with_name(recipe.name if recipe.name != folder.name else f"{folder.name}-2")
        yield Diagnostic(
            "V106",
            f"`{folder}` holds the adapter of the recipe `{other}`, which this run replaces",
            at=("output", "dir"),
            severity="warning",
            help=f"write `dir: {free}`",
        )


def _missing(recipe: Recipe, problems: Mapping[str, Problem]) -> Iterator[Diagnostic]:
    for key, problem in problems.items():
        if key == "model.name_or_path":
            found = model_problem(recipe, problem)
            if found is not None:
                yield found
        elif problem.kind not in _NO_FAULT:
            code = _CODES.get(key, "D106" if problem.kind == "unsafe" else "D101")
            yield Diagnostic(code, problem.message, at=_at(key), help=problem.help)


def _at(key: str) -> Path:
    """A dotted key as a path; sources of training rows have numbers."""
    return tuple(int(part) if part.isdecimal() else part for part in key.split("."))
