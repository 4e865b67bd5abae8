"""The check's figures, what `data show` shows and what the job prepares are the same, for each option of a token.

From the recipe's text on: `examine` as `validate` and `apply` call it, `data show` by its command line, and the job
that the plan orders.  A row that the check refuses is refused by the job, at its line.
"""

import json
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from sftrun.cli.examine import Examined, examine_file
from sftrun.cli.main import main
from sftrun.contract.jobspec import JobSpec
from sftrun.facts.values import DataFacts
from sftrun.job.failures import JobFailure
from sftrun.job.prepare import prepared, row_tokenizer
from sftrun.job.prepare.prepared import Prepared
from sftrun.job.prepare.shards import Crew
from sftrun.rows import twins
from sftrun.rows.labels import count_learnt
from sftrun.run.ledger import Ledger
from sftrun.run.local import Local
from tests.job import tiny
from tests.rows import generated
from tests.rows.tokenizers_for_tests import CHAT_TEMPLATE, KINDS, UNMARKED, save

pytestmark = pytest.mark.filterwarnings("ignore")

ROWS = 12
RUN = "0123456789"
REFUSED = ("syntax", "form", "template", "incomplete")
OWN = "Q: {instruction}\n{input}\nA: {output}\n--"
TWO = [
    {"name": "default", "template": CHAT_TEMPLATE},
    {"name": "tool_use", "template": twins.shipped("qwen3")},
]
Makes = Callable[[Random], dict[str, Any]]


class Option(NamedTuple):
    """An option of the recipe, the rows that it is tried on, and the template that the model has."""

    rows: Makes
    dataset: dict[str, Any] = {}
    trainer: dict[str, Any] = {}
    model_template: Any = CHAT_TEMPLATE


def extra(**values: str) -> dict[str, Any]:
    return {"extra": values}


