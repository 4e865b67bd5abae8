"""Files for a command of the user's: what the system refuses becomes a LedgerError with one thing to do.

`translated` is the one place that knows what an errno means to a user.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sftrun.disk import files, outside
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
    errno.EINVAL: ("it is no regular file", "move it away"),
    errno.ELOOP: ("its links lead in a circle", "move it away"),
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


def reason(error: OSError) -> tuple[str, str] | None:
    """What an error of the system's means, and one thing to do; None for one that is not known."""
    return _REASONS.get(error.errno or 0)


def make_folder(path: Path) -> Path:
    """The folder, with its parents."""
    with translated("make the folder", path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_file(path: Path, text: str, *, durable: bool = True) -> None:
    """Write all of `text` or nothing, as `files.write` does."""
    with translated("write", path):
        files.write(path, text, durable=durable)


def read_text(path: Path) -> str:
    """All of a file; LedgerError where it can't be read or is no text."""
    with translated("read", path):
        try:
            return outside.read_text(path)
        except outside.Damaged as error:
            raise LedgerError(f"`{path}` is damaged: it {error}", help="restore it or move it away") from error
