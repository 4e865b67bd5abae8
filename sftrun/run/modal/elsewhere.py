"""A run that another machine started: its ledger entry, made again from what lies beside its record on the Volume."""

import modal

from sftrun.disk import outside
from sftrun.errors import RemoteError, RunNotFound
from sftrun.run.ledger import Ledger, Manifest, RunFolder
from sftrun.run.modal.call import FILE, Remote
from sftrun.run.modal.start import FILES, record_path
from sftrun.run.modal.wire_errors import translated


def adopt(ledger: Ledger, run: str, volume: str) -> RunFolder:
    """The run's folder in this ledger; one that is there already is left as it is.

    Raises RunNotFound where the Volume has no such record.
    """
    folder = ledger.folder(run)
    if folder.path.exists():
        return folder
    with translated():
        files = {name: _read(volume, f"{record_path(run)}/{name}") for name in (*FILES, FILE)}
    if files["run.json"] is None or files[FILE] is None:
        raise RunNotFound(
            f"the Volume `{volume}` has no record of a run `{run}`",
            help="give the whole id, and the Volume that the recipe's `output.dir` lies on",
        )
    found = {name: text for name, text in files.items() if text is not None}
    try:
        manifest = outside.parse_model(Manifest, found["run.json"])
        remote = outside.parse_model(Remote, found[FILE]).model_copy(update={"since": 0, "settled": False})
    except outside.Damaged as error:
        raise RemoteError(
            f"the record of run `{run}` on the Volume `{volume}` is damaged: it {error}", help="apply the recipe again"
        ) from error
    return ledger.create(manifest, {**found, FILE: remote.model_dump_json(indent=2) + "\n"})


def _read(volume: str, path: str) -> str | None:
    """A file's text; None where it is missing."""
    try:
        return b"".join(modal.Volume.from_name(volume).read_file(path)).decode()
    except FileNotFoundError:
        return None
    except modal.exception.NotFoundError:
        return None
