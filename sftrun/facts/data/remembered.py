"""What was counted of data, kept by content: the same bytes, tokenizer and settings are never counted twice."""

import contextlib
import hashlib
import json
from array import array
from pathlib import Path

from sftrun.disk import files, outside
from sftrun.errors import Problem
from sftrun.facts.data.tally import How
from sftrun.facts.data.totals import Counted, Places
from sftrun.facts.values import DataFacts
from sftrun.rows.raw.find import Files
from sftrun.rows.tokenizer import Spec

# raise it when figures change their meaning: what was kept before is then counted anew
VERSION = 11


def key(data: Files, how: How | None, spec: Spec | Problem) -> str | None:
    """A name for the answer; None where the content has no hash or no known form."""
    if data.sha256 is None or how is None:
        return None
    tokenizer = spec.fingerprint if isinstance(spec, Spec) else spec.message
    decided = [how.rules.model_dump(mode="json"), how.form, how.max_length, how.most]
    text = json.dumps([VERSION, data.sha256, data.paths, decided, tokenizer])
    return hashlib.sha256(text.encode()).hexdigest()


def load(cache_dir: Path | None, name: str | None) -> Counted | None:
    """What was stored under that name."""
    if cache_dir is None or name is None:
        return None
    file = cache_dir / "data" / name
    try:
        facts = outside.read_model(DataFacts, file.with_suffix(".json"))
        names = outside.parse(outside.read_bytes(file.with_suffix(".names")))
        return _unpacked(facts, _texts(names), outside.read_bytes(file.with_suffix(".rows"), max_bytes=facts.rows * 18))
    except (OSError, ValueError):
        return None


def store(cache_dir: Path | None, name: str | None, counted: Counted) -> None:
    """Keep it; a cache that can't be written costs time, nothing else."""
    if cache_dir is None or name is None:
        return
    file = cache_dir / "data" / name
    rows = counted.hashes.tobytes() + counted.places.lines.tobytes() + counted.places.files.tobytes()
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write(file.with_suffix(".rows"), rows, durable=False)
        files.write(file.with_suffix(".names"), json.dumps(counted.names), durable=False)
        files.write(file.with_suffix(".json"), counted.facts.model_dump_json(), durable=False)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise outside.Damaged("is no list of names")
    return tuple(value)


def _unpacked(facts: DataFacts, names: tuple[str, ...], rows: bytes) -> Counted:
    hashes, places = array("Q"), Places()
    if len(rows) != facts.rows * 18:
        raise ValueError(rows[:0])
    hashes.frombytes(rows[: facts.rows * 8])
    places.lines.frombytes(rows[facts.rows * 8 : facts.rows * 16])
    places.files.frombytes(rows[facts.rows * 16 :])
    return Counted(facts, names, hashes, places)
