"""Checks of several GPUs, over a plan: a first kind of the list decides for all, and few rows are handed out again.

G103 another kind of the list can't hold what is planned, D116 an epoch that is no whole number of rounds,
M120 sharded weights of which a tied one is trained in full, R234 trained weights in 16 bits that each GPU holds whole.
"""

from collections.abc import Iterator

from sftrun.diagnostics import Diagnostic, Path
from sftrun.facts.gpus import catalog
from sftrun.facts.values import Facts
from sftrun.plan.estimate import workload
from sftrun.plan.estimate.known_rows import train_rows
from sftrun.plan.types import Plan
from sftrun.recipe.check.training import rounded_away


def check(plan: Plan, facts: Facts) -> Iterator[Diagnostic]:
    """Every diagnostic that more than one GPU, or kind of GPU, gives rise to."""
    if plan.memory is not None and plan.memory.fits:
        yield from _others(plan, plan.memory.peak_gb, facts)
    yield from _rounds(plan, facts)
    yield from _tied(plan, facts)
    if plan.compute.gpu_count > 1 and plan.lora is None and plan.step.precision.trained == "bfloat16":
        yield rounded_away(plan.recipe)
    yield from _adapter(plan)


def _others(plan: Plan, peak_gb: float, facts: Facts) -> Iterator[Diagnostic]:
    first, *others = plan.compute.gpus or ("",)
    for number, name in enumerate(others, 1):
        gpu, at = catalog.find(facts.catalog, name), ("compute", "gpu", number)
        if gpu is not None and gpu.memory_gb < peak_gb:
            message = f"`{name}` has {gpu.memory_gb:.0f} GB, and what is planned for `{first}` takes {peak_gb:.1f} GB"
            yield Diagnostic(
                "G103", message, at=at, help="take it out, or write it first: the plan is made for that one"
            )


def _tied(plan: Plan, facts: Facts) -> Iterator[Diagnostic]:
    """accelerate ties weights anew while it shards them, and PEFT's copies can't be tied so."""
    lora, model = plan.lora, facts.model
    if plan.rows.add_tokens and plan.step.sharding == "fsdp":
        message = "rows of new tokens can't be added to weights that are sharded over GPUs"
        help = "take one GPU, or several that hold all weights each"
        yield Diagnostic("M120", message, at=("dataset", "add_tokens"), help=help)
    if lora is None or model is None or not lora.ensure_weight_tying or plan.step.sharding != "fsdp":
        return
    yield Diagnostic(
        "M120",
        f"the embedding of {model.name_or_path} is its head too, and can't be in `modules_to_save` of sharded weights",
        at=("lora", "modules_to_save"),
        help="take it out, or take one GPU, or several that hold all weights each",
    )


def _adapter(plan: Plan) -> Iterator[Diagnostic]:
    """Sharded weights are empty where the first process has none to give yet: an adapter can't be read into them."""
    if plan.adapter is not None and plan.step.sharding == "fsdp":
        message = "sharded weights can't go on from an adapter"
        yield Diagnostic("M133", message, at=("model", "adapter"), help="take GPUs that hold all weights each")


def _rounds(plan: Plan, facts: Facts) -> Iterator[Diagnostic]:
    recipe, gpus = plan.recipe, plan.compute.gpu_count * plan.compute.nodes
    train, each = train_rows(recipe, facts), recipe.trainer.per_device_train_batch_size
    found = None if train is None else workload.sequences(recipe.trainer, train, recipe.dataset.eval_fraction or 0.0)
    if train is not None and found is None and train.rows_learnt <= each * gpus:
        found = train.rows_learnt  # packed into no more bins than that
    if not found or not (again := workload.repeated(found, each, gpus)):
        return
    smaller = (each >> n for n in range(1, each.bit_length()))
    better = next((n for n in smaller if not workload.repeated(found, n, gpus)), None)
    key, what = "per_device_train_batch_size", "sequences" if recipe.trainer.packing else "rows"
    at: Path = ("trainer", key) if key in recipe.trainer.model_fields_set else ("compute", "gpu")
    message = f"{gpus} GPUs take {each} {what} each at a time: an epoch of {found} is filled up with {again} once more"
    help = f"write `trainer.{key}: {better}`" if better else "take fewer GPUs"
    yield Diagnostic("D116", message, at=at, severity="warning", help=help)
