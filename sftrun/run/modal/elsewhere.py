"""A run that another machine started: its ledger entry, made again from what lies beside its record on the Volume.

Who may write to the Volume is not the user of this machine: what stands there names no folder here, and does not decide
that a model's own code runs here.
"""

import modal

from sftrun.contract.executors import executor
from sftrun.contract.jobspec import JobSpec
from sftrun.disk import outside
from sftrun.errors import RemoteError, RunNotFound
from sftrun.plan.types import Plan
from sftrun.run.folders import RUN_ID
from sftrun.run.ledger import Ledger, Lock, Manifest, RunFolder
from sftrun.run.modal.call import FILE, Remote
from sftrun.run.modal.start import FILES, record_path
from sftrun.run.modal.watch import say
from sftrun.run.modal.wire_errors import translated


def adopt(ledger: Ledger, run: str, volume: str) -> RunFolder:
    """The run's folder in this ledger; one that is there already is left as it is.

    Raises RunNotFound where the Volume has no such record.
    """
    if not RUN_ID.fullmatch(run):
        raise RunNotFound(
            f"`{run}` is no run's id", help="give the whole id, ten hex digits, as `sftrun runs` shows it"
        )
    folder = ledger.folder(run)
    if folder.path.exists():
        return folder
    try:
        with translated():
            files = {name: _read(volume, f"{record_path(run)}/{name}") for name in (*FILES, FILE)}
        found = {name: text for name, text in files.items() if text is not None}
        if not {"run.json", "plan.json", "job.json", FILE} <= found.keys():
            raise RunNotFound(
                f"the Volume `{volume}` has no record of a run `{run}`",
                help="give the whole id, and the Volume that the recipe's `output.dir` lies on",
            )
        return ledger.create(_manifest(found["run.json"], run), _judged(found, run, volume))
    except outside.Damaged as error:
        raise RemoteError(
            f"the record of run `{run}` on the Volume `{volume}` is damaged: it {error}", help="apply the recipe again"
        ) from error


def _manifest(text: str, run: str) -> Manifest:
    manifest = outside.parse_model(Manifest, text)
    if manifest.id != run or not executor(manifest.executor).is_elsewhere:
        raise outside.Damaged(f"is of run `{manifest.id}` ({manifest.executor})")
    return manifest


def _judged(found: dict[str, str], run: str, volume: str) -> dict[str, str]:
    """The files as they may stand in this ledger."""
    outside.parse_model(Plan, found["plan.json"])
    outside.parse_model(Lock, found.get("lock.json", "{}"))
    remote = outside.parse_model(Remote, found[FILE])
    if (remote.volume, remote.record) != (volume, record_path(run)):
        raise outside.Damaged(f"lies at `{remote.record}` of `{remote.volume}` by its own words")
    remote = remote.model_copy(update={"since": 0, "settled": False})
    job = outside.parse_model(JobSpec, found["job.json"])
    if job.model.trust_remote_code:
        say(f"`{job.model.name_or_path}` has code of its own, which a Volume can't allow: apply the recipe to do so")
        job = job.model_copy(update={"model": job.model.model_copy(update={"trust_remote_code": False})})
    texts = {"job.json": job.model_dump_json(indent=2) + "\n", FILE: remote.model_dump_json(indent=2) + "\n"}
    return {**found, **texts}


def _read(volume: str, path: str) -> str | None:
    """A file's text; None where it is missing."""
    data = b""
    try:
        for block in modal.Volume.from_name(volume).read_file(path):
            data += block
            if len(data) > outside.MAX_BYTES:
                raise outside.Damaged(f"is longer than {outside.MAX_BYTES:,} bytes")
        return data.decode()
    except UnicodeDecodeError:
        raise outside.Damaged("is no UTF-8 text") from None
    except FileNotFoundError:
        return None
    except modal.exception.NotFoundError:
        return None
