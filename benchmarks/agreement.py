"""Real tokenizers and chat templates against what a run does with them: two tables, from folders that you give.

    python benchmarks/agreement.py tokenizers FOLDER --texts TEXTS.jsonl
    python benchmarks/agreement.py templates FOLDER --conversations TALKS.jsonl --tokenizer MODEL

A tokenizer is a folder with tokenizer.json and tokenizer_config.json: its table says how many of the texts (one JSON
string a line) transformers' own choice of a class encodes otherwise than the file, and how many the tokenizer that a
run uses and saves.  A template is a .jinja file: its table says of each conversation (one object a line, with `name`,
`messages` and perhaps `tools`) whether it is learnt as it is meant, or refused and why.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1])]
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from sftrun.contract.jobspec import ModelSpec  # noqa: E402
from sftrun.contract.row_rules import RowRules  # noqa: E402
from sftrun.errors import Problem  # noqa: E402
from sftrun.rows import shape, tokenizer  # noqa: E402
from sftrun.rows.labels import Labelled, Labeller  # noqa: E402
from sftrun.rows.template import Template  # noqa: E402
from sftrun.rows.tokenizer import Tokens  # noqa: E402

SPECIALS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
REASONS = {
    "refuses it": "the template refuses",
    "print the tool": "no tools",
    "call of": "no calls",
    "thinks": "no thinking",
    "`system`": "no system turn",
    "not in the text": "an answer beside calls is left out",
}


def lines(path: str) -> list[Any]:
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines() if line.strip()]


def tokenizers(folder: Path, texts: list[str]) -> Iterator[str]:
    """A row for each tokenizer."""
    import transformers

    from sftrun.job.failures import JobFailure
    from sftrun.job.train import loading, saved_tokenizer

    transformers.logging.set_verbosity_error()
    yield "| tokenizer | class that transformers loads | it differs in | the run's differs in | saved and loaded |"
    yield "| --- | --- | --- | --- | --- |"
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        found = tokenizer.load(place)
        if isinstance(found, Problem):
            yield f"| {place.name} | – | – | refused: {found.message.replace(f'{place}/', '')} | – |"
            continue
        spec = ModelSpec(name_or_path=str(place))
        try:
            own = loading.auto_tokenizer(spec)
            name, others = type(own).__name__, str(differing(own, found, texts))
        except JobFailure:
            name, others = "none: it asks for remote code", "–"
        kept = saved_tokenizer.load(spec, found, [saved_tokenizer.Text("", text) for text in texts])
        with tempfile.TemporaryDirectory() as saved:
            kept.save_pretrained(saved)
            again = differing(transformers.AutoTokenizer.from_pretrained(saved), found, texts)
        yield f"| {place.name} | {name} | {others} | {differing(kept, found, texts)} | {again} |"


def differing(one: Any, tokens: Tokens, texts: list[str]) -> int:
    from sftrun.job.train.saved_tokenizer import encoded

    return sum(encoded(one, text) != tokens.encode(text).ids for text in texts)


def templates(folder: Path, talks: list[dict[str, Any]], model: Path) -> Iterator[str]:
    """A row for each template, then what came of all."""
    found = tokenizer.load(model)
    if isinstance(found, Problem):
        sys.exit(found.message)
    whole: Counter[str] = Counter()
    yield "| template | marks | learnt | refused |"
    yield "| --- | --- | --- | --- |"
    for file in sorted(folder.glob("*.jinja")):
        template = Template(file.read_text("utf-8"), SPECIALS)
        found._templates = {tokenizer.DEFAULT: template}
        labeller = Labeller(RowRules(), "messages", 1_000_000, found)
        outcome = Counter(_outcome(labeller, talk) for talk in talks)
        whole.update(outcome)
        learnt = outcome.pop("learnt", 0)
        refused = ", ".join(f"{count} {reason}" for reason, count in outcome.most_common())
        marks = "its own" if template.has_marks else "TRL's twin" if template.marked else "–"
        yield f"| {file.stem} | {marks} | {learnt} of {len(talks)} | {refused or '–'} |"
    yield ""
    yield ", ".join(f"{count} {what}" for what, count in whole.most_common())


def _outcome(labeller: Labeller, talk: dict[str, Any]) -> str:
    row = {key: talk[key] for key in ("messages", "tools") if key in talk}
    wrong = shape.fault(row, "messages", labeller.rules)
    made = next(labeller.labels([row])) if wrong is None else None
    if isinstance(made, Labelled):
        return "learnt"
    said = wrong or getattr(made, "message", "")
    return next((words for part, words in REASONS.items() if part in said), said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tokenizers", "templates"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts")
    parser.add_argument("--conversations")
    parser.add_argument("--tokenizer", type=Path)
    options = parser.parse_args()
    if options.what == "tokenizers" and options.texts:
        table = tokenizers(options.folder, lines(options.texts))
    elif options.what == "templates" and options.conversations and options.tokenizer:
        table = templates(options.folder, lines(options.conversations), options.tokenizer)
    else:
        parser.error("tokenizers take --texts; templates take --conversations and --tokenizer")
    for row in table:
        print(row, flush=True)


if __name__ == "__main__":
    main()
