"""The executor `modal`: one App a run, one spawned call, everything later by the call's id.

The App is detached and tagged, so that a run outlives the command that started it and is billed under its own name.
What a watcher sees comes from the board; the record on the Volume is the truth and is fetched when the board is gone.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

import modal

from sftrun import __version__
from sftrun.contract.jobspec import JobSpec, MoneySpec
from sftrun.errors import RemoteError, SftrunError
from sftrun.facts.files import sha256
from sftrun.plan.jobspec import Places, jobspec
from sftrun.plan.models import Plan
from sftrun.run import board, modal_call, modal_files, modal_image, remote
from sftrun.run.ledger import Ledger, RunFolder
from sftrun.run.lock import Holder, exclusive, user_name
from sftrun.run.modal_call import Remote
from sftrun.run.modal_errors import redacted, translated
from sftrun.run.modal_image import CACHE_MOUNT

CACHE_VOLUME = "sftrun-cache"
LOOK_SECONDS = 1.0
RESERVE_SHARE, RESERVE_SECONDS = 0.1, 120.0  # time kept back of an attempt for its last checkpoint


@dataclass
class Look:
    """What was last heard of a run, so that a loop that asks ten times a second costs one call a second."""

    at: float = 0.0
    holder: Holder | None = None
    silent_since: float | None = None


@dataclass
class Modal:
    """The executor `modal`."""

    ledger: Ledger
    looks: dict[str, Look] = field(default_factory=dict)

    def check(self, plan: Plan) -> None:
        """Whether this machine has a token that Modal takes."""
        with translated():
            modal.Client.from_env()

    def job(self, plan: Plan, run_id: str) -> JobSpec:
        where = Places(
            record_dir=f"{_output_mount(plan)}/{_record(run_id)}",
            cache_dir=f"{CACHE_MOUNT}/data",
            mounts={mount: mount for mount in plan.recipe.volumes},
            uploads={str(file): f"{CACHE_MOUNT}/{path}" for file, path in self._uploads(plan).items()},
        )
        spec = jobspec(plan, run_id, where, self._money(plan))
        reserve = min(RESERVE_SECONDS, RESERVE_SHARE * plan.compute.timeout_seconds)
        return spec.model_copy(update={"money": spec.money.model_copy(update={"reserve_seconds": reserve})})

    def start(self, folder: RunFolder) -> None:
        plan, job = folder.plan(), folder.job()
        mounts = {**plan.recipe.volumes, CACHE_MOUNT: CACHE_VOLUME}
        with translated():
            notes = modal_call.board()
            for key in (board.stop_key(job.run_id), board.next_key(job.run_id)):
                with suppress(KeyError):
                    notes.pop(key)
            modal_files.upload(modal_call.volume(CACHE_VOLUME), self._uploads(plan), _say)
            self._spawn(folder, plan, job, mounts)
        self.looks.pop(folder.id, None)

    def holder(self, folder: RunFolder) -> Holder | None:
        """Modal, while the call owes its end; an answer that can't be had leaves what was known."""
        look = self._look(folder)
        return look.holder

    def sync(self, folder: RunFolder) -> None:
        """New lines of the board onto the end of the folder's events, each once whoever else is watching."""
        self._look(folder)

    def request_stop(self, folder: RunFolder) -> None:
        with translated():
            modal_call.board().put(board.stop_key(folder.id), "user")

    def kill(self, folder: RunFolder) -> None:
        known = modal_call.read(folder)
        if known is not None:
            with translated():
                modal.FunctionCall.from_id(known.call_id).cancel(terminate_containers=True)
            self.looks.pop(folder.id, None)

    def output_owner(self, folder: RunFolder) -> str | None:
        import json

        volume, path = self._output(folder)
        with translated():
            try:
                text = b"".join(volume.read_file(f"{path}/sftrun.json"))
                return str(json.loads(text)["run_id"])
            except (FileNotFoundError, modal.exception.NotFoundError, ValueError, KeyError):
                return None

    def download(self, folder: RunFolder, into: Path) -> None:
        volume, path = self._output(folder)
        with translated():
            modal_files.download(volume, path, into, _say)

    def answer(
        self, folder: RunFolder, prompts: Iterator[str], *, max_new_tokens: int, temperature: float
    ) -> Iterator[Sequence[str]]:
        """On this machine, with the adapter pulled: right for the small models that this program is for."""
        from sftrun.run import answers
        from sftrun.run.local import INSTALL, missing_packages

        missing = missing_packages(needs_bitsandbytes=False)
        if missing:
            raise SftrunError(f"answering here needs {', '.join(missing)}", help=INSTALL)
        adapter = folder.path / "adapter"
        self.download(folder, adapter)
        job = folder.job().model_copy(update={"output_dir": str(adapter), "record_dir": str(folder.path)})
        return answers.ask(job, prompts, max_new_tokens=max_new_tokens, temperature=temperature)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _spawn(self, folder: RunFolder, plan: Plan, job: JobSpec, mounts: dict[str, str]) -> None:
        order = remote.Order(job=job, board=modal_call.BOARD, volumes=tuple(mounts.values())).model_dump_json()
        app = modal.App(f"sftrun-{plan.recipe.name}"[:63], tags=_tags(plan, folder.id), include_source=False)
        shared = self._shared(plan, mounts)
        execute = app.function(name="execute", **shared, **_resources(plan))(remote.execute)
        needs_fetching = _needs_fetching(job)
        if needs_fetching:
            slim = {**shared, "image": modal_image.image(plan.trainer.engine, plan.recipe.compute.image, gpu=False)}
            prepare = app.function(name="prepare", cpu=2.0, timeout=4 * 3600, retries=2, **slim)(remote.prepare)
        stopped: KeyboardInterrupt | None = None
        with app.run(detach=True):
            try:  # Modal's context swallows a KeyboardInterrupt
                call = prepare.spawn(order, execute.object_id) if needs_fetching else execute.spawn(order)
                modal_call.write(
                    folder,
                    Remote(
                        app_id=app.app_id or "",
                        call_id=call.object_id,
                        dashboard=app.get_dashboard_url(),
                        volume=plan.recipe.volumes[_output_mount(plan)],
                        record=_record(folder.id),
                        started=time.time(),
                        user=user_name(),
                        preparing=needs_fetching,
                    ),
                )
            except KeyboardInterrupt as error:
                stopped = error
        if stopped is not None:
            raise stopped

    def _shared(self, plan: Plan, mounts: dict[str, str]) -> dict[str, Any]:
        return {
            "image": modal_image.image(plan.trainer.engine, plan.recipe.compute.image, gpu=bool(plan.compute.gpus)),
            "volumes": modal_call.volumes(mounts),
            "secrets": [modal.Secret.from_name(name) for name in plan.recipe.secrets],
            "region": plan.compute.region,
            "single_use_containers": True,
        }

    def _uploads(self, plan: Plan) -> dict[Path, str]:
        sources = [plan.dataset.train, *([plan.dataset.eval] if plan.dataset.eval else [])]
        files = [Path(file) for source in sources for file in source.local]
        return {file: modal_files.remote_path(file, sha256(file, self.ledger.root / "cache")) for file in files}

    def _money(self, plan: Plan) -> MoneySpec:
        cost = plan.cost
        rate = Decimal(0) if cost is None else cost.usd_per_second
        return MoneySpec(usd_per_second=rate, max_usd=plan.recipe.budget.max_usd)

    def _output(self, folder: RunFolder) -> tuple[modal.Volume, str]:
        plan, mount = folder.plan(), _output_mount(folder.plan())
        path = PurePosixPath(plan.recipe.output.dir).relative_to(mount)
        return modal_call.volume(plan.recipe.volumes[mount]), str(path)

    def _look(self, folder: RunFolder) -> Look:
        look = self.looks.setdefault(folder.id, Look())
        known = modal_call.read(folder)
        if known is None or time.monotonic() - look.at < LOOK_SECONDS:
            return look
        try:
            self._refresh(folder, known, look)
        except (modal.exception.Error, OSError) as error:
            self._say_silence(look, error)
        look.at = time.monotonic()
        return look

    def _refresh(self, folder: RunFolder, known: Remote, look: Look) -> None:
        known = modal_call.followed(folder, known, folder.id)
        how, said = modal_call.standing(known)
        if how == "unknown":
            raise modal.exception.ConnectionError("no answer")
        _take(folder, known, has_ended=how == "ended")
        look.holder = Holder(0, "modal", known.user, known.started) if how == "pending" else None
        if how == "ended" and said and known.said is None:
            known = modal_call.read(folder) or known
            modal_call.write(folder, known.model_copy(update={"said": redacted(said)}))
        if look.silent_since is not None:
            _say("connected to Modal again")
            look.silent_since = None

    def _say_silence(self, look: Look, error: BaseException) -> None:
        if isinstance(error, modal.exception.AuthError):
            with translated():
                raise error
        if look.silent_since is None:
            look.silent_since = time.monotonic()
            _say(f"Modal can't be reached ({redacted(str(error)) or type(error).__name__}); the run goes on")
        look.holder = look.holder or Holder(0, "modal", "?", time.time())


