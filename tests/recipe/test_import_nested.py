"""Oumi, Soup and torchtune have sections in their files; their keys are found at any depth, with their lines."""

import pytest

from sftrun.recipe.foreign.importing import imported
from sftrun.recipe.load import load
from sftrun.recipe.models import Recipe

OUMI = """\
model: {model_name: meta-llama/Llama-3.1-8B-Instruct, model_max_length: 4096, torch_dtype_str: bfloat16}
data:
  train: {datasets: [{dataset_name: org/talks, split: train}], pack: true}
training:
  trainer_type: TRL_SFT
  use_peft: true
  learning_rate: 3e-4
  optimizer: adamw_torch_fused
  output_dir: output/x
peft: {lora_r: 16, lora_alpha: 32, lora_target_modules: [q_proj, v_proj]}
fsdp: {enable_fsdp: true}
"""
SOUP = """\
base: TinyLlama/TinyLlama-1.1B-Chat-v1.0
task: sft
data: {train: rows.jsonl, format: alpaca, max_length: 512}
training:
  lr: 5e-4
  batch_size: 4
  lora: {r: 16, alpha: 32, target_modules: [q_proj]}
output: ./out
"""
TORCHTUNE = """\
model:
  {_component_: torchtune.models.qwen2_5.lora_qwen2_5_0_5b, lora_attn_modules: [q_proj, output_proj], lora_rank: 8}
tokenizer: {_component_: torchtune.models.qwen2_5.qwen2_5_tokenizer, path: v.json, max_seq_len: 1024}
checkpointer: {_component_: torchtune.training.FullModelHFCheckpointer, checkpoint_dir: /tmp/Qwen2.5-0.5B-Instruct}
dataset: {_component_: torchtune.datasets.chat_dataset, source: org/talks, packed: true}
optimizer: {_component_: torch.optim.AdamW, lr: 2e-3}
lr_scheduler: {_component_: torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup, num_warmup_steps: 100}
loss: {_component_: torchtune.modules.loss.LinearCrossEntropyLoss}
batch_size: 2
epochs: 1
dtype: bf16
"""


def recipe_of(text: str) -> Recipe:
    found = imported(text, "f.yaml")
    assert [one.message for one in found.diagnostics] == []
    loaded = load("recipe.yaml", text=found.text)
    assert loaded.recipe is not None, [one.message for one in loaded.diagnostics]
    return loaded.recipe


def test_oumi_is_carried_with_its_defaults() -> None:
    recipe = recipe_of(OUMI)

    assert recipe.lora is not None
    assert (recipe.lora.r, recipe.lora.lora_dropout, recipe.lora.target_modules) == (16, 0, ("q_proj", "v_proj"))
    assert (recipe.trainer.max_length, recipe.trainer.packing, recipe.trainer.num_train_epochs) == (4096, True, 3)
    assert (recipe.trainer.learning_rate, recipe.trainer.assistant_only_loss) == (3e-4, False)


def test_soup_is_carried_with_its_defaults() -> None:
    recipe = recipe_of(SOUP)

    assert recipe.quantization is not None
    assert (recipe.quantization.load_in_4bit, recipe.dataset.instruction_template) == (True, "chat")
    assert (recipe.trainer.lr_scheduler_type, recipe.trainer.warmup_ratio, recipe.trainer.weight_decay) == (
        "cosine",
        0.03,
        0.01,
    )
    assert recipe.dataset.eval_fraction == 0.1


def test_torchtune_is_carried_and_asks_for_the_model() -> None:
    recipe, found = recipe_of(TORCHTUNE), imported(TORCHTUNE, "f.yaml")

    assert recipe.lora is not None
    assert (recipe.lora.target_modules, recipe.trainer.warmup_steps) == (("q_proj", "o_proj"), 100)
    assert (recipe.trainer.lr_scheduler_type, recipe.trainer.weight_decay) == ("cosine", 0.01)
    assert "model.name_or_path" in found.todo


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        (OUMI, "TRL_SFT", "TRL_DPO"),
        (OUMI, "TRL_SFT", "TRL_GRPO"),
        (OUMI, "pack: true", "collator_name: vision_language_sft"),
        (SOUP, "task: sft", "task: dpo"),
        (SOUP, "task: sft", "task: sft\nmodality: vision"),
        (SOUP, "format: alpaca", "format: kto"),
        (TORCHTUNE, "chat_dataset", "preference_dataset"),
        (TORCHTUNE, "qwen2_5.lora_qwen2_5_0_5b", "llama3_2_vision.lora_llama3_2_vision_11b"),
        (TORCHTUNE, "epochs: 1", "epochs: 1\nquantizer: {_component_: torchtune.training.quantization.Q}"),
    ],
)
def test_what_is_no_supervised_fine_tuning_of_text_is_refused(text: str, old: str, new: str) -> None:
    assert old in text
    assert {one.code for one in imported(text.replace(old, new), "f.yaml").diagnostics} == {"I101"}


@pytest.mark.parametrize(
    ("text", "old", "new", "line"),
    [
        (OUMI, "optimizer: adamw_torch_fused", "optimizer: muon", 8),
        (OUMI, "org/talks", "yahma/alpaca-cleaned", 3),
        (SOUP, "batch_size: 4", "batch_size: 4\n  lora_plus: 16", 7),
        (TORCHTUNE, "torch.optim.AdamW", "torch.optim.Adadelta", 6),
        (TORCHTUNE, "chat_dataset", "alpaca_dataset", 5),
    ],
)
def test_what_would_train_otherwise_is_an_error_at_its_line(text: str, old: str, new: str, line: int) -> None:
    found = imported(text.replace(old, new), "f.yaml")

    assert [one.code for one in found.diagnostics] == ["I102"]
    assert found.source.place(found.diagnostics[0]).line == line
