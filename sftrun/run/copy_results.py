"""Copy a run's results into a folder of the user's: all of it or nothing, and never over something foreign."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from sftrun.contract.output_marker import MARKER
from sftrun.disk import files
from sftrun.disk.commands import make_folder, translated
from sftrun.errors import SftrunError


def pull(target: Path, fill: Callable[[Path], None]) -> None:
    """Make `target` hold what `fill` puts into a folder.

    It is filled beside and renamed into place.  A target that is no earlier pull (nor empty) is left alone.
    """
    _refuse_foreign(target)
    make_folder(target.parent)
    with translated("write beside", target):
        beside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        with translated("copy to", beside):
            fill(beside)
            os.chmod(beside, 0o755)
        _swap(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _refuse_foreign(target: Path) -> None:
    with translated("look at", target):
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise SftrunError(f"`{target}` is no folder", help="name another folder, or move it away")
        if target.is_dir() and not (target / MARKER).is_file() and any(target.iterdir()):
            raise SftrunError(
                f"`{target}` holds something else already", help="name a new folder, or empty that one yourself"
            )


def _swap(beside: Path, target: Path) -> None:
    """Put `beside` where `target` was; the old pull goes only once the new one stands."""
    old = beside.with_name(f"{beside.name}-old")
    with translated("write", target):
        files.put_folder(beside, target, old)
    shutil.rmtree(old, ignore_errors=True)
