"""Data files opened as what is in them, compressed or not."""

import gzip
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from sftrun.errors import Problem
from sftrun.rows.raw import find

# what a damaged file raises while it is read
ERRORS = (EOFError, zlib.error, gzip.BadGzipFile)


class Damaged(EOFError):
    """A file that is not what its suffix says."""


def opened(path: Path) -> IO[bytes]:
    """The bytes that are in a file.  Raises OSError, and while it is read one of `ERRORS`."""
    packing = find.packing(path)
    if packing == ".zst":
        return _zstd(path)
    opener: Any = gzip.open if packing == ".gz" else open
    stream: IO[bytes] = opener(path, "rb")
    return stream


def refused(path: Path) -> Problem | None:
    """Why a file can't be opened with what is installed here, or None."""
    if find_spec("pyarrow") is not None or (find.kind(path) != ".parquet" and find.packing(path) != ".zst"):
        return None
    return Problem("unknown", f"`{path}` needs `pyarrow` to be looked into", "run `pip install pyarrow`")


def _zstd(path: Path) -> IO[bytes]:
    import io

    import pyarrow  # type: ignore[import-untyped]

    class Reader(io.RawIOBase):
        """pyarrow's stream, which has no lines, in io's form."""

        def __init__(self) -> None:
            self._stream = pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            try:
                data = self._stream.read(len(buffer))
            except OSError as error:
                raise Damaged(str(error)) from None
            buffer[: len(data)] = data
            return len(data)

    return io.BufferedReader(Reader(), 1 << 20)
