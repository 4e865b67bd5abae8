"""The shell that fetches facts: files, this machine, the model's headers, the dated data.  Everything impure is here.

What can't be known is a `Problem` beside the facts, not an exception: the checks say it at its place in the recipe.
"""

import datetime
import os
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from sftrun.contract import engines, output_marker
from sftrun.contract.choices import EngineName
from sftrun.contract.row_rules import RowRules
from sftrun.disk import outside
from sftrun.errors import Problem
from sftrun.facts import locks
from sftrun.facts.data.mixed import mixed
from sftrun.facts.gpus import catalog
from sftrun.facts.machine import machine
from sftrun.facts.model.adapter import Place, adapter_facts
from sftrun.facts.model.headers import Malformed
from sftrun.facts.model.lookup import model_facts, model_folder
from sftrun.facts.values import AdapterFacts, DataFacts, EvaluationFacts, Facts, Machine, ModelFacts, SourceFacts
from sftrun.rows.raw import find
from sftrun.rows.raw.find import Files

# the job writes it into each output folder (`job.output`)
MAX_TEMPLATE_BYTES = 1_000_000
_NEVER_SHOWN = ("secret", "personal")
_KNOWN = ("chatml", "llama3", "qwen3", "gemma3")


class WantedSource(NamedTuple):
    """One source of rows: its path (None: the Hub's) with the folder that it is relative to, and how it is read.

    `key` is the recipe's, `weight` how often its rows are taken; `rules` are without a chat template's text.
    """

    key: str
    path: str | None
    folder: str
    rules: RowRules
    most: int | None = None
    weight: float = 1.0

    @property
    def at(self) -> str:
        """The key of its path."""
        return f"{self.key}.path"


