"""Files to and from Volumes: up by content and once, down with a check of every size.

A file goes to `uploads/<sha256>/<name>` of the cache Volume; what stands there with the right size is not sent again.
Modal's own client sends v2 Volumes in blocks, several at once, and skips blocks that the server has: an upload that
broke off goes on where it was.
"""

import time
from collections.abc import Callable, Iterator, Sized
from pathlib import Path, PurePosixPath
from typing import Any

import modal
import modal.volume

from sftrun.disk import files as disk_files
from sftrun.disk.commands import make_folder, translated
from sftrun.errors import SftrunError
from sftrun.run.modal.call import BROKEN
from sftrun.run.transfer import Say, Transfer

UPLOADS = "uploads"
UPLOAD_TRIES = 4
BREAKS = (*BROKEN, modal.exception.ExecutionError)  # the last is storage that refuses


def remote_path(file: Path, sha256: str) -> str:
    """Where a file of that content goes on the cache Volume."""
    return f"{UPLOADS}/{sha256}/{file.name}"


def upload(volume: modal.Volume, files: dict[Path, str], say: Say, pause: Callable[[float], None] = time.sleep) -> None:
    """Send what is not there yet; `files` maps each to its path on the Volume.

    An upload that breaks off is taken up again: only the blocks that are not there go.
    """
    before = {file: _stamp(file) for file in files}
    missing = {file: path for file, path in files.items() if size_of(volume, path) != before[file][0]}
    if not missing:
        return
    total = sum(before[file][0] for file in missing)
    say(f"uploading {_count(missing)}, {total / 1e6:,.1f} MB")
    for left in reversed(range(UPLOAD_TRIES)):
        try:
            _send(volume, missing, total, say)
            break
        except (FileNotFoundError, PermissionError) as error:
            raise SftrunError(f"can't read `{error.filename}`: {(error.strerror or '').lower()}") from error
        except BREAKS as error:
            if not left:
                raise
            say(f"the upload broke off ({type(error).__name__}); going on where it was")
            pause(2.0 ** (UPLOAD_TRIES - 1 - left))
    for file, path in missing.items():
        _verify(volume, file, path, before[file])


def _send(volume: modal.Volume, files: dict[Path, str], total: int, say: Say) -> None:
    with Transfer("uploaded", total, say) as bar, _batch(volume, bar) as batch:
        for file, path in files.items():
            batch.put_file(str(file), f"/{path}")


def _batch(volume: modal.Volume, bar: Transfer) -> Any:
    """As `batch_upload(force=True)`, with an ear for the progress: that of Modal's own command line."""
    volume.hydrate()
    try:
        resolve = modal.volume.AbstractVolumeUploadContextManager.resolve
        metadata: Any = volume._get_metadata()
    except AttributeError:  # no public name: another client uploads without a bar
        return volume.batch_upload(force=True)
    return resolve(metadata.version, volume.object_id, volume.client, progress_cb=bar.move, force=True)


def _verify(volume: modal.Volume, file: Path, path: str, before: tuple[int, int]) -> None:
    """Each block was checked by its content; this is for the whole, which stands under the content's name."""
    if _stamp(file) != before:
        volume.remove_file(f"/{path}")
        raise SftrunError(f"`{file}` was changed while it was uploaded", help="run the command again")
    if size_of(volume, path) != before[0]:
        raise SftrunError(f"`{file}` did not arrive whole on Modal", help="run the command again")


def _stamp(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


def _count(files: Sized) -> str:
    return "1 file" if len(files) == 1 else f"{len(files)} files"


def size_of(volume: modal.Volume, path: str) -> int | None:
    """Bytes of a file on a Volume; None if it is not there."""
    try:
        entries = volume.listdir(f"/{path}")
    except (modal.exception.NotFoundError, FileNotFoundError):
        return None
    return next((entry.size for entry in entries if PurePosixPath("/", entry.path) == PurePosixPath("/", path)), None)


def listing(volume: modal.Volume, folder: str) -> Iterator[tuple[str, int]]:
    """(path on the Volume, bytes) of each file below a folder; none where it is missing."""
    try:
        for entry in volume.iterdir(f"/{folder}", recursive=True):
            if entry.type.name == "FILE":
                yield entry.path.lstrip("/"), entry.size
    except (modal.exception.NotFoundError, FileNotFoundError):
        return


def download(volume: modal.Volume, folder: str, into: Path, say: Say) -> None:
    """All files below `folder`; one that stands there whole already is kept, each is checked by its size."""
    wanted = {into / PurePosixPath(path).relative_to(folder): (path, size) for path, size in listing(volume, folder)}
    missing = {
        target: found for target, found in wanted.items() if not target.exists() or target.stat().st_size != found[1]
    }
    if not missing:
        return
    disk_files.sweep(into)
    total = sum(size for _, size in missing.values())
    say(f"pulling {_count(missing)}, {total / 1e6:,.1f} MB")
    with Transfer("pulled", total, say) as bar:
        for target, (path, size) in missing.items():
            _fetch(volume, path, size, target, bar)


def _fetch(volume: modal.Volume, path: str, size: int, target: Path, bar: Transfer) -> None:
    make_folder(target.parent)
    with translated("write", target), disk_files.replacing(target) as beside:
        with beside.open("wb") as file:
            volume.read_file_into_fileobj(f"/{path}", file, progress_cb=bar.move)
        if beside.stat().st_size != size:
            raise SftrunError(f"`{path}` came down with {beside.stat().st_size} of {size} bytes", help="pull again")
