"""Labels are the very ones that the trainer makes: TRL's own preprocessing, token by token, and the job's."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")
transformers = pytest.importorskip("transformers")
datasets = pytest.importorskip("datasets")

from sftrun.contract.choices import DataFormat  # noqa: E402
from sftrun.rows.forms import split_instruction  # noqa: E402
from sftrun.rows.labels import Labeller  # noqa: E402
from sftrun.rows.tokenizer import Tokens, load  # noqa: E402
from sftrun.rows.wish import Labelling  # noqa: E402
from tests.facts.tokenizers_for_tests import EOS, KINDS, UNMARKED, byte_level, corpus, save, split_then_bytes  # noqa: E402

TEXTS = [text for text in corpus(7, 30) if text.strip()]
MESSAGES = [
    {
        "messages": [
            *([{"role": "system", "content": "Be brief"}] if number % 3 == 0 else []),
            {"role": "user", "content": text},
            {"role": "assistant", "content": TEXTS[-number - 1]},
            *(
                [{"role": "user", "content": "and?"}, {"role": "assistant", "content": TEXTS[number - 3]}]
                if number % 2
                else []
            ),
        ]
    }
    for number, text in enumerate(TEXTS)
]
PAIRS = [{"prompt": text, "completion": TEXTS[-number - 1]} for number, text in enumerate(TEXTS)]
INSTRUCTIONS = [
    {"instruction": text, "input": "" if number % 2 else "Context: a census", "output": TEXTS[-number - 1]}
    for number, text in enumerate(TEXTS)
]
ROWS: dict[DataFormat, list[dict[str, Any]]] = {
    "messages": MESSAGES,
    "prompt_completion": PAIRS,
    "instruction": INSTRUCTIONS,
    "text": [{"text": text} for text in [*TEXTS, "ended already" + EOS]],
}


def by_trl(form: DataFormat, rows: list[dict[str, Any]], folder: Path, **how: Any) -> list[tuple[list[int], list[int]]]:
    """What SFTTrainer makes of rows; instruction rows are pairs by then."""
    if form == "instruction":
        split = [split_instruction(row, "alpaca") for row in rows]
        rows = [{"prompt": prompt, "completion": completion} for prompt, completion in split]
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = trl.SFTTrainer(
            model=transformers.LlamaForCausalLM(config),
            args=trl.SFTConfig(
                output_dir=str(folder), max_length=None, report_to="none", use_cpu=True, bf16=False, **how
            ),
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=tokenizer,
        )
    return [(row["input_ids"], row["labels"]) for row in trainer.train_dataset]


def ours(form: DataFormat, rows: list[dict[str, Any]], folder: Path, **how: Any) -> list[tuple[list[int], list[int]]]:
    tokens = load(folder)
    assert isinstance(tokens, Tokens)
    labeller = Labeller(Labelling(form, max_length=10**6, **how), tokens)
    return [(list(row.ids), list(row.labels)) for row in map(labeller.label, rows)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["prompt_completion", "instruction", "text"])
def test_labels_are_trl_s(form: DataFormat, kind: str, tmp_path: Path) -> None:
    folder = save(KINDS[kind](), tmp_path)
    assert ours(form, ROWS[form], folder) == by_trl(form, ROWS[form], folder)


@pytest.mark.parametrize("form", ["prompt_completion", "instruction"])
def test_prompts_are_learnt_too_where_that_is_asked_for(form: DataFormat, tmp_path: Path) -> None:
    folder = save(byte_level(), tmp_path)
    expected = by_trl(form, ROWS[form], folder, completion_only_loss=False)
    assert ours(form, ROWS[form], folder, completion_only=False) == expected


@pytest.mark.parametrize("only", [True, False])
def test_labels_of_conversations_are_trl_s(only: bool, tmp_path: Path) -> None:
    folder = save(split_then_bytes(), tmp_path)
    expected = by_trl("messages", MESSAGES, folder, assistant_only_loss=only)
    assert ours("messages", MESSAGES, folder, assistant_only=only) == expected


def test_labels_of_a_prompt_and_completion_of_messages_are_trl_s(tmp_path: Path) -> None:
    folder = save(split_then_bytes(), tmp_path)
    rows = [
        {"prompt": [{"role": "user", "content": a}], "completion": [{"role": "assistant", "content": b}]}
        for a, b in zip(TEXTS, reversed(TEXTS), strict=True)
    ]
    assert ours("prompt_completion", rows, folder) == by_trl("prompt_completion", rows, folder)


def test_without_marks_each_assistant_turn_is_found_in_the_text(tmp_path: Path) -> None:
    folder = save(split_then_bytes(), tmp_path, UNMARKED)
    tokens = load(folder)
    assert isinstance(tokens, Tokens)
    (ids, labels) = ours("messages", MESSAGES[1:2], folder)[0]
    learnt = tokens.tokenizer.decode([i for i, label in zip(ids, labels, strict=True) if label != -100], False)
    said = [turn["content"] + "<|im_end|>\n" for turn in MESSAGES[1]["messages"] if turn["role"] == "assistant"]
    assert learnt == "".join(said)


@pytest.mark.parametrize("form", ROWS)
@pytest.mark.parametrize("longest", [220, 24, 10_000])
def test_labels_and_counts_are_the_job_s(form: DataFormat, longest: int, tmp_path: Path) -> None:
    from sftrun.contract.jobspec import DatasetSpec, DataSource, JobSpec, ModelSpec, TrainerSpec
    from sftrun.contract.stepplan import Precision, StepPlan

    if form == "instruction" and longest == 24:
        pytest.skip("the template alone is longer")
    from sftrun.job.tokens import label

    folder = save(split_then_bytes(), tmp_path)
    spec = JobSpec(
        run_id="x",
        name="x",
        record_dir="/x",
        output_dir="/x",
        checkpoints_dir="/x",
        model=ModelSpec(name_or_path="x"),
        dataset=DatasetSpec(train=DataSource(), format=form),
        trainer=TrainerSpec(max_length=longest),
        step=StepPlan(precision=Precision(step="bfloat16")),
    )
    rows = ROWS[form]
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    job = label(rows, form, spec, tokenizer)
    tokens = load(folder)
    assert isinstance(tokens, Tokens)
    labeller = Labeller(Labelling(form, max_length=longest), tokens)
    mine = [labeller.label(row) for row in rows]
    kept = [row for row in mine if labeller.learnt(row)]
    assert [list(row.ids[:longest]) for row in kept] == [list(ids) for ids in job.input_ids]
    assert [list(row.labels[:longest]) for row in kept] == [list(labels) for labels in job.labels]
    assert sum(map(labeller.learnt, mine)) == job.learnt_tokens
    assert len(rows) - len(kept) == len(job.dropped)
    assert json.dumps(job.cut) == json.dumps(sum(len(row.ids) > longest for row in mine))
