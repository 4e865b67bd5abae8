"""The shell that fetches facts: files, this machine, the model's headers, the dated data.  Everything impure is here.

What can't be known is a `Problem` beside the facts, not an exception: the checks say it at its place in the recipe.
"""

import datetime
import os
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from sftrun.contract import engines, output_marker
from sftrun.contract.choices import EngineName
from sftrun.contract.row_rules import RowRules
from sftrun.disk import outside
from sftrun.errors import Problem
from sftrun.facts import locks
from sftrun.facts.gpus import catalog
from sftrun.facts.machine import machine
from sftrun.facts.model.adapter import Place, adapter_facts
from sftrun.facts.model.headers import Malformed
from sftrun.facts.model.lookup import model_facts, model_folder
from sftrun.facts.values import AdapterFacts, DataFacts, EvaluationFacts, Facts, Machine, ModelFacts
from sftrun.rows import find
from sftrun.rows.find import Files

# the job writes it into each output folder (`job.output`)
MAX_TEMPLATE_BYTES = 1_000_000
_NEVER_SHOWN = ("secret", "personal")
_KNOWN = ("chatml", "llama3", "qwen3", "gemma3")


class Wanted(NamedTuple):
    """What a recipe asks about; each path with the folder that it is relative to.  `local`: the job runs here.

    `template` is a chat template's name or file, in the place of the model's own; `rules` are without its text.
    """

    model: str
    revision: str | None
    model_folder: str
    train: tuple[str, str] | None
    eval: tuple[str, str] | None
    output: tuple[str, str]
    volumes: Mapping[str, str]
    engine: EngineName
    local: bool
    rules: RowRules
    max_length: int
    template: tuple[str, str] | None = None
    test: tuple[str, str] | None = None
    general: tuple[str, str] | None = None
    json_schema: tuple[str, str] | None = None
    adapter: Place | Problem | None = None


class World(NamedTuple):
    """What `gather` may look at.

    `home` is the ledger's folder (its `volumes/` hold what a local run has of each Volume); `offline` forbids the Hub;
    `own_prices` is a file of negotiated rates; `progress` hears (bytes read, bytes in all) of data that are counted.
    """

    home: Path
    offline: bool = True
    own_prices: Path | None = None
    machine_usd_per_hour: Decimal = Decimal(0)
    progress: Callable[[int, int], None] | None = None


class Gathered(NamedTuple):
    """Facts, and by the dotted key that asked for it what could not be known."""

    facts: Facts
    problems: dict[str, Problem]


def gather(wanted: Wanted, world: World) -> Gathered:
    """Facts for one recipe."""
    problems: dict[str, Problem] = {}
    model = model_facts(wanted.model, wanted.revision, Path(wanted.model_folder), offline=world.offline)
    if isinstance(model, Problem):
        problems["model.name_or_path"] = model
    wanted = _with_template(wanted, problems)
    if wanted.local and (problem := _output_problem(wanted, world.home)) is not None:
        problems["output.dir"] = problem
    train_files = _files("dataset.train.path", wanted.train, wanted, world, problems)
    eval_files = _files("dataset.eval.path", wanted.eval, wanted, world, problems)
    train, evaluation = _rows(train_files, eval_files, wanted, world, problems)
    facts = Facts(
        catalog=catalog.load(world.home / "rates.json", world.own_prices),
        today=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=_machine(world) if wanted.local else Machine(),
        lock=locks.read(engines.engine(wanted.engine).lock),
        model=model if isinstance(model, ModelFacts) else None,
        adapter=_adapter(wanted, world, problems),
        train_files=train_files,
        eval_files=eval_files,
        train=train,
        eval=evaluation,
        evaluation=_evaluation(train_files, wanted, world, problems),
        chat_template=wanted.rules.chat_template,
        output_holds=_output_holds(wanted, world.home) if wanted.local else None,
    )
    return Gathered(facts, problems)


def _adapter(wanted: Wanted, world: World, problems: dict[str, Problem]) -> AdapterFacts | None:
    place = wanted.adapter
    found = adapter_facts(place, world.home / "cache") if isinstance(place, Place) else place
    if isinstance(found, Problem):
        problems["model.adapter"] = found
        return None
    pattern, folder = _place(*wanted.output, wanted.volumes, world.home)
    is_output = found is not None and wanted.local and Path(folder, pattern).resolve() == Path(found.folder).resolve()
    return found.model_copy(update={"is_output": True}) if found is not None and is_output else found


