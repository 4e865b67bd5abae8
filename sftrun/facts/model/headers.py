"""Reads a checkpoint's safetensors headers: 8 bytes of length, then JSON with each tensor's dtype and shape.

Nothing is unpickled, ever: a folder that has only `.bin` weights is refused.  Whatever the bytes are, the answer is
tensors or a `Problem`.
"""

from pathlib import Path
from typing import Any

from sftrun.disk import outside
from sftrun.errors import Problem
from sftrun.facts.model.tensor_names import Tensor

# a header is a few hundred KB for the biggest models; the library itself refuses 100 MB
MAX_HEADER_BYTES = 100_000_000
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


class Malformed(Exception):
    """Inside these pages only: becomes a `Problem` at their edge."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def parse_object(text: bytes, where: str) -> dict[str, object]:
    """A JSON object, or `Malformed`."""
    try:
        return outside.parse_object(text, max_bytes=MAX_HEADER_BYTES)
    except outside.Damaged as error:
        raise _broken(where, str(error)) from None


def tensor(entry: object, name: str, where: str) -> Tensor:
    """One entry of a header, as it is written or as the Hub's library gives it."""
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(), int()]} if all(map(_is_size, shape)):
            return Tensor(dtype, tuple(shape))
    raise _broken(where, f"has no dtype, shape and offsets for `{name}`")


def shard_names(index: dict[str, object], where: str) -> tuple[str, ...]:
    """The files that an index points to, each once."""
    weights = index.get("weight_map")
    names = set(weights.values()) if isinstance(weights, dict) and all(map(_is_plain, weights.values())) else set()
    if not names:
        raise _broken(where, "has no `weight_map` of file names")
    return tuple(sorted(names))


def read_config(folder: Path) -> dict[str, object]:
    """config.json of a folder."""
    return parse_object(_read(folder / "config.json"), str(folder / "config.json"))


def read_folder(folder: Path) -> tuple[dict[str, Tensor], tuple[Path, ...]]:
    """All tensors of a folder's checkpoint, and its weight files."""
    files = _weight_files(folder)
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= read_header(file)
    if not tensors:
        raise _broken(str(files[0]), "names no tensor")
    return tensors, files


def _weight_files(folder: Path) -> tuple[Path, ...]:
    index = folder / INDEX
    if index.exists():
        return tuple(folder / name for name in shard_names(parse_object(_read(index), str(index)), str(index)))
    single = folder / SINGLE
    if single.exists():
        return (single,)
    found = tuple(sorted(folder.glob("*.safetensors")))
    if found:
        return found
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
        raise Malformed(
            Problem(
                "unsafe",
                f"{folder} has its weights as pickles only (`.bin`), which can run code when they are read",
                "convert them to safetensors: `model.save_pretrained(folder)` on a machine that trusts them",
            )
        )
    raise Malformed(
        Problem("missing", f"{folder} has no `.safetensors` file", "check the folder, or download the model again")
    )


def read_header(file: Path) -> dict[str, Tensor]:
    """All tensors of one file."""
    try:
        with outside.open_file(file) as stream:
            length = _header_length(stream.read(8), str(file))
            text = stream.read(length)
            size = stream.seek(0, 2)
    except OSError as error:
        raise unreadable(file, error) from None
    if len(text) < length:
        raise _broken(str(file), f"is cut short: its header says {length:,} bytes, {len(text):,} are there")
    entries: dict[str, Any] = parse_object(text, str(file))
    entries.pop("__metadata__", None)
    tensors = {name: tensor(entry, name, str(file)) for name, entry in entries.items()}
    end = 8 + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    if end > size:
        raise _broken(str(file), f"is cut short: {end:,} bytes are named, {size:,} are there")
    return tensors


def _header_length(start: bytes, where: str) -> int:
    """Length of the JSON that follows the first 8 bytes."""
    length = int.from_bytes(start[:8], "little")
    if len(start) < 8 or not 2 <= length <= MAX_HEADER_BYTES:
        raise _broken(where, "does not begin with a safetensors header")
    return length


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_plain(name: object) -> bool:
    # an index must not lead out of its folder
    return isinstance(name, str) and bool(name) and "/" not in name and "\\" not in name and name != ".."


def _read(file: Path) -> bytes:
    try:
        return outside.read_bytes(file)
    except OSError as error:
        raise unreadable(file, error) from None


def unreadable(file: Path, error: OSError) -> Malformed:
    """What the system said of a file, with one thing to do."""
    if isinstance(error, FileNotFoundError):
        return Malformed(Problem("missing", f"{file} does not exist", "check the folder, or download the model again"))
    reason = (error.strerror or type(error).__name__).lower()
    return Malformed(Problem("malformed", f"{file} can't be read: {reason}", "check the file's kind and permissions"))


def _broken(where: str, what: str) -> Malformed:
    return Malformed(Problem("malformed", f"{where} {what}", "download the model again, or save it again"))
