"""The executor `modal`: one App a run, one spawned call, everything later by the call's id.

What a watcher sees comes from the board; the record on the Volume is the truth and is fetched when the board is gone
and when the run has ended.  Nothing is asked of Modal for a run that has ended and whose record was read.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import ClassVar

import modal

from sftrun.contract import output_marker
from sftrun.contract.answers import Answer, Begun
from sftrun.contract.jobspec import JobSpec
from sftrun.contract.question import Question
from sftrun.disk import adapter_files, files
from sftrun.disk.commands import make_folder
from sftrun.disk.flock import Holder
from sftrun.errors import SftrunError
from sftrun.job.supervise import answerer
from sftrun.job.supervise.examiner import Done
from sftrun.plan.assemble import Places, jobspec
from sftrun.plan.types import Plan
from sftrun.rows.raw.find import sha256
from sftrun.run.billing import Billed
from sftrun.run.ledger import Ledger, RunFolder
from sftrun.run.local import missing_packages
from sftrun.run.modal import asking, billing_report, board, call, mirror, volume_files, watch
from sftrun.run.modal import start as modal_start
from sftrun.run.modal.image import CACHE_MOUNT
from sftrun.run.modal.start import CACHE_VOLUME, output_mount, record_path
from sftrun.run.modal.watch import Watch, say
from sftrun.run.modal.wire_errors import translated
from sftrun.units import age

LOG_SECONDS = 5.0


@dataclass
class Modal:
    """The executor `modal`."""

    ledger: Ledger
    watches: dict[str, Watch] = field(default_factory=dict)
    stops_with_its_terminal: ClassVar[bool] = False
    linger_seconds: ClassVar[float] = float("inf")  # another container may go on after the last word of an attempt

    def check(self, plan: Plan) -> None:
        """Whether this machine has a token that Modal takes, and the plan is one that can run there."""
        output_mount(plan)
        with translated():
            modal.Client.from_env()

    def job(self, plan: Plan, run_id: str) -> JobSpec:
        where = Places(
            record_dir=f"{output_mount(plan)}/{record_path(run_id)}",
            cache_dir=f"{CACHE_MOUNT}/data",
            mounts={mount: mount for mount in plan.recipe.volumes},
            uploads={str(file): f"{CACHE_MOUNT}/{path}" for file, path in self._uploads(plan).items()},
        )
        return jobspec(plan, run_id, where, modal_start.money(plan))

    def start(self, folder: RunFolder) -> None:
        with translated():
            if self._is_run_elsewhere(folder):
                return
            known = call.read(folder)
            if known is not None:
                mirror.renew(folder, known)
            notes = call.board()
            for key in (board.stop_key(folder.id), board.call_key(folder.id)):
                with suppress(KeyError):
                    notes.pop(key)
        self.watches.pop(folder.id, None)
        plan, job = folder.plan(), folder.job()
        try:
            with translated():
                volume_files.upload(call.volume(CACHE_VOLUME), self._uploads(plan), say)
                modal_start.Start(folder, plan, job, say).spawn()
        except SftrunError as error:
            if call.read(folder) != known:  # the call was spawned; what broke came after
                say(f"{error.message}; the run has started all the same")
                return
            with suppress(*call.TROUBLE):
                mirror.never_began(folder, error.message, error.help)
            raise

    def holder(self, folder: RunFolder) -> Holder | None:
        """Modal, while the call owes its end; an answer that can't be had leaves what was known."""
        return self._watch(folder).look().holder

    def sync(self, folder: RunFolder) -> None:
        """New lines of the board onto the end of the folder's events, each once whoever else is watching."""
        self._watch(folder).look()

    def sync_log(self, folder: RunFolder) -> None:
        """The worker's output as of its last commit, now and then."""
        watch, known = self._watch(folder).look(), call.read(folder)
        if known is None or known.settled or time.monotonic() - watch.log_at < LOG_SECONDS:
            return
        watch.log_at = time.monotonic()
        with suppress(*call.TROUBLE):
            mirror.fetch_log(folder, known)

    def request_stop(self, folder: RunFolder) -> None:
        """By a word on the board; a run that no container has begun yet has nothing to save and is ended."""
        known = call.read(folder)
        with translated():
            has_begun = known is None or mirror.last_seq(folder) > known.since
            if known is not None and not has_begun and watch.present(known) != "container":
                self.kill(folder)
            else:
                call.board().put(board.stop_key(folder.id), "user")

    def kill(self, folder: RunFolder) -> None:
        """The word on the board is for a call that is not known here: the one that fetched may just have started it."""
        known = call.read(folder)
        if known is None:
            return
        with translated():
            modal.FunctionCall.from_id(known.call_id).cancel(terminate_containers=True)
            call.board().put(board.stop_key(folder.id), "user")
            moved = call.followed(folder, known)
            if moved is not known:
                modal.FunctionCall.from_id(moved.call_id).cancel(terminate_containers=True)
        self.watches.pop(folder.id, None)
        self._watch(folder).look()  # so that what stands here is true at once

    def about(self, folder: RunFolder) -> tuple[str, ...]:
        """The run on Modal's dashboard, and what it has waited for."""
        known = call.read(folder)
        if known is None:
            return ()
        waits = ", ".join(f"{watch.NAMES[name]} {age(seconds)}" for name, seconds in known.waits.items())
        return (f"on Modal {known.dashboard}", *((f"waited   {waits}",) if waits else ()))

    def ask_billed(self, folder: RunFolder) -> Billed:
        return billing_report.ask(folder.id, folder.manifest().created, time.time())

    def output_owner(self, folder: RunFolder) -> str | None:
        volume, path = self._output(folder)
        with translated():
            try:
                marker = output_marker.parse(b"".join(volume.read_file(f"{path}/{output_marker.MARKER}")))
            except (FileNotFoundError, modal.exception.NotFoundError):
                return None
        return marker.run_id if marker else None

    def download(self, folder: RunFolder, into: Path) -> None:
        """By way of the run's folder, where what came down stays when the rest breaks off."""
        volume, path = self._output(folder)
        kept = make_folder(folder.path / "adapter")
        with translated():
            volume_files.download(volume, path, kept, say)
        shutil.copytree(kept, into, dirs_exist_ok=True, ignore=shutil.ignore_patterns(f".*{files.UNFINISHED}"))

    def evaluate(self, folder: RunFolder, job: JobSpec, done: Done) -> Iterator[Begun | Answer]:
        raise SftrunError(
            f"run {folder.id} stands on Modal, where only the recipe's own `evaluation` is asked",
            help="write `evaluation` into the recipe, or `sftrun generate` to ask by hand",
        )

    def answer(
        self, folder: RunFolder, questions: Iterator[Question], *, max_new_tokens: int, temperature: float
    ) -> Iterator[Sequence[str]]:
        """Here, with the adapter pulled, for what was trained without a GPU; else on Modal."""
        plan = folder.plan()
        if plan.compute.gpus or missing_packages(needs_bitsandbytes=plan.quantization is not None):
            return asking.ask(plan, folder.job(), questions, max_new_tokens=max_new_tokens, temperature=temperature)
        adapter = folder.path / "adapter"
        volume, path = self._output(folder)
        with translated():
            volume_files.download(volume, path, make_folder(adapter), say)
        job = folder.job().model_copy(update={"output_dir": str(adapter), "record_dir": str(folder.path)})
        return answerer.ask(job, questions, max_new_tokens=max_new_tokens, temperature=temperature)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _is_run_elsewhere(self, folder: RunFolder) -> bool:
        """Whether somebody with another ledger has this run under way; then it is watched from here."""
        other = call.on_board(folder.id)
        if other is None or call.ask(other.call_id).standing != "pending":
            return False
        call.write(folder, other.model_copy(update={"since": 0}))
        say(f"{other.user} has this run under way on Modal, for {age(time.time() - other.started)}")
        self.watches.pop(folder.id, None)
        return True

    def _watch(self, folder: RunFolder) -> Watch:
        return self.watches.setdefault(folder.id, Watch(folder))

    def _uploads(self, plan: Plan) -> dict[Path, str]:
        tested = plan.evaluation
        others = (tested.data, tested.general) if tested else ()
        sources = [*plan.dataset.sources, *(source for source in others if source is not None)]
        files = [Path(file) for source in sources for file in source.local]
        cache = self.ledger.root / "cache"
        data = {file: volume_files.remote_path(file, sha256(file, cache)) for file in files}
        return data | _adapter_files(plan)

    def _output(self, folder: RunFolder) -> tuple[modal.Volume, str]:
        plan, mount = folder.plan(), output_mount(folder.plan())
        path = PurePosixPath(plan.recipe.output.dir).relative_to(mount)
        return call.volume(plan.recipe.volumes[mount]), str(path)


def _adapter_files(plan: Plan) -> dict[Path, str]:
    """Beside each other, below the content of both."""
    found = plan.adapter
    files = [] if found is None else [Path(found.folder, name) for name in adapter_files.FILES]
    return {file: volume_files.remote_path(file, found.sha256) for file in files if found is not None}
