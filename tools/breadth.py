"""Try every causal language model of the locked transformers, tiny, and write what was found.

`python tools/breadth.py [--only NAME …] [--limit SECONDS] [--again]` -> sftrun/facts/model/capabilities.json, after
every model type, and docs/models.md from it.  Each is tried in a process of its own with a time limit, so that a crash
is a line of the table; what the table has is not tried again without `--again` or `--only`.
"""

import argparse
import json
import multiprocessing
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "sftrun" / "facts" / "model" / "capabilities.json"
PAGE = ROOT / "docs" / "models.md"
LIBRARIES = ("transformers", "peft")
# trials without which a type is refused, whatever the recipe says, or by what it asks for
REFUSED = {"builds", "loads", "causal", "padded", "full", "counts"}
REFUSED_ADAPTED = {"lora-named", "counts-lora", "comes-back"}
Entry = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--limit", type=float, default=30)
    parser.add_argument("--again", action="store_true")
    asked = parser.parse_args()
    table = read() | {"without_language_model": without_language_model()}
    types = asked.only or [name for name in model_types() if asked.again or name not in table["models"]]
    for name in types:
        table["models"][name] = tried(name, asked.limit)
        print(name, table["models"][name], flush=True)
        write(table)


def read() -> dict[str, Any]:
    """The table as committed; an empty one where other libraries made it."""
    versions = {name: version(name) for name in LIBRARIES}
    found: dict[str, Any] = json.loads(TABLE.read_text("utf-8")) if TABLE.exists() else {}
    return found if found.get("libraries") == versions else {"libraries": versions, "models": {}}


def write(table: dict[str, Any]) -> None:
    """The table, a line for each model type, and its page."""
    models = ",\n".join(
        f"    {json.dumps(name)}: {json.dumps(table['models'][name])}" for name in sorted(table["models"])
    )
    rest = {name: value for name, value in table.items() if name != "models"}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in rest.items())
    TABLE.write_text(f'{{\n{lines},\n  "models": {{\n{models}\n  }}\n}}\n', "utf-8")
    PAGE.write_text(page(table), "utf-8")


def model_types() -> list[str]:
    """All that transformers loads as a causal language model."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def without_language_model() -> list[str]:
    """All that transformers knows, and does not load as one."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return sorted(set(CONFIG_MAPPING_NAMES) - set(model_types()))


def tried(model_type: str, limit: float) -> Entry:
    """What was found of one, in a process of its own: the fork of one that has loaded the libraries and run nothing.

    A fork of a process that has computed would find torch's threads gone ("Invalid thread pool").
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tools.trials"])
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_try, args=(model_type, there))
    child.start()
    there.close()
    name, faults = "", {"builds": f"not done after {limit:g} s"}
    try:
        if here.poll(limit):
            name, faults = here.recv()
    except EOFError:
        child.join(limit)
        faults = {"builds": f"the process ended with {child.exitcode}"}
    child.kill()
    child.join()
    return {"class": name, "faults": faults}


def _try(model_type: str, there: Connection) -> None:
    from transformers.utils import logging

    from tools import trials

    warnings.simplefilter("ignore")
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    there.send(trials.faults(model_type))


def page(table: dict[str, Any]) -> str:
    """docs/models.md."""
    return "\n".join([*_head(table), *_rows(table["models"])]) + "\n"


def _head(table: dict[str, Any]) -> Iterator[str]:
    models = table["models"]
    libraries = ", ".join(f"{name} {number}" for name, number in table["libraries"].items())
    clean = sum(not entry["faults"] for entry in models.values())
    yield "# Models\n"
    yield "<!-- written by tools/breadth.py from sftrun/facts/model/capabilities.json -->\n"
    yield f"Every causal language model of {libraries}, tried as a tiny model in float32 on a CPU."
    yield "`python tools/breadth.py` tries them again.\n"
    yield f"{len(models)} model types; {clean} pass every trial.\n"
    yield "| of them | |\n| --- | --- |"
    for words, count in _outcomes([set(entry["faults"]) for entry in models.values()]):
        yield f"| {words} | {count} |"
    yield ""
    yield "| trial | passed | failed |\n| --- | --- | --- |"
    for name in dict.fromkeys(["builds", *(fault for entry in models.values() for fault in entry["faults"])]):
        built = [entry for entry in models.values() if name == "builds" or "builds" not in entry["faults"]]
        failed = sum(name in entry["faults"] for entry in built)
        yield f"| `{name}` | {len(built) - failed} | {failed} |"
    yield ""


def _outcomes(found: list[set[str]]) -> Iterator[tuple[str, int]]:
    """What `validate` makes of them, in words, and of how many."""
    kept = [faults for faults in found if not faults & REFUSED]
    adapted = [faults for faults in kept if not faults & REFUSED_ADAPTED]
    by_adapters = [faults for faults in adapted if not faults & {"all-linear", "lora"}]
    apart = [faults for faults in kept if not {f"apart-{name}" for name in ("eager", "sdpa", "varlen")} <= faults]
    yield "refused by `validate`, whatever the recipe says", len(found) - len(kept)
    yield "… as no tiny model could be built", sum("builds" in faults for faults in found)
    yield (
        "… as they are no causal language model, or padding changes it",
        sum("builds" not in faults and bool(faults & {"loads", "causal", "padded", "full"}) for faults in found),
    )
    yield "not refused: trained in full, and counted as transformers counts", len(kept)
    yield "… of which take adapters, counted as PEFT counts, saved and put on again alike", len(adapted)
    yield "… … on all linear layers", len(by_adapters)
    yield "… of which keep rows apart under some attention", len(apart)


def _rows(models: dict[str, Entry]) -> Iterator[str]:
    yield "| model type | class | what fails |\n| --- | --- | --- |"
    for name in sorted(models):
        found = "; ".join(f"`{trial}`: {_plain(text)}" for trial, text in models[name]["faults"].items())
        yield f"| `{name}` | {models[name]['class']} | {found} |"


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


if __name__ == "__main__":
    main()
