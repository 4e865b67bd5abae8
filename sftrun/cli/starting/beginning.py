"""What `sftrun init` does: look at data and machine, decide, check and price the recipe, show it, write it."""

import os
from decimal import Decimal, InvalidOperation
from math import ceil
from pathlib import Path
from typing import Any

import click

from sftrun.cli.examine import Examined, examine_file
from sftrun.cli.starting import drafting, known_models
from sftrun.cli.starting.drafting import Found, Here, Wishes
from sftrun.contract.executors import LOCAL, MODAL
from sftrun.errors import RecipeRejected, UsageError
from sftrun.facts.values import DataFacts
from sftrun.report.offers import Offer

PLACES = {"here": LOCAL, "modal": MODAL}


def wishes(
    data: str | None, *, model: str | None, goal: str | None, where: str | None, budget: str | None, hours: float | None
) -> Wishes | None:
    """What the command line says; None without data."""
    if data is None:
        return None
    said: Any = {"goal": goal or "good", "where": PLACES[where] if where else None}
    return Wishes(data, model, max_usd=None if budget is None else amount(budget), hours=hours, **said)


def amount(text: str) -> Decimal:
    """USD above zero."""
    try:
        found = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        found = Decimal(0)
    if not found.is_finite() or found <= 0:
        raise UsageError(f"--budget: `{text}` is no amount above zero", help="write for example `--budget 20`")
    return found


def here() -> Here:
    """This machine: its GPU, the packages of a local run, a token of Modal."""
    from sftrun.cli.doctor import has_modal_token
    from sftrun.facts.machine import machine
    from sftrun.run.local import missing_packages

    lacks = tuple(missing_packages(needs_bitsandbytes=False))
    has_bitsandbytes = not missing_packages(needs_bitsandbytes=True)
    return Here(machine(), lacks, has_modal_token(), has_bitsandbytes)


def begin(wanted: Wishes, output: Path) -> int:
    """Decide, check, show and write; returns the exit code."""
    place = here()
    found, text = _decided(wanted, place, output)
    examined = _judged(output, text)
    if not examined.ok:
        _refuse(examined, output)
    _show(examined, found, wanted)
    _write(output, text)
    _say_next(wanted, place, output)
    return 0


def _decided(wanted: Wishes, place: Here, output: Path) -> tuple[Found, str]:
    """First with the longest rows that the model takes, to see how long they are; then by what was seen."""
    found = Found()
    text = drafting.text(wanted, place, found, output).replace("max_length: 1024", "max_length: 2048")
    first = _judged(output, text)
    if first.gathered is not None:
        facts = first.gathered.facts
        train, is_counted = facts.train, facts.train is None or bool(facts.train.percentiles)
        if train is not None and not is_counted:
            train = _counted_otherwise(output, text) or train
        found = Found(facts.model, train, prompts=_prompts(first), is_counted=is_counted)
    if drafting.where(wanted, place)[0].rents:
        found = _with_gpu(wanted, found, _judged(output, drafting.text(wanted, place, found, output)))
    return found, drafting.text(wanted, place, found, output)


def _counted_otherwise(output: Path, text: str) -> DataFacts | None:
    """By the tokenizer that ships: the model's own is not on this machine yet."""
    found = examine_file(output, (f"model.name_or_path={known_models.TINY}", "compute.executor=local"), text=text)
    return None if found.gathered is None else found.gathered.facts.train


def _judged(output: Path, text: str) -> Examined:
    return examine_file(output, text=text)


def _prompts(examined: Examined) -> tuple[str, ...]:
    from sftrun.facts.data.count import row_at

    assert examined.gathered is not None
    facts = examined.gathered.facts
    rows = [row_at([Path(path) for path in facts.train_files.paths], number) for number in (1, 2, 3)]
    return drafting.prompts_of([row[2] for row in rows if row is not None], facts.train)


