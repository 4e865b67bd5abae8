"""A model's architecture without its weights: from a folder, the Hub's cache, the Hub, or what ships with the program.

Nearest first: what is on this disk costs a millisecond, shipped facts cost as little and hold for every revision, the
Hub costs a second and is asked only when it may be.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sftrun import builtin
from sftrun.disk import outside
from sftrun.errors import Problem
from sftrun.facts.model import shapes
from sftrun.facts.model.headers import Malformed, read_config, read_folder
from sftrun.facts.model.hub_cache import HUB_ID, cached_folder
from sftrun.facts.model.shapes import Source
from sftrun.facts.values import ModelFacts

__all__ = ["Problem", "model_facts", "model_folder", "shipped_facts", "shipped_names"]

SHIPPED = Path(__file__).parent / "shipped"
_QUANTISED_TWINS = ("-unsloth-bnb-4bit", "-bnb-4bit")


def model_facts(
    name_or_path: str,
    revision: str | None,
    folder: Path,
    *,
    offline: bool,
    timeout: float = 5.0,
) -> ModelFacts | Problem:
    """The facts of a recipe's model; relative folders are below `folder`.  Never raises for what it reads."""
    try:
        return _facts(name_or_path, revision, folder, offline, timeout)
    except Malformed as error:
        return error.problem


def model_folder(name_or_path: str, revision: str | None, folder: Path) -> Path | None:
    """Where the model's files are on this machine (folder, builtin or cache); None if they are not."""
    local = _local(name_or_path, folder)
    if local is not None or not HUB_ID.match(name_or_path):
        return local if local is not None and local.is_dir() else None
    return cached_folder(name_or_path, revision)


def shipped_facts(name: str) -> ModelFacts | None:
    """Facts that ship with the program, for a Hub id or a quantised twin of one."""
    for twin in _QUANTISED_TWINS:
        name = name.removesuffix(twin)
    file = _index().get(name.lower())
    if file is None:
        return None
    facts = ModelFacts.model_validate_json((SHIPPED / file).read_bytes())
    # a base model has the shapes of its instruct twin, its tokenizer's template is another matter
    template = facts.has_chat_template if name == facts.name_or_path else None
    names = shapes.module_names(facts.linears, facts.others)
    return facts.model_copy(update={"name_or_path": name, "has_chat_template": template, "module_names": names})


def shipped_names() -> tuple[str, ...]:
    """Every Hub id that facts ship for."""
    return tuple(json.loads((SHIPPED / "index.json").read_text(encoding="utf-8")))


def _facts(name: str, revision: str | None, folder: Path, offline: bool, timeout: float) -> ModelFacts | Problem:
    local = _local(name, folder)
    if local is not None:
        return _of_folder(local, name, "folder", commit=None)
    if not HUB_ID.match(name):
        return Problem("missing", f"`{name}` is no folder, no Hub id and no builtin model", "write `owner/name`")
    snapshot = cached_folder(name, revision)
    if snapshot is not None:
        found = _of_cache(snapshot, name)
        if found is not None:
            return found
    shipped = shipped_facts(name)
    if shipped is not None:
        return shipped
    if offline:
        return Problem("unreachable", f"`{name}` is not on this machine", "leave out `--offline` to ask the Hub")
    return _of_hub(name, revision, timeout)


def _local(name: str, folder: Path) -> Path | None:
    """The folder that a name means; None for a Hub id."""
    if name.startswith(builtin.PREFIX):
        try:
            return builtin.path(name)
        except KeyError:
            names = ", ".join(f"`{builtin.PREFIX}{known}`" for known in builtin.NAMES)
            problem = Problem("missing", f"`{name}` does not ship with the program", f"choose one of {names}")
            raise Malformed(problem) from None
    path = folder / Path(name).expanduser()
    is_written_as_path = name.startswith((".", "/", "~", "\\")) or name.count("/") > 1
    try:
        return path if is_written_as_path or path.exists() else None
    except (OSError, ValueError):
        return path


def _of_folder(path: Path, name: str, source: Source, commit: str | None) -> ModelFacts:
    _must_be_folder(path)
    config = read_config(path)
    _must_be_unquantised(config, name)
    tensors, files = read_folder(path)
    return shapes.facts(
        tensors,
        config,
        source=source,
        name_or_path=name,
        commit=commit,
        content_sha256=_content(path, files) if source == "folder" else None,
        bytes_on_disk=sum(file.stat().st_size for file in files),
        has_chat_template=has_chat_template(path),
    )


def _must_be_folder(path: Path) -> None:
    try:
        kind = "folder" if path.is_dir() else "file" if path.exists() else "missing"
    except (OSError, ValueError):
        kind = "missing"
    if kind == "missing":
        problem = Problem(
            "missing", f"{path} does not exist", "check `model.name_or_path`: it is relative to the recipe"
        )
        raise Malformed(problem)
    if kind == "file":
        raise Malformed(
            Problem("malformed", f"{path} is a file, not a model's folder", f"name its folder: {path.parent}")
        )


def _must_be_unquantised(config: Mapping[str, object], name: str) -> None:
    quantised = config.get("quantization_config")
    if isinstance(quantised, Mapping):
        method = quantised.get("quant_method", "quantised")
        raise Malformed(
            Problem(
                "quantised",
                f"the weights of `{name}` are stored quantised (`{method}`), so their shapes can't be read",
                "name the unquantised model; `quantization.load_in_4bit` quantises it when it is loaded",
            )
        )


def has_chat_template(folder: Path) -> bool:
    """True if the tokenizer's files hold a chat template, in either of the two places."""
    if (folder / "chat_template.jinja").exists():
        return True
    try:
        return bool(outside.read_object(folder / "tokenizer_config.json").get("chat_template"))
    except (OSError, outside.Damaged):
        return False


def _content(folder: Path, files: tuple[Path, ...]) -> str:
    """A hash that changes when the model does: config, tokenizer, and each weight file's header, size and time."""
    digest = hashlib.sha256()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (folder / name).is_file():
            digest.update(name.encode() + outside.read_bytes(folder / name))
    for file in files:
        digest.update(file.name.encode())
        digest.update(_sampled(file))
    return digest.hexdigest()


def _sampled(file: Path, piece: int = 1 << 18, pieces: int = 4) -> bytes:
    """Hash of a file's size and of 1 MB spread over it: 60 GB of weights are not read through to be told apart."""
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with outside.open_file(file) as stream:
        for number in range(pieces):
            stream.seek(number * max(piece, (size - piece) // (pieces - 1)))
            digest.update(stream.read(piece))
    return digest.digest()


def _of_cache(snapshot: Path, name: str) -> ModelFacts | None:
    """Facts of a snapshot; None if it holds too little, as after a download of the tokenizer alone."""
    try:
        return _of_folder(snapshot, name, "cache", commit=snapshot.name)
    except Malformed:
        return None


def _of_hub(name: str, revision: str | None, timeout: float) -> ModelFacts:
    from sftrun.facts.model.hub import Hub, siblings  # asked seldom, and slow to import

    hub = Hub(name, revision, timeout)
    info = hub.info()
    files = siblings(info)
    config = hub.config()
    _must_be_unquantised(config, name)
    return shapes.facts(
        hub.tensors(files),
        config,
        source="hub",
        name_or_path=name,
        commit=info.sha,
        has_chat_template="chat_template.jinja" in files or None,
        gated=bool(info.gated),
    )


@cache
def _index() -> dict[str, str]:
    listed = json.loads((SHIPPED / "index.json").read_text(encoding="utf-8"))
    return {name.lower(): file for name, file in listed.items()}
