"""Files to and from Volumes: up by content and once, down with a check of every size.

A file goes to `uploads/<sha256>/<name>` of the cache Volume; what stands there with the right size is not sent again.
Modal's own client sends v2 Volumes in blocks, several at once, and skips blocks that the server has: an upload that
broke off goes on where it was.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import modal

from sftrun.errors import SftrunError
from sftrun.run.files import make_folder, translated

UPLOADS = "uploads"
REDRAW_SECONDS = 0.1
Say = Callable[[str], None]


def remote_path(file: Path, sha256: str) -> str:
    """Where a file of that content goes on the cache Volume."""
    return f"{UPLOADS}/{sha256}/{file.name}"


def upload(volume: modal.Volume, files: dict[Path, str], say: Say) -> None:
    """Send what is not there yet; `files` maps each to its path on the Volume."""
    missing = {file: path for file, path in files.items() if size_of(volume, path) != file.stat().st_size}
    if not missing:
        return
    say(f"uploading {len(missing)} files, {sum(file.stat().st_size for file in missing) / 1e6:.1f} MB")
    with volume.batch_upload(force=True) as batch:
        for file, path in missing.items():
            batch.put_file(str(file), f"/{path}")
    for file, path in missing.items():
        if size_of(volume, path) != file.stat().st_size:
            raise SftrunError(f"`{file}` did not arrive whole on Modal", help="run the command again")


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
    total = sum(size for _, size in missing.values())
    say(f"pulling {len(missing)} files, {total / 1e6:.1f} MB")
    with Bar(total) as bar:
        for target, (path, size) in missing.items():
            _fetch(volume, path, size, target, bar)


def _fetch(volume: modal.Volume, path: str, size: int, target: Path, bar: "Bar") -> None:
    make_folder(target.parent)
    beside = target.with_name(f".{target.name}.part")
    with translated("write", target), beside.open("wb") as file:
        volume.read_file_into_fileobj(f"/{path}", file, progress_cb=bar.move)
    if beside.stat().st_size != size:
        raise SftrunError(f"`{path}` came down with {beside.stat().st_size} of {size} bytes", help="pull again")
    beside.replace(target)


class Bar:
    """How far a transfer is, over itself on a terminal's stderr; elsewhere nothing."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._drawn = total, 0, 0.0
        self._is_shown = sys.stderr.isatty()

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")

    def move(self, *_: object, advance: float = 0.0, **__: object) -> None:
        """Modal's client calls this for each piece."""
        self._done += int(advance)
        now = time.monotonic()
        if not self._is_shown or now - self._drawn < REDRAW_SECONDS:
            return
        self._drawn = now
        share = min(self._done / max(self._total, 1), 1.0)
        bar = "━" * round(share * 30) + " " * (30 - round(share * 30))
        sys.stderr.write(f"\r  {bar} {share:4.0%} of {self._total / 1e6:,.1f} MB")
        sys.stderr.flush()
