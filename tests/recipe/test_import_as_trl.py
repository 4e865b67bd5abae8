"""TRL's own parser is the judge: what it makes of a configuration is what the imported recipe says, key by key."""

from pathlib import Path
from typing import Any

import pytest

from sftrun.recipe.foreign.importing import imported
from sftrun.recipe.load import load
from sftrun.recipe.models import Recipe

pytestmark = pytest.mark.slow
HEAD = "model_name_or_path: Qwen/Qwen2.5-0.5B-Instruct\ndataset_name: org/talks\noutput_dir: out\n"
CONFIGS = {
    "defaults": "",
    "lora": "use_peft: true\nlora_r: 32\nlora_alpha: 16\nlora_target_modules: [q_proj, v_proj]\n",
    "lora by default": "use_peft: true\n",
    "qlora": "use_peft: true\nload_in_4bit: true\nuse_bnb_nested_quant: true\ndtype: bfloat16\n",
    "schedule": "learning_rate: 1e-4\nlr_scheduler_type: cosine\nwarmup_steps: 0.1\nnum_train_epochs: 2\n",
    "steps": "max_steps: 40\nsave_steps: 20\nlogging_steps: 5\nper_device_train_batch_size: 2\n",
    "numbers": "max_length: 2048\npacking: true\ngradient_accumulation_steps: 4\nseed: 7\nweight_decay: 0.1\n",
    "precision": "bf16: false\nfp16: true\nuse_peft: true\ngradient_checkpointing: false\nmax_grad_norm: 0.3\n",
}
# theirs -> ours; what is not said in the file is the parser's default
ARGUMENTS = {
    "learning_rate": "trainer.learning_rate",
    "per_device_train_batch_size": "trainer.per_device_train_batch_size",
    "gradient_accumulation_steps": "trainer.gradient_accumulation_steps",
    "lr_scheduler_type": "trainer.lr_scheduler_type",
    "weight_decay": "trainer.weight_decay",
    "max_grad_norm": "trainer.max_grad_norm",
    "optim": "trainer.optim",
    "seed": "trainer.seed",
    "max_length": "trainer.max_length",
    "packing": "trainer.packing",
    "logging_steps": "trainer.logging_steps",
    "save_steps": "trainer.save_steps",
    "gradient_checkpointing": "trainer.gradient_checkpointing",
    "bf16": "trainer.bf16",
    "fp16": "trainer.fp16",
    "assistant_only_loss": "trainer.assistant_only_loss",
}
ADAPTER = {
    "lora_r": "lora.r",
    "lora_alpha": "lora.lora_alpha",
    "lora_dropout": "lora.lora_dropout",
    "use_dora": "lora.use_dora",
    "use_rslora": "lora.use_rslora",
}
QUANTIZED = {
    "bnb_4bit_quant_type": "quantization.bnb_4bit_quant_type",
    "use_bnb_nested_quant": "quantization.bnb_4bit_use_double_quant",
    "dtype": "quantization.bnb_4bit_compute_dtype",
}


def leaf(recipe: Recipe, dotted: str) -> Any:
    value: Any = recipe
    for name in dotted.split("."):
        value = getattr(value, name)
    return value


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS)
def test_a_recipe_says_what_trls_parser_makes_of_the_file(tmp_path: Path, text: str) -> None:
    from trl import ModelConfig, ScriptArguments, SFTConfig, TrlParser

    (tmp_path / "c.yaml").write_text(HEAD + text + "use_cpu: true\n")
    parser: Any = TrlParser((ScriptArguments, SFTConfig, ModelConfig))
    _, args, model = parser.parse_args_and_config(["--config", str(tmp_path / "c.yaml")])
    recipe = load("recipe.yaml", text=imported(HEAD + text, "c.yaml").text).recipe
    assert recipe is not None

    pairs = [(getattr(args, theirs), leaf(recipe, ours)) for theirs, ours in ARGUMENTS.items()]
    if model.use_peft:
        pairs += [(getattr(model, theirs), leaf(recipe, ours)) for theirs, ours in ADAPTER.items()]
    if model.load_in_4bit:
        pairs += [(getattr(model, theirs), leaf(recipe, ours)) for theirs, ours in QUANTIZED.items()]
    said = [
        (getattr(theirs, "value", theirs), ours or False if isinstance(theirs, bool) else ours)
        for theirs, ours in pairs
    ]
    assert [pair for pair in said if pair[0] != pair[1]] == []
    assert (recipe.trainer.max_steps or -1) == args.max_steps
    assert (recipe.trainer.warmup_steps or recipe.trainer.warmup_ratio or 0) == args.warmup_steps