class Wanted(NamedTuple):
    """What a recipe asks about; each path with the folder that it is relative to.  `local`: the job runs here.

    `template` is a chat template's name or file, in the place of the model's own; `rules` are without its text.
    """

    model: str
    revision: str | None
    model_folder: str
    train: tuple[WantedSource, ...]
    eval: tuple[WantedSource, ...]
    output: tuple[str, str]
    volumes: Mapping[str, str]
    engine: EngineName
    local: bool
    trackers: tuple[str, ...]
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
    train, evaluation = _sources(wanted, world, problems)
    facts = Facts(
        catalog=catalog.load(world.home / "rates.json", world.own_prices),
        today=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=_machine(world) if wanted.local else Machine(),
        lock=locks.read(engines.engine(wanted.engine).lock),
        model=model if isinstance(model, ModelFacts) else None,
        adapter=_adapter(wanted, world, problems),
        sources=_by_key(wanted.train, train) | _by_key(wanted.eval, evaluation),
        train_files=train[0].files if len(train) == 1 else Files(),
        eval_files=evaluation[0].files if len(evaluation) == 1 else Files(),
        train=_together(wanted.train, train),
        eval=_together(wanted.eval, evaluation),
        evaluation=_evaluation(train, wanted, world, problems),
        chat_template=wanted.rules.chat_template,
        trackers_missing=tuple(name for name in wanted.trackers if wanted.local and find_spec(name) is None),
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


def _files(source: WantedSource, wanted: Wanted, world: World, problems: dict[str, Problem]) -> Files:
    if source.path is None:
        return Files()
    path = source.path
    found = find.find(*_place(path, source.folder, wanted.volumes, world.home))
    try:
        hashed = find.hashed(found, world.home / "cache")
    except OSError as error:
        problems[source.at] = Problem("missing", f"`{path}` can't be read: {error.strerror}", "check its permissions")
        return Files()
    if not found and (wanted.local or not path.startswith("/")):
        problems[source.at] = Problem("missing", f"no file at `{path}`", _where_to_look(path, source, wanted, world))
    return hashed


def _sources(wanted: Wanted, world: World, problems: dict[str, Problem]) -> tuple[list[SourceFacts], list[SourceFacts]]:
    """Files of each source, and facts of the rows that can be read from here."""
    splits = (wanted.train, wanted.eval)
    files = [[_files(one, wanted, world, problems) for one in sources] for sources in splits]
    if not any(one.paths for split in files for one in split):
        return [SourceFacts(files=one) for one in files[0]], [SourceFacts(files=one) for one in files[1]]
    from sftrun.facts.data.count import Asked, data_facts  # brings processes: not for a recipe without data

    text = {"chat_template": wanted.rules.chat_template}
    asked = [
        [Asked(held, one.rules.model_copy(update=text), one.most) for one, held in zip(sources, split, strict=True)]
        for sources, split in zip(splits, files, strict=True)
    ]
    train_asked, eval_asked = asked
    pair = data_facts(
        train_asked,
        eval_asked,
        wanted.max_length,
        _tokenizer(wanted),
        cache_dir=world.home / "cache",
        progress=world.progress,
    )
    for sources, found in zip(splits, pair, strict=True):
        for one, rows in zip(sources, found, strict=True):
            if isinstance(rows, Problem):
                problems.setdefault(one.at, rows)
    train, evaluation = (
        [SourceFacts(files=held, rows=_known(rows)) for held, rows in zip(split, found, strict=True)]
        for split, found in zip(files, pair, strict=True)
    )
    return train, evaluation


def _by_key(sources: tuple[WantedSource, ...], found: list[SourceFacts]) -> dict[str, SourceFacts]:
    """Nothing for a lone source, whose facts stand by themselves."""
    return {one.key: facts for one, facts in zip(sources, found, strict=True)} if len(sources) > 1 else {}


def _together(sources: tuple[WantedSource, ...], found: list[SourceFacts]) -> DataFacts | None:
    """Rows of all sources, where all are known."""
    known = [one.rows for one in found if one.rows is not None]
    if len(known) < len(found) or not known:
        return None
    return known[0] if len(known) == 1 else mixed(known, [one.weight for one in sources])


def _evaluation(
    train: list[SourceFacts], wanted: Wanted, world: World, problems: dict[str, Problem]
) -> EvaluationFacts:
    """Its rows are looked at as the training rows are, and for those that stand among them."""
    if wanted.test is None and wanted.general is None and wanted.json_schema is None:
        return EvaluationFacts()
    from sftrun.facts.data.count import Asked, data_facts

    text = {"chat_template": wanted.rules.chat_template}
    trained = [
        Asked(held.files, one.rules.model_copy(update=text), one.most)
        for one, held in zip(wanted.train, train, strict=True)
    ]
    found: list[SourceFacts] = []
    for key, named in (("evaluation.data", wanted.test), ("evaluation.general", wanted.general)):
        source = None if named is None else WantedSource(key, *named, wanted.rules)
        files = Files() if source is None else _files(source, wanted, world, problems)
        how = (wanted.max_length, _tokenizer(wanted))
        asked = [Asked(files, wanted.rules)]
        ((_, (told,))) = data_facts(trained, asked, *how, cache_dir=world.home / "cache", progress=world.progress)
        if isinstance(told, Problem):
            problems.setdefault(f"{key}.path", told)
        found.append(SourceFacts(files=files, rows=_known(told)))
    schema = _schema(wanted.json_schema, problems)
    test, general = found
    return EvaluationFacts(
        files=test.files, general_files=general.files, rows=test.rows, general=general.rows, json_schema=schema
    )


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
    from sftrun.rows.raw.read import line_at

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
    sources = [Path(one.folder, one.path) for one in (*wanted.train, *wanted.eval) if one.path is not None]
    kept = ((Path(wanted.output[1]), "the recipe"), (home, "the ledger"), *((source, "the data") for source in sources))
    for inside, what in kept:
        if Path(os.path.realpath(inside)).is_relative_to(output):
            return Problem("unsafe", f"the output folder `{output}` holds {what}", "write `out/my-adapter`")
    if output.is_file():
        return Problem("unsafe", f"the output folder `{output}` is a file", f"write `{output.with_suffix('')}-adapter`")
    return None


def _where_to_look(path: str, source: WantedSource, wanted: Wanted, world: World) -> str:
    hub = re.fullmatch(r"(?:https?://huggingface\.co/datasets/)?([\w.-]+/[\w.-]+)/?", path)
    if hub and not path.endswith(find.SUFFIXES) and not path.startswith("."):
        return f"write `{{hub: {hub[1]}}}` for a data set of the Hub, or correct the path"
    if "://" in path:
        return "download it, and name the file relative to the recipe"
    if path.startswith("~"):
        return f"write `{Path(path).expanduser()}`: `~` means nothing here"
    pattern, folder = _place(path, source.folder, wanted.volumes, world.home)
    return f"put it at `{Path(folder, pattern)}`, or correct the path"


def _place(path: str, folder: str, volumes: Mapping[str, str], home: Path) -> tuple[str, str]:
    """(pattern, folder) on this machine: a path below a mount is looked up in the Volume's local twin."""
    for mount in sorted(volumes, key=len, reverse=True):
        if PurePosixPath(path).is_relative_to(mount):
            return str(PurePosixPath(path).relative_to(mount)), str(home / "volumes" / volumes[mount])
    return path, folder