def _with_gpu(wanted: Wishes, found: Found, examined: Examined) -> Found:
    """The cheapest GPU of Modal's on which it fits, within the hours that were said, and twice its price as budget."""
    offers = _offers(examined)
    in_time = [one for one in offers if wanted.hours is None or (one.seconds or 0) <= 3600 * wanted.hours]
    best = min(in_time or offers, key=lambda one: one.usd or Decimal(0), default=None)
    if best is None or best.usd is None or best.cost is None:
        return found._replace(max_usd=wanted.max_usd, why_usd="as asked for")
    from sftrun.report.show import figures

    why = "the cheapest that fits" + (f" and ends in {wanted.hours:g} h" if wanted.hours and in_time else "")
    why += f": about {figures.duration(best.seconds or 0)}, {figures.dollars(best.usd)}"
    usd = wanted.max_usd or Decimal(max(1, ceil(2 * best.cost.usd_high)))
    why_usd = "as asked for" if wanted.max_usd else "twice the estimate; at it the run stops with a checkpoint"
    return found._replace(gpu=best.gpu, why_gpu=why, max_usd=usd, why_usd=why_usd)


def _offers(examined: Examined) -> list[Offer]:
    from sftrun.facts.values import Facts
    from sftrun.plan.build import build
    from sftrun.plan.check.advice import PlanOf
    from sftrun.report.estimates import of_recipe
    from sftrun.report.offers import asked_gpus

    recipe, gathered = examined.loaded.recipe, examined.gathered
    if recipe is None or gathered is None or gathered.facts.model is None:
        return []

    def plan_with(known: Facts) -> PlanOf:
        return lambda changed: build(changed, known, folders=examined.loaded.folders)

    every = asked_gpus("all", recipe, gathered.facts)
    found = of_recipe(examined.loaded.file, recipe, gathered.facts, plan_with, every)
    has_bf16 = {gpu.name for gpu in gathered.facts.catalog.gpus if gpu.has_bf16}
    return [one for one in found.offers if one.usable and one.usd is not None and one.gpu in has_bf16]


def _refuse(examined: Examined, output: Path) -> None:
    from sftrun.report.show.carets import render

    click.echo(render(examined.diagnostics, examined.loaded.source), err=True)
    click.echo(f"`{output}` is not written: mend the above first", err=True)
    raise RecipeRejected("")


def _show(examined: Examined, found: Found, wanted: Wishes) -> None:
    from sftrun.cli.recipes.data import row_lines
    from sftrun.report.show.carets import render

    if found.train is not None:
        click.echo(f"{wanted.data}: {found.train.rows:,} rows, read as {found.train.format}\n")
        lines = list(row_lines(examined))
        click.echo("\n".join([*lines, ""]), nl=bool(lines))
    warnings = [one for one in examined.diagnostics if one.severity == "warning"]
    if warnings:
        click.echo(render(warnings, examined.loaded.source) + "\n", err=True)
    click.echo(_price(examined))


def _price(examined: Examined) -> str:
    from sftrun.plan.estimate.total import seconds, usd
    from sftrun.report.show import figures

    plan = examined.plan
    assert plan is not None
    steps = f"{plan.total_steps:,} steps" if plan.total_steps else "as many steps as the data give"
    what = f"{plan.recipe.model.name_or_path} on {plan.compute.place.title}, {steps}"
    if plan.cost is None or not plan.compute.place.rents:
        return (
            f"{what}, nothing to pay"
            if plan.compute.place.is_here
            else f"{what}; not priced: the model or the data is out of reach"
        )
    return f"{what}, about {figures.duration(seconds(plan.cost))} and {figures.dollars(usd(plan.cost))}"


def _write(output: Path, text: str) -> None:
    from sftrun.disk import files
    from sftrun.errors import SftrunError

    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        files.write(output, text)
    except OSError as error:
        raise SftrunError(f"`{output}` can't be written: {error.strerror}", help="check the folder") from error


def _say_next(wanted: Wishes, place: Here, output: Path) -> None:
    name = os.path.relpath(output)
    click.echo(f"{name}: written\nnext: sftrun apply {name}")
    where, _ = drafting.where(wanted, place)
    if where.is_here and place.lacks:
        from sftrun.run.local import INSTALL

        click.echo(f"      (first: {INSTALL})")
    elif where.rents and not place.has_modal:
        click.echo("      (first: python -m modal token new)")
