"""A run's App, image, functions and its one call.

An App of the run's own is detached and tagged, so that the run outlives the command that started it and is billed under
its own name.  Where a GPU would wait for model or data, a cheap container fetches and prepares them first and spawns
the job itself: a detached App keeps only its last top-level call.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import modal

from sftrun import __version__
from sftrun.contract.jobspec import JobSpec, MoneySpec
from sftrun.disk.flock import user_name
from sftrun.errors import RemoteError
from sftrun.plan.check.budget import reserve_seconds, timeout_seconds
from sftrun.plan.estimate.setup import wants_rdma
from sftrun.plan.types import Plan
from sftrun.run.ledger import Lock, RunFolder
from sftrun.run.modal import call as modal_call
from sftrun.run.modal import image, mirror
from sftrun.run.modal import ready as modal_ready
from sftrun.run.modal.call import Remote
from sftrun.run.modal.container import functions
from sftrun.run.modal.handover import Order
from sftrun.run.modal.image import CACHE_MOUNT, Say
from sftrun.run.state import fold
from sftrun.run.tail import Tail
from sftrun.step.place import CORES, MEMORY_MIB

CACHE_VOLUME = "sftrun-cache"
RESERVE_SHARE = 0.1  # of an attempt, at most, is kept back for its last checkpoint
# what Modal may give instead, at the price of what was asked for (modal.com/docs/guide/gpu, read 2026-11-26)
UPGRADES = {"H100": "H200", "A100-40GB": "A100-80GB"}
FILES = ("run.json", "recipe.yaml", "plan.json", "lock.json", "job.json")
_PREPARE: dict[str, Any] = {"cpu": CORES, "memory": MEMORY_MIB, "timeout": 4 * 3600, "retries": 2}


@dataclass(frozen=True)
class Start:
    """What is started, with all that it needs to know."""

    folder: RunFolder
    plan: Plan
    job: JobSpec
    say: Say

    def spawn(self) -> Remote:
        """Start the call, note how to find it, and leave it running."""
        app = modal.App(f"sftrun-{self.plan.recipe.name}"[:63], tags=self._tags(), include_source=False)
        mounts = {**self.plan.recipe.volumes, CACHE_MOUNT: CACHE_VOLUME}
        execute = app.function(name="execute", **self._shared(mounts), **self._resources())(self._body())
        ready = modal_ready.missing(self.plan, self._job(), modal_call.volume(CACHE_VOLUME))
        prepare = None
        if ready:
            slim = {**self._shared(mounts), "image": self._image(gpu=False)}
            prepare = app.function(name="prepare", **_PREPARE, **slim)(functions.prepare)
        recipe = (self.folder.path / "recipe.yaml").read_text()
        with (
            image.heard(self.folder.build_log, self.plan, recipe, self.say) as build,
            app.run(detach=True),
        ):
            known = self._remote(app, execute, preparing=prepare is not None, image_seconds=build.seconds)
            order = self._order(known, ready).model_dump_json()
            return self._spawned(app, known, order, execute, prepare)

    def _spawned(self, app: modal.App, known: Remote, order: str, execute: Any, prepare: Any) -> Remote:
        """The one call; a spawn whose reply is lost may have been accepted, so its App is ended with it."""
        try:
            call = execute.spawn(order) if prepare is None else prepare.spawn(order, execute.object_id)
            known = known.model_copy(update={"call_id": call.object_id})
            modal_call.write(self.folder, known)
        except BaseException:
            with suppress(*modal_call.TROUBLE):
                app.stop()
            raise
        return known

    def _remote(self, app: modal.App, execute: "modal.Function[Any, Any, Any]", **more: Any) -> Remote:
        image_seconds = round(more.pop("image_seconds"), 1)
        return Remote(
            app_id=app.app_id or "",
            call_id="",
            function_id=execute.object_id,
            dashboard=app.get_dashboard_url(),
            environment=modal_call.environment(),
            volume=self.plan.recipe.volumes[output_mount(self.plan)],
            record=record_path(self.folder.id),
            started=time.time(),
            user=user_name(),
            since=mirror.last_seq(self.folder),
            waits={"image": image_seconds} if image_seconds else {},
            **more,
        )

    def _job(self) -> JobSpec:
        return pinned(self.job, self.folder.locked())

    def _order(self, known: Remote, ready: tuple[str, ...]) -> Order:
        files = {name: self.folder.path / name for name in FILES}
        return Order(
            job=self._job(),
            board=modal_call.BOARD,
            volume=known.volume,
            cache=CACHE_VOLUME,
            ready=ready,
            remote=known.model_dump_json(),
            files={name: path.read_text() for name, path in files.items() if path.exists()},
        )

    def _shared(self, mounts: dict[str, str]) -> dict[str, Any]:
        return {
            "image": self._image(gpu=bool(self.plan.compute.gpus)),
            "volumes": modal_call.volumes(mounts),
            "secrets": [modal.Secret.from_name(name) for name in self.plan.recipe.secrets],
            "region": self.plan.compute.region,
            "single_use_containers": True,
        }

    def _image(self, *, gpu: bool) -> modal.Image:
        return image.image(self.plan.trainer.engine, self.plan.recipe.compute.image, gpu=gpu)

    def _body(self) -> Any:
        """The function; of several machines each runs it."""
        if self.job.nodes == 1:
            return functions.execute
        return modal.clustered(size=self.job.nodes, rdma=wants_rdma(self.plan.lora))(functions.execute)

    def _resources(self) -> dict[str, Any]:
        compute = self.plan.compute
        count = "" if compute.gpu_count <= 1 else f":{compute.gpu_count}"
        return {
            "gpu": [f"{name}{count}" for name in compute.gpus] or None,
            "timeout": self._timeout(),
            "cpu": compute.cpu,
            "memory": compute.memory_mib,
            "retries": modal.Retries(max_retries=compute.retries, initial_delay=0.0, backoff_coefficient=1.0),
        }

    def _timeout(self) -> int:
        """Also a supervisor that is dead can't spend more than the budget: Modal ends the attempt."""
        money = self.job.money
        spent = max(fold(Tail(self.folder.events).read()).spent_usd, money.spent_usd)
        limit = self.plan.compute.timeout_seconds
        return max(int(timeout_seconds(money.max_usd, spent, money.usd_per_second, limit)), 60 if limit >= 60 else 1)

    def _tags(self) -> dict[str, str]:
        own = {"sftrun": __version__, "run": self.folder.id, "recipe": self.plan.recipe.name}
        return {**self.plan.recipe.tags, **own}


