"""Files that are whole or not there: written beside, flushed, renamed; and the system's errors said in our words.

`translated` is the one place that knows what an errno means to a user.
"""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sftrun.errors import LedgerError

_REASONS: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", "free some space there, then repeat the command; nothing was lost"),
    errno.EDQUOT: ("the disk quota is used up", "free some space there, then repeat the command; nothing was lost"),
    errno.EROFS: ("the file system is read-only", "set SFTRUN_HOME to a folder that can be written"),
    errno.EACCES: ("permission denied", "check who owns it, or set SFTRUN_HOME to a folder of your own"),
    errno.EPERM: ("permission denied", "check who owns it, or set SFTRUN_HOME to a folder of your own"),
    errno.ENOTDIR: ("a part of that path is a file, not a folder", "move that file away, or set SFTRUN_HOME"),
    errno.EISDIR: ("a folder stands where a file should be", "move that folder away"),
    errno.ENOENT: ("it is not there", "check the path"),
    errno.EEXIST: ("something else stands there already", "move it away"),
    errno.ENAMETOOLONG: ("the path is too long", "use a shorter path"),
    errno.EFBIG: ("the file would be larger than is allowed here", "raise the limit with `ulimit -f`"),
    errno.EMFILE: ("too many files are open", "raise the limit with `ulimit -n`"),
    errno.EIO: ("the disk reports an input/output error", "check the disk"),
}


@contextmanager
def translated(doing: str, path: Path) -> Iterator[None]:
    """Turn an OSError into a LedgerError: `can't <doing> <path>: <reason>`, with one thing to do."""
    try:
        yield
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else path
        unknown = ((error.strerror or str(error)).lower(), "check the path and the disk")
        reason, help = _REASONS.get(error.errno or 0, unknown)
        raise LedgerError(f"can't {doing} `{where}`: {reason}", help=help) from error


def make_folder(path: Path) -> Path:
    """The folder, with its parents."""
    with translated("make the folder", path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_atomic(path: Path, text: str, *, durable: bool = True) -> None:
    """Write all of `text` or nothing; a reader sees the old file or the new one, if `durable` after a power cut too."""
    with translated("write", path):
        descriptor, beside = _open_beside(path)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            os.chmod(beside, 0o666 & ~_umask())
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise
        if durable:
            sync_folder(path.parent)


def _open_beside(path: Path) -> tuple[int, str]:
    """A new file in the same folder; an error names the file that was asked for, not this one."""
    try:
        return tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "", str(path.parent)) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def sync_folder(path: Path) -> None:
    """Make renames inside `path` durable, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_text(path: Path) -> str:
    """All of a file; LedgerError where it can't be read or is no text."""
    with translated("read", path):
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise LedgerError(f"`{path}` is damaged: it is no UTF-8 text", help="restore it or move it away") from error


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