def _take(folder: RunFolder, known: Remote, *, has_ended: bool) -> None:
    """Append to events.jsonl what is new on the board; the Volume's record fills a gap, and has the last word."""
    with exclusive(folder.path / "sync-lock"):
        after = _last_seq(folder)
        lines = board.read(modal_call.board(), folder.id, after)
        has_gap = bool(lines) and board.seq_of(lines[0]) != after + 1
        if has_gap or (has_ended and not lines and not known.settled):
            lines = _from_volume(known, after) or lines
            modal_call.write(folder, known.model_copy(update={"settled": has_ended}))
        if lines:
            with folder.events.open("a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in lines))


def _from_volume(known: Remote, after: int) -> list[str]:
    try:
        text = b"".join(modal_call.volume(known.volume).read_file(f"{known.record}/events.jsonl")).decode()
    except (FileNotFoundError, modal.exception.NotFoundError):
        return []
    whole = text[: text.rfind("\n") + 1].splitlines()
    return [line for line in whole if board.seq_of(line) > after]


def _last_seq(folder: RunFolder) -> int:
    try:
        with folder.events.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 65_536))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return 0
    return board.seq_of(lines[-1].decode()) if lines else 0


def _record(run_id: str) -> str:
    return f".sftrun/runs/{run_id}"


