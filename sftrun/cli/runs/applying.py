"""What `sftrun apply` does: start, attach, resume, or say that there is nothing to do."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path

import click

from sftrun.cli.examine import Examined, examine_file, must
from sftrun.cli.money.costs import month_so_far
from sftrun.cli.runs.watching import Interrupts, OnInterrupt, watch
from sftrun.contract.events import dump
from sftrun.disk.commands import read_text
from sftrun.disk.flock import Holder
from sftrun.errors import BudgetRefused, UsageError
from sftrun.plan.check.budget import Judgement, judge_each, remaining, strictest
from sftrun.plan.estimate.total import priced, seconds, usd
from sftrun.plan.types import CostEstimate, Plan
from sftrun.report.observed import observations
from sftrun.report.show import figures
from sftrun.run import execute
from sftrun.run.backend import Backend, choose
from sftrun.run.execute import Applied, Consent, Request
from sftrun.run.ledger import Ledger, Lock, RunFolder, run_id


@dataclass(frozen=True)
class Wanted:
    """The command line of `apply`."""

    recipe: str
    overrides: tuple[str, ...]
    dry_run: bool = False
    force: bool = False
    is_agreed: bool = False
    detach: bool = False
    form: str = "text"


def apply(wanted: Wanted) -> int:
    """Do it; returns the exit code."""
    if wanted.recipe == "-":
        raise UsageError("a run is known by its recipe's file, and `-` is none", help="write the recipe to a file")
    examined = examine_file(wanted.recipe, wanted.overrides, offline=False)
    ledger = Ledger.open()
    plan = _learned(must(examined), examined, ledger)
    if wanted.dry_run:
        return _show_plan(plan, ledger, wanted.form)
    backend = choose(plan.compute.executor, ledger)
    with Interrupts() as interrupts:
        consent = partial(_consent, plan, wanted.is_agreed)
        request = _request(examined, plan, wanted.overrides, wanted.force, consent)
        done = execute.apply(request, ledger, backend, _say_waiting)
        return _after(done, plan, backend, interrupts, detach=wanted.detach, form=wanted.form)


def _learned(plan: Plan, examined: Examined, ledger: Ledger) -> Plan:
    """The plan with its estimate corrected by what runs of this ledger have shown."""
    assert examined.gathered is not None
    facts = examined.gathered.facts
    return priced(plan, facts, observations(ledger.root, facts.catalog)) if plan.cost is not None else plan


def _after(done: Applied, plan: Plan, backend: Backend, interrupts: Interrupts, *, detach: bool, form: str) -> int:
    if done.action == "nothing":
        _say_other_evaluation(done.folder, plan)
        return _nothing_to_do(done, form)
    click.echo(_headline(done), err=form == "json")
    if detach:
        _say_detached(done.folder, form)
        return 0
    since = done.before.seq if done.action == "resumed" else 0
    on_interrupt: OnInterrupt = "stop" if backend.stops_with_its_terminal else "detach"
    return watch(done.folder, backend, interrupts, form=form, on_interrupt=on_interrupt, since=since)


def _say_other_evaluation(folder: RunFolder, plan: Plan) -> None:
    """Another `evaluation` decides no other adapter: the run is the same, and its rows can still be asked."""
    wanted = plan.recipe.evaluation
    if wanted is not None and wanted != folder.plan().recipe.evaluation:
        named = f" --data {wanted.data.path}" if wanted.data.path else ""
        click.echo(f"its `evaluation` is another one now: `sftrun evaluate {folder.id}{named}` asks it", err=True)


def _headline(done: Applied) -> str:
    run = done.folder.id
    match done.action:
        case "started":
            return f"run {run} started"
        case "resumed":
            return f"run {run} resumed ({done.before.status} at step {done.before.step})"
        case _:
            return f"run {run} is under way already; attached to it"


def _nothing_to_do(done: Applied, form: str) -> int:
    if form == "json":
        assert done.before.outcome is not None
        click.echo(dump(done.before.outcome))
    else:
        click.echo(
            f"nothing to do: run {done.folder.id} has finished; its adapter is in {done.folder.job().output_dir}"
        )
        click.echo(f"  sftrun show {done.folder.id}\n  {done.folder.manifest().command} --force")
    return 0


def _say_detached(folder: RunFolder, form: str) -> None:
    if form == "json":
        click.echo(f'{{"run_id": "{folder.id}"}}')
    else:
        click.echo(f"  sftrun attach {folder.id}    watch it\n  sftrun cancel {folder.id}    stop it")


def _say_waiting(who: Holder) -> None:
    click.echo(f"waiting: {who.describe(time.time())} is starting this run", err=True)


def _show_plan(plan: Plan, ledger: Ledger, form: str) -> int:
    if form == "json":
        click.echo(plan.model_dump_json(indent=2))
        return 0
    from sftrun.report.show import figures
    from sftrun.report.show.terminal_tables import console, plan_tables

    generation = ledger.latest_generation(plan.oldest_identity)
    run = run_id(plan.oldest_identity, max(generation, 1))
    job = choose(plan.compute.executor, ledger).job(plan, run)
    count = plan.cost.steps if plan.cost is not None else plan.total_steps
    steps = f", {figures.steps(count)}" if count else ""
    click.echo(f"{plan.recipe.name}: {plan.recipe.model.name_or_path} on {_where(plan)}{steps}")
    console(sys.stdout).print(plan_tables(plan))
    click.echo(f"would write\n  {ledger.folder(run).path}/\n  {job.output_dir}/\n  {job.checkpoints_dir}/")
    judged = _judged(plan, plan.costs)
    if judged.verdict != "start" and not generation:
        click.echo(f"without --dry-run it would {judged.verdict}: {judged.message}")
    click.echo(f"nothing was started; run {run} {'stands already' if generation else 'would be new'}")
    return 0


def _where(plan: Plan) -> str:
    compute = plan.compute
    gpus = f"{compute.gpu_count} × {' or '.join(compute.gpus)}" if compute.gpu_count else "the CPU"
    if compute.nodes > 1:
        gpus = f"{compute.nodes} machines with {gpus} each"
    return f"{gpus}, {compute.place.title}"


def _request(examined: Examined, plan: Plan, overrides: tuple[str, ...], force: bool, consent: Consent) -> Request:
    file = Path(examined.loaded.file)
    return Request(plan, file, read_text(file), _lock(examined, plan), overrides, force, consent)


def _lock(examined: Examined, plan: Plan) -> Lock:
    assert examined.gathered is not None
    facts = examined.gathered.facts
    return Lock(
        packages=plan.lock,
        model=plan.recipe.model.name_or_path,
        model_commit=facts.model.commit if facts.model else None,
        model_sha256=facts.model.content_sha256 if facts.model else None,
        adapter=None if plan.adapter is None else plan.adapter.words,
        adapter_sha256=None if plan.adapter is None else plan.adapter.sha256,
        train_sha256=facts.train_files.sha256,
        eval_sha256=facts.eval_files.sha256,
        sources_sha256={key: source.files.sha256 for key, source in facts.sources.items()},
        gpus=plan.compute.gpus,
        prices_date=facts.catalog.prices.date if plan.compute.place.rents else None,
    )


def _consent(plan: Plan, is_agreed: bool, spent: Decimal, step: int) -> None:
    """Refuse what the budgets can't pay for; ask, or want --yes, where they may not."""
    left = [remaining(cost, step) for cost in plan.costs]
    if left and plan.compute.place.rents:
        _say_expected(left[0], step)
    judged = _judged(plan, left, spent)
    if judged.verdict == "start" or (judged.verdict == "ask" and is_agreed):
        return
    if judged.verdict == "ask" and sys.stdin.isatty():
        if click.confirm(f"{judged.message}; start it?"):
            return
        raise BudgetRefused("not started, as you said", help="make the run smaller, or raise the budget")
    raise BudgetRefused(judged.message, help=judged.help)


def _judged(plan: Plan, found: Sequence[CostEstimate], spent: Decimal = Decimal(0)) -> Judgement:
    dearest = max(found, key=lambda cost: cost.usd_high, default=None)
    return strictest((judge_each(found, plan.recipe.budget.max_usd, spent=spent), month_so_far(dearest)))


def _say_expected(found: CostEstimate, step: int) -> None:
    if step:
        span = f"{figures.dollars(found.usd_low)} to {figures.dollars(found.usd_high)}"
        click.echo(f"expected to cost {span} more, from step {step}", err=True)
    else:
        click.echo(f"expected to take {figures.duration(seconds(found))} and {figures.dollars(usd(found))}", err=True)
