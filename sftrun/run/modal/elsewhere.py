"""A run that another machine started: its ledger entry, made again from what lies beside its record on the Volume."""

import modal

from sftrun.errors import RunNotFound
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
    remote = Remote.model_validate_json(found[FILE]).model_copy(update={"since": 0, "settled": False})
    manifest = Manifest.model_validate_json(found["run.json"])
    return ledger.create(manifest, {**found, FILE: remote.model_dump_json(indent=2) + "\n"})


def _read(volume: str, path: str) -> str | None:
    """A file's text; None where it is missing."""
    try:
        return b"".join(modal.Volume.from_name(volume).read_file(path)).decode()
    except FileNotFoundError:
        return None
    except modal.exception.NotFoundError:
        return None
