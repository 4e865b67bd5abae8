"""The one generic executor: start, attach, resume or leave alone, whatever the backend is.

Running `apply` twice is safe, in a terminal, in CI, and by two people at once: who comes second waits for the lock
under which the first one starts the run, and then finds it running.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from sftrun.contract.events import AnyEvent
from sftrun.disk.flock import Holder, exclusive, myself
from sftrun.errors import BudgetRefused, RunBusy, SftrunError
from sftrun.plan.types import Plan
from sftrun.run.backend import Backend
from sftrun.run.ledger import Ledger, Lock, Manifest, RunFolder, run_id
from sftrun.run.state import ENDED, RunState, fold, seen
from sftrun.run.tail import Tail

Consent = Callable[[Decimal, int], None]  # of a run that has spent so much, from the step that it goes on from
Action = Literal["started", "resumed", "attached", "nothing"]
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Request:
    """What `apply` was asked to do."""

    plan: Plan
    recipe_file: Path
    recipe_text: str
    lock: Lock
    overrides: tuple[str, ...] = ()
    force: bool = False
    consent: Consent = lambda spent, step: None  # raises where the money is not granted


@dataclass(frozen=True)
class Applied:
    """What `apply` did, and how the run stood before."""

    folder: RunFolder
    action: Action
    before: RunState


def apply(request: Request, ledger: Ledger, backend: Backend, waiting: Callable[[Holder], None]) -> Applied:
    """Bring the plan's run under way, or find that there is nothing to do."""
    identity = request.plan.oldest_identity
    with exclusive(ledger.starting_lock(identity[:16]), waiting):
        generation = ledger.latest_generation(identity)
        if generation == 0:
            return _start(request, ledger, backend, 1)
        folder = ledger.folder(run_id(identity, generation))
        state = load(folder, backend)
        if request.force:
            _refuse_if_running(folder, state, backend)
            return _start(request, ledger, backend, generation + 1)
        if state.status in ("running", "starting"):
            return Applied(folder, "attached", state)
        if state.status == "finished":
            return _nothing(request.plan, folder, state, backend)
        return _resume(request, folder, generation, state, backend)


def load(folder: RunFolder, backend: Backend) -> RunState:
    """How a run stands now."""
    backend.sync(folder)
    return seen_now(fold(Tail(folder.events).read()), folder, backend)


def seen_now(state: RunState, folder: RunFolder, backend: Backend) -> RunState:
    """What the events say, and whether somebody is at the run now."""
    return seen(state, is_held=backend.holder(folder) is not None)


def follow(folder: RunFolder, backend: Backend, tail: Tail) -> Iterator[AnyEvent | None]:
    """The events from `tail` on, as they come, until nobody is at the run; None now and then: time to tick."""
    ended_at: float | None = None
    while True:
        is_held = backend.holder(folder) is not None
        backend.sync(folder)
        heard = False
        for event in tail.read():
            heard = True
            ended_at = time.monotonic() if event.kind in ENDED else None
            yield event
        if heard:
            continue
        if not is_held or (ended_at is not None and time.monotonic() - ended_at > backend.linger_seconds):
            return
        yield None
        time.sleep(POLL_SECONDS)


def must_own_output(folder: RunFolder, backend: Backend, *, help: str) -> None:
    """Raise where the run's adapter is gone, or another run's stands in its place."""
    owner = backend.output_owner(folder)
    if owner == folder.id:
        return
    where = folder.job().output_dir
    said = f"`{where}` holds the adapter of run {owner} now" if owner else f"there is no adapter in `{where}`"
    raise SftrunError(f"{said}, not that of run {folder.id}", help=help)


def _start(request: Request, ledger: Ledger, backend: Backend, generation: int) -> Applied:
    plan = request.plan
    backend.check(plan)
    request.consent(Decimal(0), 0)
    new_id = run_id(plan.oldest_identity, generation)
    folder = ledger.create(_manifest(request, new_id, generation), _files(request, backend, new_id))
    backend.start(folder)
    return Applied(folder, "started", RunState())


def _resume(request: Request, folder: RunFolder, generation: int, state: RunState, backend: Backend) -> Applied:
    backend.check(request.plan)
    _refuse_if_spent(request.plan, state)
    request.consent(state.spent_usd, state.checkpoint.step if state.checkpoint else 0)
    try:
        folder.manifest()
    except SftrunError:  # damaged: all that it says is known again
        folder.write({"run.json": _manifest(request, folder.id, generation).model_dump_json(indent=2) + "\n"})
    # what only concerns the outside may have changed: budget, time limit, tags
    folder.write(_files(request, backend, folder.id))
    backend.start(folder)
    return Applied(folder, "resumed", state)


def _nothing(plan: Plan, folder: RunFolder, state: RunState, backend: Backend) -> Applied:
    must_own_output(folder, backend, help=f"`{folder.manifest().command} --force` trains it again")
    if plan.recipe.model.trust_remote_code and not folder.job().model.trust_remote_code:
        # adopted from a Volume, which could not allow it; who applies the recipe here does
        folder.write({"job.json": backend.job(plan, folder.id).model_dump_json(indent=2) + "\n"})
    return Applied(folder, "nothing", state)


def _refuse_if_running(folder: RunFolder, state: RunState, backend: Backend) -> None:
    who = backend.holder(folder)
    if who is not None or state.status == "running":
        name = who.describe(time.time()) if who else "somebody"
        raise RunBusy(f"{name} is at run {folder.id}", help=f"`sftrun cancel {folder.id}` first, or leave --force out")


def _refuse_if_spent(plan: Plan, state: RunState) -> None:
    limit = plan.recipe.budget.max_usd
    if limit is not None and state.spent_usd >= limit:
        raise BudgetRefused(
            f"this run has spent ${state.spent_usd:.2f}, the budget is ${limit:.2f}",
            help="raise `budget.max_usd` and apply again: it goes on from the last checkpoint",
        )


def _manifest(request: Request, new_id: str, generation: int) -> Manifest:
    me, plan = myself(), request.plan
    return Manifest(
        id=new_id,
        name=plan.recipe.name,
        identity=plan.oldest_identity,
        generation=generation,
        created=me.since,
        user=me.user,
        host=me.host,
        executor=plan.compute.executor,
        model=plan.recipe.model.name_or_path,
        recipe_file=str(request.recipe_file.absolute()),
        overrides=request.overrides,
    )


def _files(request: Request, backend: Backend, run: str) -> dict[str, str]:
    return {
        "recipe.yaml": request.recipe_text,
        "plan.json": request.plan.model_dump_json(indent=2) + "\n",
        "lock.json": request.lock.model_dump_json(indent=2) + "\n",
        "job.json": backend.job(request.plan, run).model_dump_json(indent=2) + "\n",
    }