def _output_mount(plan: Plan) -> str:
    """The mount that the output lies below; the recipe's checks have seen that there is one."""
    output = PurePosixPath(plan.recipe.output.dir)
    mounts = [mount for mount in plan.recipe.volumes if output.is_relative_to(mount)]
    if not mounts:
        raise RemoteError(f"`output.dir: {output}` is below no mount of `volumes`", help="put it below a mount")
    return max(mounts, key=len)


def _needs_fetching(job: JobSpec) -> bool:
    sources = [source for source in (job.dataset.train, job.dataset.eval) if source is not None]
    on_hub = not job.model.name_or_path.startswith(("builtin:", "/"))
    return on_hub or any(source.hub is not None for source in sources)


def _resources(plan: Plan) -> dict[str, Any]:
    compute = plan.compute
    count = "" if compute.gpu_count <= 1 else f":{compute.gpu_count}"
    return {
        "gpu": [f"{name}{count}" for name in compute.gpus] or None,
        "timeout": compute.timeout_seconds,
        "cpu": compute.cpu,
        "memory": compute.memory_mib,
        "retries": modal.Retries(max_retries=compute.retries, initial_delay=0.0, backoff_coefficient=1.0),
    }


def _tags(plan: Plan, run_id: str) -> dict[str, str]:
    return {**plan.recipe.tags, "sftrun": __version__, "run": run_id, "recipe": plan.recipe.name}


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
