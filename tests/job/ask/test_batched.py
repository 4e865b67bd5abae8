"""Answers in batches are the answers one by one; what is asked is what a training row would have had."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sftrun.contract.answers import Answer
from sftrun.contract.jobspec import DataSource, EvaluationSpec, ModelSpec, TrainerSpec
from sftrun.contract.row_rules import RowRules
from sftrun.job.ask import batched
from sftrun.job.ask.batched import Asker, Settings
from sftrun.job.ask.questions import Question, Reader, batches, sampled
from sftrun.job.failures import JobFailure
from sftrun.job.prepare import row_tokenizer
from sftrun.job.train import loading, saved_tokenizer
from sftrun.rows.tokenizer import Tokens
from sftrun.step.given import Machine
from tests import steps
from tests.job import tiny

RULES = RowRules(format="instruction", completion_only=True)
BUILTIN = ModelSpec(name_or_path="builtin:tiny", dtype="float32")


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return row_tokenizer.of_model(BUILTIN, RULES)


@pytest.fixture(scope="module")
def model() -> Any:
    return loading.load_model(BUILTIN, None, steps.plan(BUILTIN, TrainerSpec(bf16=False), machine=Machine())).eval()


def read(tokens: Tokens, data: Path, **changes: Any) -> list[Question]:
    spec = EvaluationSpec(data=DataSource(files=(str(data),)), **changes)
    return Reader(RULES, "instruction", tokens, 512).all_of(spec)


def rows(tmp_path: Path, count: int) -> Path:
    return tiny.write_rows(
        tmp_path / "test.jsonl", [dict(row, kind="ab"[i % 2]) for i, row in enumerate(tiny.make_rows(count))]
    )


def ask(
    model: Any, tokens: Tokens, questions: Sequence[Question], monkeypatch: Any, most: int, **changes: Any
) -> list[Answer]:
    monkeypatch.setattr(batched, "MOST_ROWS_CPU", most)
    tokenizer = saved_tokenizer.load(BUILTIN, tokens)
    options = {"max_new_tokens": 24, "temperature": 0.0, "ends": [tokenizer.eos_token_id], **changes}
    asker = Asker(model, tokenizer, Settings(**options), lambda: None)
    return sorted(asker.answers("base", questions, frozenset()), key=lambda answer: (answer.part, answer.index))


@pytest.mark.slow
def test_a_batch_answers_as_each_of_its_rows_alone(
    model: Any, tokens: Tokens, tmp_path: Path, monkeypatch: Any
) -> None:
    questions = read(tokens, rows(tmp_path, 24), needs_loss=True)
    together = ask(model, tokens, questions, monkeypatch, 24)
    alone = ask(model, tokens, questions, monkeypatch, 1)
    assert [(one.text, one.tokens, one.is_ended) for one in together] == [
        (one.text, one.tokens, one.is_ended) for one in alone
    ]
    assert [one.loss for one in together] == pytest.approx([one.loss for one in alone], rel=1e-5)
    assert len({one.tokens for one in alone}) > 1 or not any(one.is_ended for one in alone)


@pytest.mark.slow
def test_what_was_answered_before_is_not_asked_again_and_changes_nothing(
    model: Any, tokens: Tokens, tmp_path: Path, monkeypatch: Any
) -> None:
    questions = read(tokens, rows(tmp_path, 10))
    whole = ask(model, tokens, questions, monkeypatch, 4)
    tokenizer = saved_tokenizer.load(BUILTIN, tokens)
    done = frozenset(("test", index) for index in (0, 3, 4, 9))
    asker = Asker(model, tokenizer, Settings(24, 0.0, [tokenizer.eos_token_id]), lambda: None)
    rest = list(asker.answers("base", questions, done))
    assert sorted(rest, key=lambda one: one.index) == [one for one in whole if one.index not in (0, 3, 4, 9)]


@pytest.mark.slow
def test_a_temperature_draws_the_same_answers_again(
    model: Any, tokens: Tokens, tmp_path: Path, monkeypatch: Any
) -> None:
    questions = read(tokens, rows(tmp_path, 6))
    first = ask(model, tokens, questions, monkeypatch, 3, temperature=1.0)
    assert first == ask(model, tokens, questions, monkeypatch, 3, temperature=1.0)
    assert first != ask(model, tokens, questions, monkeypatch, 3)


def test_the_loss_of_a_row_is_that_of_its_answer_alone(
    model: Any, tokens: Tokens, tmp_path: Path, monkeypatch: Any
) -> None:
    import torch

    (question,) = read(tokens, rows(tmp_path, 1), needs_loss=True)
    assert question.labelled is not None
    (answer,) = ask(model, tokens, [question], monkeypatch, 1)
    with torch.no_grad():
        ids, labels = (torch.tensor([list(part)]) for part in question.labelled)
        expected = model(input_ids=ids, labels=labels).loss.item()
    assert answer.loss == pytest.approx(expected, rel=1e-5)
    assert answer.learnt == sum(label != -100 for label in question.labelled.labels)


def test_a_question_is_the_prompt_of_a_training_row(tokens: Tokens, tmp_path: Path) -> None:
    found = read(tokens, rows(tmp_path, 3), by="kind")
    assert found[1].text is not None
    assert found[1].text.endswith("### Instruction:\nAdd 1 and 3. Please.\n\n### Response:\n")
    assert (found[1].shown, found[1].expected, found[1].group) == ("Add 1 and 3. Please.", "4!", "b")


def test_a_conversation_is_asked_up_to_the_last_answer(tmp_path: Path) -> None:
    folder = tiny.make_model(tmp_path / "model")
    rules = RowRules(format="messages")
    tokens = row_tokenizer.of_model(ModelSpec(name_or_path=str(folder)), rules)
    said = [("system", "Short."), ("user", "One?"), ("assistant", "1"), ("user", "Two?"), ("assistant", "2")]
    row = {"messages": [{"role": role, "content": content} for role, content in said]}
    data = tiny.write_rows(tmp_path / "talks.jsonl", [row])
    spec = EvaluationSpec(data=DataSource(files=(str(data),)))
    (found,) = Reader(rules, "messages", tokens, 512).all_of(spec)
    assert found.text is not None
    assert found.text.endswith("assistant\n1<|im_end|><|im_start|>user\nTwo?<|im_end|><|im_start|>assistant\n")
    assert (found.shown, found.expected, found.has_specials) == ("Two?", "2", True)


def test_neutral_text_is_read_and_not_asked(tokens: Tokens, tmp_path: Path) -> None:
    neutral = [one for one in read(tokens, rows(tmp_path, 2), reads_neutral=True) if one.part == "neutral"]
    assert len(neutral) >= 20
    assert all(one.text is None and one.labelled is not None for one in neutral)


def test_a_sample_is_the_same_for_every_run() -> None:
    assert sampled(100, 10) == sampled(100, 10)
    assert sampled(5, 10) == [0, 1, 2, 3, 4]
    assert len(set(sampled(1000, 100))) == 100


def test_rows_of_like_length_stand_in_one_batch_the_longest_first() -> None:
    texts = [Question("test", at, None, "", None, "x") for at in range(5)]
    texts.append(Question("neutral", 0, None, "", None, None))
    assert batches(texts, [3, 9, 5, 9, 1, 99], 2) == [[1, 3], [2, 0], [4], [5]]


def test_a_row_of_another_form_is_named(tokens: Tokens, tmp_path: Path) -> None:
    data = tiny.write_rows(
        tmp_path / "bad.jsonl", [{"instruction": "a", "output": "b"}, {"instruction": "a", "output": 3}]
    )
    with pytest.raises(JobFailure, match=r"bad\.jsonl:2"):
        read(tokens, data)
