"""transformers' tokenizer of a run encodes as the rows were encoded, whatever class a folder names."""

import json
from pathlib import Path
from typing import Any

import pytest

from sftrun.contract.jobspec import ModelSpec
from sftrun.contract.row_rules import RowRules
from sftrun.job.failures import JobFailure
from sftrun.job.prepare import row_tokenizer
from sftrun.job.train import loading, saved_tokenizer
from sftrun.job.train.saved_tokenizer import Text, encoded
from tests.rows.tokenizers_for_tests import CHAT_TEMPLATE, byte_level, corpus, save

pytestmark = pytest.mark.filterwarnings("ignore")
TEXTS = [Text(f"rows.jsonl:{number}", text) for number, text in enumerate(corpus(5, 40), 1)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A byte-level tokenizer under the name of a class that cuts otherwise."""
    made = save(byte_level(), tmp_path / "model")
    settings = json.loads((made / "tokenizer_config.json").read_text())
    (made / "tokenizer_config.json").write_text(json.dumps(settings | {"tokenizer_class": "LlamaTokenizerFast"}))
    (made / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return made


def differing(tokenizer: Any, ids: dict[str, list[int]]) -> int:
    return sum(encoded(tokenizer, text) != found for text, found in ids.items())


def test_the_file_wins_over_a_class_that_would_change_it(folder: Path, tmp_path: Path) -> None:
    spec, tokens = (
        ModelSpec(name_or_path=str(folder)),
        row_tokenizer.of_model(ModelSpec(name_or_path=str(folder)), RowRules()),
    )
    ids = {text.text: tokens.encode(text.text).ids for text in TEXTS}
    assert differing(loading.auto_tokenizer(spec), ids) > 10
    kept = saved_tokenizer.load(spec, tokens, TEXTS)
    assert differing(kept, ids) == 0
    kept.save_pretrained(tmp_path / "saved")
    assert differing(loading.auto_tokenizer(ModelSpec(name_or_path=str(tmp_path / "saved"))), ids) == 0


def test_a_row_that_no_class_encodes_as_it_was_learnt_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec(name_or_path=str(folder))
    tokens = row_tokenizer.of_model(spec, RowRules())
    monkeypatch.setattr(saved_tokenizer, "encoded", lambda _, text: [] if "Tokyo" in text else tokens.encode(text).ids)
    first = next(text.place for text in TEXTS if "Tokyo" in text.text)
    with pytest.raises(JobFailure, match=f"{first}: .* encode it differently"):
        saved_tokenizer.load(spec, tokens, TEXTS)


def test_the_end_the_padding_and_the_template_are_those_of_the_rows(folder: Path) -> None:
    spec = ModelSpec(name_or_path=str(folder))
    rules = RowRules(eos_token="<|im_end|>", pad_token="<|im_start|>", chat_template="{{ messages }}")
    kept = saved_tokenizer.load(spec, row_tokenizer.of_model(spec, rules), TEXTS)
    assert (kept.eos_token, kept.pad_token, kept.chat_template) == ("<|im_end|>", "<|im_start|>", "{{ messages }}")
    kept = saved_tokenizer.load(spec, row_tokenizer.of_model(spec, RowRules()), TEXTS)
    assert kept.pad_token == kept.eos_token
    assert kept.chat_template == CHAT_TEMPLATE


def test_tokens_that_only_the_settings_name_are_whole(tmp_path: Path) -> None:
    made = byte_level()
    text = json.loads(made.to_str())
    text["added_tokens"] = [token for token in text["added_tokens"] if token["content"] != "<|im_end|>"]
    folder = save(made, tmp_path / "model")
    (folder / "tokenizer.json").write_text(json.dumps(text))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    listed = {"2": {"content": "<|im_end|>", "special": True, "normalized": False}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"added_tokens_decoder": listed}))
    tokens = row_tokenizer.of_model(ModelSpec(name_or_path=str(folder)), RowRules())
    assert tokens.encode("a<|im_end|>").ids[-1:] == [2]