CHAT = {"instruction_template": "chat"}
SHORT = {"max_length": 24}
OPTIONS = {
    "text, by its columns": Option(generated.raw),
    "text, by name": Option(generated.raw, {"format": "text"}),
    "text in another column": Option(generated.story, {"format": "text"}, extra(dataset_text_field="story")),
    "text in another column, by its columns": Option(generated.story, {}, extra(dataset_text_field="story")),
    "text, cut": Option(generated.raw, {}, SHORT),
    "pairs, by their columns": Option(generated.pair),
    "pairs, by name": Option(generated.pair, {"format": "prompt_completion"}),
    "pairs, prompts learnt": Option(generated.pair, {}, {"completion_only_loss": False}),
    "pairs, completions alone": Option(generated.pair, {}, {"completion_only_loss": True}),
    "pairs, cut": Option(generated.pair, {}, SHORT),
    "pairs, cut at the beginning": Option(generated.pair, {}, SHORT | extra(truncation_mode="keep_end")),
    "pairs, ended by another token": Option(generated.pair, {"eos_token": "<|im_end|>"}),
    "pairs, ended by SFTConfig's": Option(generated.pair, {}, extra(eos_token="<|im_end|>")),
    "pairs, filled by another token": Option(generated.pair, {"pad_token": "<|im_start|>"}),
    "instructions, by their columns": Option(generated.instruction),
    "instructions, plain": Option(generated.instruction, {"instruction_template": "plain"}),
    "instructions, a template of their own": Option(generated.instruction, {"instruction_template": OWN}),
    "instructions, prompts learnt": Option(generated.instruction, {}, {"completion_only_loss": False}),
    "instructions, cut": Option(generated.instruction, {"instruction_template": "plain"}, SHORT),
    "instructions as turns": Option(generated.instruction_with_turns, CHAT),
    "instructions as turns, without marks": Option(generated.instruction_with_turns, CHAT, model_template=UNMARKED),
    "instructions as turns, prompts learnt": Option(
        generated.instruction_with_turns, CHAT, {"completion_only_loss": False}
    ),
    "instructions as turns, cut": Option(generated.instruction_with_turns, CHAT, {"max_length": 40}),
    "instructions as turns, a named template": Option(
        generated.instruction_with_turns, CHAT | {"chat_template": "qwen3", "format": "instruction"}
    ),
    "talks": Option(generated.plain_talk),
    "talks, without marks": Option(generated.plain_talk, model_template=UNMARKED),
    "talks, the assistant alone": Option(generated.plain_talk, {"format": "messages"}, {"assistant_only_loss": True}),
    "talks, every turn": Option(generated.plain_talk, {}, {"assistant_only_loss": False}),
    "talks, cut": Option(generated.plain_talk, {}, {"max_length": 40}),
    "talks, cut at the beginning": Option(
        generated.plain_talk, {}, {"max_length": 40} | extra(truncation_mode="keep_end")
    ),
    "talks, a named template": Option(generated.talk, {"chat_template": "qwen3"}),
    "talks, another named template": Option(generated.talk, {"chat_template": "llama3_1"}),
    "talks, a file's template": Option(generated.plain_talk, {"chat_template": "own.jinja"}),
    "talks, several templates": Option(generated.talk, model_template=TWO),
    "talks, the model's own of many": Option(generated.talk, model_template=twins.shipped("qwen3")),
    "talks of ShareGPT, by their columns": Option(generated.sharegpt),
    "talks of ShareGPT, by name": Option(generated.sharegpt, {"format": "messages"}),
    "talks deep in a row": Option(
        generated.scene,
        {
            "train": {
                "path": "rows.jsonl",
                "columns": {"messages": "data.log", "role": "who", "content": "said.en"},
                "roles": {"asker": "user", "model_a": "assistant"},
            }
        },
    ),
    "questions, by their columns": Option(generated.question),
    "questions, as pairs": Option(
        generated.question,
        {"train": {"path": "rows.jsonl", "columns": {"prompt": "question", "completion": "answer"}}},
    ),
    "questions in lists": Option(
        generated.quiz,
        {"train": {"path": "rows.jsonl", "columns": {"instruction": "q", "output": "answers.text.0"}}},
    ),
    "text under another name": Option(
        generated.story, {"train": {"path": "rows.jsonl", "columns": {"text": "story"}, "format": "text"}}
    ),
    "talks in two": Option(generated.talk_in_two),
    "talks in two, prompts learnt": Option(generated.talk_in_two, {}, {"completion_only_loss": False}),
    "text, in pieces": Option(generated.raw, {"chunk": True}, SHORT),
    "text, in pieces that overlap": Option(generated.raw, {"chunk": True, "chunk_overlap": 5}, SHORT),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_the_check_the_shown_and_the_prepared_rows_are_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SFTRUN_HOME", str(tmp_path / "home"))
    number = list(OPTIONS).index(name)
    write(OPTIONS[name], list(KINDS)[number % len(KINDS)])
    rows = generated.rows(OPTIONS[name].rows, number, ROWS)
    while refused := refused_by_both(rows):
        rows = [row for line, row in enumerate(rows, 1) if line not in refused]
    assert len(rows) > ROWS / 3
    facts, made = facts_of(examine_file("recipe.yaml")), make()
    kept = [piece for number in range(1, len(rows) + 1) for piece in show(number)]
    learnt = [row for row in kept if count_learnt(row[1])]
    assert [(row["input_ids"], row["labels"]) for row in made.train()] == learnt
    counts = made.marker.train.counts
    assert facts.format == made.marker.format
    assert facts.rows == counts.given == len(rows)
    assert facts.rows_learnt == counts.rows == len(learnt)
    assert facts.rows_cut == counts.cut
    assert facts.tokens == counts.tokens == sum(len(ids) for ids, _ in learnt)
    assert facts.learnt_tokens == counts.learnt_tokens == sum(count_learnt(labels) for _, labels in kept)


def write(option: Option, kind: str) -> None:
    """The recipe and the model; rows come later."""
    tokenizer = KINDS[kind]()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    save(tokenizer, Path("model"), option.model_template)
    tiny.save_weights(Path("model"), tokenizer.get_vocab_size())
    Path("own.jinja").write_text(UNMARKED)
    recipe = {
        "version": 1,
        "name": "agreed",
        "model": {"name_or_path": "./model"},
        "dataset": {"train": "rows.jsonl"} | option.dataset,
        "trainer": {"max_length": 512, "num_train_epochs": 1} | option.trainer,
        "compute": {"executor": "local"},
        "volumes": {"/data": "store"},
        "output": {"dir": "/data/out"},
    }
    Path("recipe.yaml").write_text(json.dumps(recipe))


def refused_by_both(rows: list[dict[str, Any]]) -> set[int]:
    """Lines that the check refuses; the job refuses the first of them, or none."""
    tiny.write_rows(Path("rows.jsonl"), rows)
    lines = {fault.line: fault.kind for fault in facts_of(examine_file("recipe.yaml")).faults if fault.kind in REFUSED}
    if lines:
        first = min(lines, key=lambda line: (lines[line] not in ("syntax", "form"), line))
        with pytest.raises(JobFailure, match=rf"rows\.jsonl:{first}: "):
            make()
    return set(lines)


def facts_of(examined: Examined) -> DataFacts:
    assert examined.gathered is not None, examined.diagnostics
    found = examined.gathered.facts.train
    assert found is not None, examined.gathered.problems
    return found


def make() -> Prepared:
    """What the job of this recipe prepares."""
    spec = ordered()
    tokens = row_tokenizer.of_job(spec)
    return prepared.make(spec, tokens, prepared.folder(spec, tokens), Crew())


def ordered() -> JobSpec:
    examined = examine_file("recipe.yaml")
    assert examined.plan is not None, examined.diagnostics
    return Local(Ledger(Path("home").resolve())).job(examined.plan, RUN)


def show(number: int) -> list[tuple[list[int], list[int]]]:
    """(ids, labels) that `data show` has of a row, or of each piece of it."""
    said = StringIO()
    with redirect_stdout(said):
        assert main(["data", "show", "recipe.yaml", "--row", str(number), "--format", "json"]) == 0
    shown = json.loads(said.getvalue())
    spans = [(span["tokens"], span["learnt"]) for span in shown["spans"]]
    assert sum(tokens for tokens, _ in spans) == len(shown["input_ids"])
    assert sum(tokens for tokens, is_learnt in spans if is_learnt) == count_learnt(shown["labels"])
    return [(piece["input_ids"], piece["labels"]) for piece in shown.get("pieces", [shown])]
