"""What `sftrun apply` does: start, attach, resume, or say that there is nothing to do."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click

from sftrun.cli.prepare import Prepared, must, prepare
from sftrun.cli.watching import Interrupts, OnInterrupt, watch
from sftrun.contract.events import dump
from sftrun.plan.models import Plan
from sftrun.run import execute
from sftrun.run.backend import Backend, choose
from sftrun.run.execute import Applied, Request
from sftrun.run.files import read_text
from sftrun.run.ledger import Ledger, Lock, RunFolder, run_id
from sftrun.run.lock import Holder


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
    prepared = prepare(wanted.recipe, wanted.overrides, offline=False)
    plan = must(prepared)
    ledger = Ledger.open()
    if wanted.dry_run:
        return _show_plan(plan, ledger, wanted.form)
    backend = choose(plan.compute.executor, ledger)
    _confirm(plan, wanted.is_agreed or wanted.form == "json")
    with Interrupts() as interrupts:
        request = _request(prepared, plan, wanted.overrides, wanted.force)
        done = execute.apply(request, ledger, backend, _say_waiting)
        return _after(done, backend, interrupts, detach=wanted.detach, form=wanted.form)


def _after(done: Applied, backend: Backend, interrupts: Interrupts, *, detach: bool, form: str) -> int:
    if done.action == "nothing":
        return _nothing_to_do(done, form)
    click.echo(_headline(done), err=form == "json")
    if detach:
        _say_detached(done.folder, form)
        return 0
    since = done.before.seq if done.action == "resumed" else 0
    on_interrupt: OnInterrupt = "stop" if backend.stops_with_its_terminal else "detach"
    return watch(done.folder, backend, interrupts, form=form, on_interrupt=on_interrupt, since=since)


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
    from sftrun.report.terminal_tables import console, plan_tables

    generation = ledger.latest_generation(plan.identity)
    run = run_id(plan.identity, max(generation, 1))
    job = choose(plan.compute.executor, ledger).job(plan, run)
    steps = f", {plan.total_steps:,} steps" if plan.total_steps else ""
    click.echo(f"{plan.recipe.name}: {plan.recipe.model.name_or_path} on {_where(plan)}{steps}")
    console(sys.stdout).print(plan_tables(plan))
    click.echo(f"would write\n  {ledger.folder(run).path}/\n  {job.output_dir}/\n  {job.checkpoints_dir}/")
    click.echo(f"nothing was started; run {run} {'stands already' if generation else 'would be new'}")
    return 0


def _where(plan: Plan) -> str:
    gpus = f"{plan.compute.gpu_count} × {' or '.join(plan.compute.gpus)}" if plan.compute.gpu_count else "the CPU"
    return f"{gpus}, {'Modal' if plan.compute.executor == 'modal' else 'this machine'}"


def _request(prepared: Prepared, plan: Plan, overrides: tuple[str, ...], force: bool) -> Request:
    file = Path(prepared.loaded.file)
    return Request(plan, file, read_text(file), _lock(prepared, plan), overrides, force)


def _lock(prepared: Prepared, plan: Plan) -> Lock:
    assert prepared.gathered is not None
    facts = prepared.gathered.facts
    return Lock(
        packages=plan.lock,
        model=plan.recipe.model.name_or_path,
        model_commit=facts.model.commit if facts.model else None,
        model_sha256=facts.model.content_sha256 if facts.model else None,
        train_sha256=facts.train_files.sha256,
        eval_sha256=facts.eval_files.sha256,
        gpus=plan.compute.gpus,
        prices_date=facts.catalog.prices.date if plan.compute.executor == "modal" else None,
    )


def _confirm(plan: Plan, is_agreed: bool) -> None:
    """Ask before money is spent, where there is somebody to ask."""
    if is_agreed or plan.compute.executor == "local" or plan.cost is None or not sys.stdin.isatty():
        return
    click.confirm(f"may cost ${plan.cost.usd_low:.2f} to ${plan.cost.usd_high:.2f}; start it?", abort=True)
