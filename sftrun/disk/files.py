"""Files and folders that are whole or not there: written beside, flushed, renamed.

Every error is an OSError that names the file that was asked for, never the one beside it.
"""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNFINISHED = ".part"  # how the name of a file ends that is still written, or whose writer was killed
_LEFT_SECONDS = 86_400.0


def write(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Write all of it or nothing; a reader sees the old file or the new one, if `durable` after a power cut too."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path, durable=durable) as beside:
        beside.write_bytes(data)


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """An empty file beside `path`, for whoever writes by himself; it takes the place of `path` when all went well.

    A link stays a link, and a file that stood there leaves its mode to the new one.
    """
    target = Path(os.path.realpath(path))
    beside = _open_beside(target, path)
    try:
        yield beside
        if durable:
            flush(beside)
        with suppress(FileNotFoundError):
            os.chmod(beside, target.stat().st_mode & 0o7777)
        _rename(beside, target, path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    if durable:
        flush_names(target.parent)


def _open_beside(target: Path, asked: Path) -> Path:
    """A new file in the same folder.  `tempfile` would do, and costs every command 5 ms to import."""
    beside = target.with_name(f".{target.name[:200]}-{os.urandom(8).hex()}{UNFINISHED}")
    try:
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(asked.parent)) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(asked)) from None
    return beside


def _rename(beside: Path, target: Path, asked: Path) -> None:
    try:
        os.replace(beside, target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(asked)) from None


def flush(path: Path) -> None:
    """Make a file's content, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_names(folder: Path) -> None:
    """Make renames inside `folder` durable, where the file system can."""
    with suppress(OSError):
        flush(folder)


def flush_tree(folder: Path) -> None:
    """Make all that lies below `folder` durable, and `folder` itself."""
    for path in sorted(folder.rglob("*")):
        flush(path)
    flush(folder)


def sweep(folder: Path) -> None:
    """Drop what killed writers have left below `folder`: a day old, as others may be writing now."""
    for path in folder.rglob(f".*{UNFINISHED}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _LEFT_SECONDS:
                path.unlink()


def put_folder(new: Path, place: Path, old: Path) -> None:
    """Put the folder `new` in the place of `place`; what stood there is then `old`, for the caller to drop or keep.

    Nothing may stand at `old` yet.  Should the second of the two renames fail, the first one is taken back.
    """
    if place.exists():
        os.rename(place, old)
    try:
        os.rename(new, place)
    except OSError:
        if old.exists():
            os.rename(old, place)
        raise
    flush_names(place.parent)