def _with_template(wanted: Wanted, problems: dict[str, Problem]) -> Wanted:
    """With the chat template's text in its rules, where it names one that can be read."""
    if wanted.template is None:
        return wanted
    found = _template(*wanted.template)
    if isinstance(found, Problem):
        problems["dataset.chat_template"] = found
        return wanted
    return wanted._replace(rules=wanted.rules.model_copy(update={"chat_template": found}))


def _template(name: str, folder: str) -> str | Problem:
    from difflib import get_close_matches

    from sftrun.rows import twins

    shipped = twins.shipped(name)
    if shipped is not None:
        return shipped
    file = Path(folder, name)
    if not file.is_file():
        near = get_close_matches(name, twins.names(), 1)
        help = f"did you mean `{near[0]}`?" if near else f"put it at `{file}`, or name one of {', '.join(_KNOWN)} …"
        return Problem("missing", f"no chat template `{name}`, neither by name nor as a file beside the recipe", help)
    try:
        text = outside.read_bytes(file, max_bytes=MAX_TEMPLATE_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        return Problem("malformed", f"the chat template `{name}` can't be read: {error}", "save it as UTF-8")
    if len(text) > MAX_TEMPLATE_BYTES:
        return Problem(
            "malformed", f"the chat template `{name}` has more than {MAX_TEMPLATE_BYTES:,} bytes", "name another"
        )
    return text


def _machine(world: World) -> Machine:
    return machine().model_copy(update={"usd_per_hour": world.machine_usd_per_hour})


def _files(
    key: str, source: tuple[str, str] | None, wanted: Wanted, world: World, problems: dict[str, Problem]
) -> Files:
    if source is None:
        return Files()
    found = find.find(*_place(*source, wanted.volumes, world.home))
    try:
        hashed = find.hashed(found, world.home / "cache")
    except OSError as error:
        problems[key] = Problem("missing", f"`{source[0]}` can't be read: {error.strerror}", "check its permissions")
        return Files()
    if not found and (wanted.local or not source[0].startswith("/")):
        problems[key] = Problem("missing", f"no file at `{source[0]}`", _where_to_look(source, wanted, world))
    return hashed


def _rows(
    train: Files, evaluation: Files, wanted: Wanted, world: World, problems: dict[str, Problem]
) -> tuple[DataFacts | None, DataFacts | None]:
    """Facts of the rows that can be read from here; None where they can't."""
    if not train.paths and not evaluation.paths:
        return None, None
    from sftrun.facts.data.count import data_facts  # brings processes and tokenizers: not for a recipe without data

    pair = data_facts(
        train,
        evaluation,
        wanted.rules,
        wanted.max_length,
        _tokenizer(wanted),
        cache_dir=world.home / "cache",
        progress=world.progress,
    )
    for key, found in zip(("dataset.train.path", "dataset.eval.path"), pair, strict=True):
        if isinstance(found, Problem) and key not in problems:
            problems[key] = found
    return _known(pair[0]), _known(pair[1])


def _evaluation(train: Files, wanted: Wanted, world: World, problems: dict[str, Problem]) -> EvaluationFacts:
    """Its rows are looked at as the training rows are, and for those that stand among them."""
    if wanted.test is None and wanted.general is None and wanted.json_schema is None:
        return EvaluationFacts()
    from sftrun.facts.data.count import data_facts

    keys = ("evaluation.data.path", "evaluation.general.path")
    files = [
        _files(key, source, wanted, world, problems)
        for key, source in zip(keys, (wanted.test, wanted.general), strict=True)
    ]
    found: list[DataFacts | None] = []
    for key, each in zip(keys, files, strict=True):
        how = (wanted.rules, wanted.max_length, _tokenizer(wanted))
        told = data_facts(train, each, *how, cache_dir=world.home / "cache", progress=world.progress)[1]
        if isinstance(told, Problem) and key not in problems:
            problems[key] = told
        found.append(_known(told))
    schema = _schema(wanted.json_schema, problems)
    return EvaluationFacts(files=files[0], general_files=files[1], rows=found[0], general=found[1], json_schema=schema)


def _schema(named: tuple[str, str] | None, problems: dict[str, Problem]) -> str | None:
    """The text of the JSON Schema that a recipe names."""
    if named is None:
        return None
    file = Path(named[1], named[0])
    try:
        outside.read_object(file, max_bytes=MAX_TEMPLATE_BYTES)
        return file.read_text("utf-8")
    except OSError as error:
        fault = Problem(
            "missing", f"the JSON Schema `{named[0]}` can't be read: {error.strerror}", f"put it at `{file}`"
        )
    except outside.Damaged as error:
        fault = Problem("malformed", f"the JSON Schema `{named[0]}` {error}", "write a JSON Schema, an object")
    problems["evaluation.json_schema"] = fault
    return None


def _tokenizer(wanted: Wanted) -> Path | None:
    try:
        return model_folder(wanted.model, wanted.revision, Path(wanted.model_folder))
    except Malformed:
        return None


def _known(found: DataFacts | Problem | None) -> DataFacts | None:
    return _readable(found) if isinstance(found, DataFacts) else None


def _readable(found: DataFacts) -> DataFacts:
    """Each fault with its file as one sees it from here, and the first of a kind with its line."""
    from sftrun.rows.read import line_at

    faults, shown = [], set[str]()
    for fault in found.faults:
        is_told = fault.is_at_a_line and fault.kind not in shown and fault.kind not in _NEVER_SHOWN
        text = line_at(Path(fault.file), fault.line) if is_told else ""
        shown.add(fault.kind)
        faults.append(fault.model_copy(update={"file": _from_here(fault.file), "text": text}))
    return found.model_copy(update={"faults": tuple(faults)})


def _from_here(file: str) -> str:
    return min(os.path.relpath(file), file, key=len)


def _output_holds(wanted: Wanted, home: Path) -> str | None:
    """The recipe whose adapter stands in the output folder; None where there is none of ours."""
    pattern, folder = _place(*wanted.output, wanted.volumes, home)
    marker = output_marker.read(Path(folder, pattern))
    return marker.name if marker else None


def _output_problem(wanted: Wanted, home: Path) -> Problem | None:
    """A folder that a run would replace as a whole must hold nothing of the user's that it rests on."""
    pattern, folder = _place(*wanted.output, wanted.volumes, home)
    if pattern.startswith("~"):
        return Problem("unsafe", f"`~` means nothing in a recipe: `{pattern}`", f"write `{Path(pattern).expanduser()}`")
    output = Path(os.path.realpath(Path(folder, pattern)))
    sources = [Path(*reversed(source)) for source in (wanted.train, wanted.eval) if source is not None]
    kept = ((Path(wanted.output[1]), "the recipe"), (home, "the ledger"), *((source, "the data") for source in sources))
    for inside, what in kept:
        if Path(os.path.realpath(inside)).is_relative_to(output):
            return Problem("unsafe", f"the output folder `{output}` holds {what}", "write `out/my-adapter`")
    if output.is_file():
        return Problem("unsafe", f"the output folder `{output}` is a file", f"write `{output.with_suffix('')}-adapter`")
    return None


def _where_to_look(source: tuple[str, str], wanted: Wanted, world: World) -> str:
    path = source[0]
    hub = re.fullmatch(r"(?:https?://huggingface\.co/datasets/)?([\w.-]+/[\w.-]+)/?", path)
    if hub and not path.endswith(find.SUFFIXES) and not path.startswith("."):
        return f"write `{{hub: {hub[1]}}}` for a data set of the Hub, or correct the path"
    if "://" in path:
        return "download it, and name the file relative to the recipe"
    if path.startswith("~"):
        return f"write `{Path(path).expanduser()}`: `~` means nothing here"
    pattern, folder = _place(*source, wanted.volumes, world.home)
    return f"put it at `{Path(folder, pattern)}`, or correct the path"


def _place(path: str, folder: str, volumes: Mapping[str, str], home: Path) -> tuple[str, str]:
    """(pattern, folder) on this machine: a path below a mount is looked up in the Volume's local twin."""
    for mount in sorted(volumes, key=len, reverse=True):
        if PurePosixPath(path).is_relative_to(mount):
            return str(PurePosixPath(path).relative_to(mount)), str(home / "volumes" / volumes[mount])
    return path, folder
