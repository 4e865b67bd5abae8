"""Tokens that the tokenizer lacks: their rows are trained, and what is saved loads by transformers and PEFT alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GenerationConfig

from sftrun.contract import output_marker
from sftrun.contract.jobspec import JobSpec, LoraSpec, QuantizationSpec
from sftrun.contract.row_rules import RowRules
from sftrun.job.train import arguments
from sftrun.job.train.answer import Answerer
from tests.job import tiny
from tests.job.runs import Run, at_step, held_at_step

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
ADDED = ("<|turn|>", "<|over|>")
TEMPLATE = (
    "{% for m in messages %}{{ '<|turn|>' + m.role + '\n' + m.content + '<|over|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn|>assistant\n' }}{% endif %}"
)
TALK = {"messages": [{"role": "user", "content": "Add 1 and 3."}, {"role": "assistant", "content": "4"}]}
RULES = RowRules(chat_template=TEMPLATE, add_tokens=ADDED)
LORA = LoraSpec(r=4, lora_alpha=8, added_tokens=2)
NF4 = QuantizationSpec(load_in_4bit=True)
CASES: dict[str, dict[str, Any]] = {
    "adapter": {"lora": LORA},
    "adapter, tied": {"lora": LORA, "tied": True},
    "adapter on 4 bits": {"lora": LORA, "quantization": NF4},
    "all embeddings": {
        "lora": LORA.model_copy(update={"modules_to_save": ("embed_tokens", "lm_head"), "added_tokens": 0})
    },
    "full": {"lora": None},
}


@pytest.fixture(scope="module", params=CASES)
def spec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> JobSpec:
    """A finished run that was broken off once."""
    folder, case = tmp_path_factory.mktemp("run"), dict(CASES[request.param])
    base = tiny.make_model(folder / "base")
    if not case.pop("tied", False):
        untie(base)
    data = tiny.write_rows(folder / "rows.jsonl", [TALK] * 16)
    trainer = {"max_steps": 60, "learning_rate": 1e-2, "save_steps": 20, "logging_steps": 1}
    made = tiny.make_job(folder, base, data, rows=RULES, trainer=trainer, **case)
    first = Run(made, folder, held_at_step(25, made))
    first.until(at_step(25))
    first.kill_worker()
    first.rest()
    assert Run(made, folder).rest()[0] == 0
    return made


def untie(base: Path) -> None:
    """A head of its own."""
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    weights = load_file(base / "model.safetensors")
    head = weights["model.embed_tokens.weight"].flip(0).contiguous()
    save_file(weights | {"lm_head.weight": head}, base / "model.safetensors", {"format": "pt"})


def plain(spec: JobSpec) -> tuple[Any, Any]:
    """Tokenizer and tuned model, by transformers and PEFT alone."""
    tokenizer = AutoTokenizer.from_pretrained(spec.output_dir)
    if spec.lora is None:
        return tokenizer, AutoModelForCausalLM.from_pretrained(spec.output_dir)
    bits = None if spec.quantization is None else BitsAndBytesConfig(**arguments.bnb_config(spec.quantization))
    base = AutoModelForCausalLM.from_pretrained(spec.model.name_or_path, dtype=torch.float32, quantization_config=bits)
    base.resize_token_embeddings(len(tokenizer))
    return tokenizer, PeftModel.from_pretrained(base, spec.output_dir)


def test_the_tokens_are_the_turns_ends_and_the_model_has_learnt_to_end(spec: JobSpec) -> None:
    marker = output_marker.read(spec.output_dir)
    assert marker is not None
    assert marker.ends == ("<|over|>",)
    tokenizer, model = plain(spec)
    asked = tokenizer.apply_chat_template(
        TALK["messages"][:1], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    ends = GenerationConfig.from_pretrained(spec.output_dir)
    with torch.no_grad():
        answer = model.generate(**asked, generation_config=ends, max_new_tokens=8)[0, asked["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "4<|over|>"


def test_our_own_answer_is_that_of_what_is_loaded_elsewhere(spec: JobSpec) -> None:
    ours = Answerer(spec)
    tokenizer, model = plain(spec)
    ids = torch.tensor([tokenizer.convert_tokens_to_ids(["<|turn|>", "4", "<|over|>"])])
    with torch.no_grad():
        here, there = (each(ids).logits.float() for each in (ours.tuned, model))
    assert here.shape == there.shape
    assert torch.allclose(here, there, atol=0.05 if spec.quantization else 1e-4)


def test_an_adapter_holds_the_new_rows_and_not_the_embedding(spec: JobSpec) -> None:
    if spec.lora is None or not spec.lora.added_tokens:
        return
    found = load_file(Path(spec.output_dir, "adapter_model.safetensors"))
    rows = {name: list(weight.shape) for name, weight in found.items() if "lora_" not in name}
    tied = json.loads(Path(spec.model.name_or_path, "config.json").read_text())["tie_word_embeddings"]
    assert list(rows.values()) == [[2, tiny.HIDDEN]] * (1 if tied else 2), rows


def test_the_card_says_how_many_rows_the_base_wants(spec: JobSpec) -> None:
    said = "base.resize_token_embeddings(261)" in Path(spec.output_dir, "README.md").read_text()
    assert said is bool(spec.lora is not None and spec.lora.added_tokens)