def pinned(job: JobSpec, lock: Lock) -> JobSpec:
    """The model at the commit that the lock names, so that all attempts train one model and nothing is looked up."""
    if lock.model_commit is None or job.model.name_or_path.startswith(("builtin:", "/")):
        return job
    return job.model_copy(update={"model": job.model.model_copy(update={"revision": lock.model_commit})})


def record_path(run_id: str) -> str:
    """Where the record lies on the output's Volume."""
    return f".sftrun/runs/{run_id}"


def output_mount(plan: Plan) -> str:
    """The mount that the output lies below; the recipe's checks have seen that there is one."""
    output = PurePosixPath(plan.recipe.output.dir)
    mounts = [mount for mount in plan.recipe.volumes if output.is_relative_to(mount)]
    if not mounts:
        raise RemoteError(f"`output.dir: {output}` is below no mount of `volumes`", help="put it below a mount")
    return max(mounts, key=len)


def money(plan: Plan) -> MoneySpec:
    """What a second of the run costs, GPU, CPU and memory, on whichever kind of GPU it gets; and its budget."""
    by_gpu = _rates(plan)
    reserve = min(reserve_seconds(plan.cost), RESERVE_SHARE * plan.compute.timeout_seconds)
    return MoneySpec(
        usd_per_second=max(by_gpu.values()),
        by_gpu={UPGRADES.get(name, name): rate for name, rate in by_gpu.items()} | by_gpu if len(by_gpu) > 1 else {},
        max_usd=plan.recipe.budget.max_usd,
        reserve_seconds=reserve,
    )


def _rates(plan: Plan) -> dict[str, Decimal]:
    """USD a second by the catalog's name of each kind of GPU; "" where there is none."""
    from sftrun.facts.gpus import catalog
    from sftrun.plan.estimate.cost import rates

    if plan.costs and len(plan.costs) == len(plan.compute.gpus):
        return {cost.gpu: cost.usd_per_second for cost in plan.costs}
    known = catalog.load()
    gpus = [catalog.find(known, name) for name in plan.compute.gpus] or [None]
    held = (rates(gpu, plan.compute.gpu_count, plan.compute, known.prices).total for gpu in gpus)
    return {gpu.name if gpu else "": rate for gpu, rate in zip(gpus, held, strict=True)}
