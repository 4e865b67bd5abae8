"""Recipe + Facts -> Plan.  Pure: same input, same plan, also next year.

The clock, the run's id and the prices are arguments or facts; `cli` fetches them."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

from sftrun.contract.choices import DataFormat
from sftrun.contract.jobspec import ModelSpec
from sftrun.diagnostics import Path as Place
from sftrun.diagnostics import dotted
from sftrun.facts.values import AdapterFacts, Facts
from sftrun.plan.decide import resolve, shares, speed
from sftrun.plan.decide.decisions import Chosen, Decisions, Room
from sftrun.plan.decide.often import intervals
from sftrun.plan.decide.room import fsdp, may_shard, room
from sftrun.plan.estimate import workload
from sftrun.plan.estimate.host_memory import asked
from sftrun.plan.estimate.known_rows import train_rows
from sftrun.plan.identity import earlier, identity
from sftrun.plan.types import AdapterPlan, DatasetPlan, EvaluationPlan, Plan, SourcePlan
from sftrun.recipe.evaluation_section import EvaluationData
from sftrun.recipe.going_on import with_lora
from sftrun.recipe.models import Recipe
from sftrun.recipe.sources import Source
from sftrun.rows.raw.find import Files
from sftrun.step.given import Settings


def build(recipe: Recipe, facts: Facts, *, folders: Mapping[str, str]) -> Plan:
    """Decide everything.  `folders` holds the folder that each relative path of the recipe is relative to."""
    recipe = with_lora(recipe, facts.adapter_lora)
    plan = _build(recipe, facts, folders, Room())
    if not plan.compute.gpu_count:
        return plan
    chosen = None
    if may_shard(plan):
        other = _build(recipe, facts, folders, Room(fsdp=Chosen(True, "")))
        chosen = fsdp(plan, other, facts)
        plan = plan if chosen is None else other
    return asked(_build(recipe, facts, folders, room(plan, facts)._replace(fsdp=chosen)), facts)


def _build(recipe: Recipe, facts: Facts, folders: Mapping[str, str], room: Room) -> Plan:
    said = Decisions()
    compute, device = resolve.compute(recipe, facts, said)
    dtype = resolve.step_dtype(recipe, device, said)
    train = train_rows(recipe, facts)
    held_out = recipe.dataset.eval_fraction or 0.0
    gpus = compute.gpu_count * compute.nodes
    steps = workload.total_steps(recipe.trainer, train, gpus, held_out)
    often = intervals(recipe.trainer, workload.epoch_steps(recipe.trainer, train, gpus, held_out), said)
    model = _model_at(resolve.model(recipe, dtype, said), facts, folders)
    quantization, lora = resolve.quantization(recipe, dtype, said), resolve.lora(recipe, facts.model, said)
    resolve.ends(facts.train, said)
    shares.say(recipe, facts, said)
    is_sharded = speed.sharded(recipe, device, room, said)
    trainer = resolve.trainer(recipe, train, device, dtype, steps, often, is_sharded, room, said)
    given = Settings(model, trainer, quantization, lora, sharded=is_sharded)
    return Plan(
        recipe=recipe,
        identity=identity(recipe, facts, compute),
        earlier_identities=earlier(recipe, facts, compute),
        model=model,
        quantization=quantization,
        lora=lora,
        adapter=_adapter(facts.adapter, said),
        dataset=_dataset(recipe, facts),
        rows=resolve.rows(recipe, facts, said),
        trainer=trainer,
        step=speed.step_plan(recipe, facts, device, given, steps, room, said),
        samples=resolve.samples(recipe),
        output_dir=_output(recipe, folders),
        evaluation=_evaluation(recipe, facts),
        compute=compute,
        lock=facts.lock,
        total_steps=steps,
        decisions=tuple(said.made),
    )


def _adapter(found: AdapterFacts | None, said: Decisions) -> AdapterPlan | None:
    if found is None:
        return None
    said.say("lora.r", found.lora["r"], f"as the adapter `{found.name}` has it, which the run goes on from")
    return AdapterPlan(name=found.name, run_id=found.run_id, folder=found.folder, sha256=found.sha256)


def _model_at(model: ModelSpec, facts: Facts, folders: Mapping[str, str]) -> ModelSpec:
    name = model.name_or_path
    is_folder = name.startswith((".", "/")) or (facts.model is not None and facts.model.source == "folder")
    if not is_folder or name.startswith("builtin:"):
        return model
    return model.model_copy(update={"name_or_path": str(Path(folders["model.name_or_path"], name))})


def _output(recipe: Recipe, folders: Mapping[str, str]) -> str | None:
    return None if recipe.output.dir.startswith("/") else str(Path(folders["output.dir"], recipe.output.dir).resolve())


def _dataset(recipe: Recipe, facts: Facts) -> DatasetPlan:
    data, evals = recipe.dataset, recipe.dataset.eval_sources
    return DatasetPlan(
        train=tuple(_source(at, one, recipe, facts) for at, one in data.train_sources.items()),
        eval={str(at[2]) if len(at) > 2 else "": _source(at, one, recipe, facts) for at, one in evals.items()},
        eval_fraction=data.eval_fraction,
        shuffle=data.shuffle,
    )


def _evaluation(recipe: Recipe, facts: Facts) -> EvaluationPlan | None:
    wanted, found = recipe.evaluation, facts.evaluation
    if wanted is None:
        return None
    counted = None if found.rows is None else min(found.rows.rows, wanted.max_examples or found.rows.rows)
    return EvaluationPlan(
        data=_whereabouts(wanted.data, found.files),
        general=None if wanted.general is None else _whereabouts(wanted.general, found.general_files),
        json_schema=found.json_schema,
        rows=counted,
        mean_tokens=None if found.rows is None else found.rows.mean_tokens,
    )


def _source(at: Place, source: Source, recipe: Recipe, facts: Facts) -> SourcePlan:
    how = {
        "format": _form(at, source, recipe, facts),
        "columns": {} if source.columns is None else source.columns.named(),
        "roles": dict(source.roles),
        "max_examples": source.max_examples,
        "weight": source.weight,
    }
    return _whereabouts(source, facts.of(dotted(at)).files).model_copy(update=how)


def _whereabouts(source: Source | EvaluationData, files: Files) -> SourcePlan:
    on_volume = source.path is not None and PurePosixPath(source.path).is_absolute()
    return SourcePlan(
        local=() if on_volume else files.paths,
        volume=source.path if on_volume else None,
        hub=source.hub,
        config=source.config,
        split=source.split,
        revision=source.revision,
        sha256=files.sha256,
    )


def _form(at: Place, source: Source, recipe: Recipe, facts: Facts) -> DataFormat | Literal["auto"] | None:
    """Of several sources each has its own; a lone one's is that of all rows."""
    if all(len(place) == 2 for place in recipe.dataset.sources) or source.format not in (None, "auto"):
        return source.format
    if source.format is None and recipe.dataset.format != "auto":
        return recipe.dataset.format
    rows = facts.of(dotted(at)).rows
    return "auto" if rows is None else rows.format or "auto"
