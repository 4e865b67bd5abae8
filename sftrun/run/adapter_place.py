"""`model.adapter`: a run of this ledger, a folder or a Hub id -> the adapter's folder on this machine."""

from pathlib import Path

from sftrun.contract import output_marker
from sftrun.disk import adapter_files
from sftrun.errors import LedgerError, Problem, RunNotFound
from sftrun.facts.model.adapter import Place
from sftrun.facts.model.hub_cache import HUB_ID
from sftrun.run import listing
from sftrun.run.ledger import Ledger, RunFolder


def find(name: str, beside: Path, root: Path, *, offline: bool) -> Place | Problem:
    """`beside`: the folder that a relative path is relative to; `root`: the ledger's."""
    folder = beside / Path(name).expanduser()
    if name.startswith((".", "/", "~")) or folder.is_dir():
        return _of_folder(name, folder)
    try:
        run_id = listing.find(root, name)
    except RunNotFound as error:
        if "/" in name and HUB_ID.match(name):
            return _of_hub(name, offline=offline)
        help = error.help if error.help and "did you mean" in error.help else "name a run, a folder or a Hub id"
        return Problem("missing", f"`{name}` is no run of `{root}`, no folder and no Hub id", help)
    return _of_run(name, Ledger(root).folder(run_id))


def _of_folder(name: str, folder: Path) -> Place | Problem:
    if not folder.is_dir():
        return Problem("missing", f"no folder at `{folder}`", "name the folder of an adapter, or a run")
    marker = output_marker.read(folder)
    return Place(name, folder.resolve(), None if marker is None else marker.run_id)


def _of_run(name: str, run: RunFolder) -> Place | Problem:
    """The output of a run that has ended here, or that was pulled."""
    try:
        folder, is_here = Path(run.job().output_dir), run.plan().compute.place.is_here
    except LedgerError as error:
        return Problem("malformed", error.message, error.help or "name its folder")
    pulled = run.path / "adapter"
    folder = folder if is_here else pulled
    marker = output_marker.read(folder)
    if marker is not None and marker.run_id == run.id:
        return Place(name, folder, run.id)
    if not is_here:
        message = f"the adapter of run {run.id} is not on this machine"
        return Problem("missing", message, f"`sftrun pull {run.id}` brings it here")
    if marker is not None:
        message = f"`{folder}` holds the adapter of run {marker.run_id} now, not that of run {run.id}"
        return Problem("missing", message, "name that run, or the folder of a copy")
    return Problem(
        "missing", f"run {run.id} has no adapter yet: it has not finished", f"`sftrun show {run.id}` says how far it is"
    )


def _of_hub(name: str, *, offline: bool) -> Place | Problem:
    """Both files by way of the Hub's cache; adapters are small."""
    if offline:
        return Problem("unreachable", f"the adapter `{name}` is asked for at the Hub", "leave out `--offline`")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        folders = {Path(hf_hub_download(name, file)).parent for file in adapter_files.FILES}
    except HfHubHTTPError as error:
        status = error.response.status_code
        why = "it needs a token that may read it, if it exists" if status in (401, 403) else f"the Hub says {status}"
        return Problem(
            "missing", f"no LoRA adapter `{name}` could be had from the Hub: {why}", "correct the id, or set `HF_TOKEN`"
        )
    except (OSError, ValueError):
        return Problem(
            "missing", f"the adapter `{name}` can't be had: the Hub does not answer", "try again, or name a folder"
        )
    return Place(name, folders.pop())
