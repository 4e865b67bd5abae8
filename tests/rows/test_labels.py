"""Labels are the very ones that the trainer makes: TRL's own preprocessing, token by token, and the job's."""

import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")
transformers = pytest.importorskip("transformers")
datasets = pytest.importorskip("datasets")


from sftrun.contract.choices import DataFormat  # noqa: E402
from sftrun.contract.row_rules import RowRules  # noqa: E402
from sftrun.rows.forms import split_instruction  # noqa: E402
from sftrun.rows.labels import Labelled, Labeller, Refused  # noqa: E402
from sftrun.rows.tokenizer import Tokens, load  # noqa: E402
from tests.rows.tokenizers_for_tests import EOS, KINDS, UNMARKED, byte_level, corpus, save, split_then_bytes  # noqa: E402

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
    rules = RowRules(**how)
    tokens = load(folder, rules)
    assert isinstance(tokens, Tokens)
    made = list(Labeller(rules, form, 10**6, tokens).labels(rows))
    assert not [row for row in made if isinstance(row, Refused)]
    return [(list(row.ids), list(row.labels)) for row in made if isinstance(row, Labelled)]


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


@pytest.mark.parametrize("mode", ["keep_start", "keep_end"])
def test_a_row_is_cut_at_either_end(mode: Any, tmp_path: Path) -> None:
    rules = RowRules(truncation_mode=mode)
    tokens = load(save(byte_level(), tmp_path), rules)
    assert isinstance(tokens, Tokens)
    labeller = Labeller(rules, "prompt_completion", 6, tokens)
    rows = [{"prompt": "one two three four", "completion": " five six"}, {"prompt": "a", "completion": " b" * 20}]
    made = list(labeller.labels(rows))
    measured = labeller.measure(rows, labeller.pairs(rows))
    for row, short in zip(made, measured, strict=True):
        assert isinstance(row, Labelled)
        kept = labeller.cut(row)
        assert kept.ids == (row.ids[:6] if mode == "keep_start" else row.ids[-6:])
        assert not isinstance(short, Refused)
        assert labeller.learnt(row) == labeller.learnt(short)


def test_an_end_token_of_the_recipe_s_choice_ends_each_row(tmp_path: Path) -> None:
    folder = save(byte_level(), tmp_path)
    for ids, _ in ours("prompt_completion", PAIRS[:3], folder, eos_token="<|im_end|>"):
        assert ids[-1] == 2
