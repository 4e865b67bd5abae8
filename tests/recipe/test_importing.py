"""Files of axolotl, LLaMA-Factory and TRL become recipes that do the same, or are refused; nothing is lost."""

from pathlib import Path
from typing import Any

import pytest

from sftrun.errors import SftrunError
from sftrun.recipe.foreign.importing import Imported, imported
from sftrun.recipe.load import load
from sftrun.recipe.models import Recipe

HERE = Path(__file__).parent / "imports"
FILES = sorted(file for file in HERE.glob("*.yaml") if ".recipe." not in file.name)
AXOLOTL = """\
base_model: Qwen/Qwen2.5-0.5B-Instruct
datasets: [{path: rows.jsonl, type: alpaca}]
learning_rate: 0.0001
save_steps: 100
output_dir: ./out
"""
FACTORY = """\
model_name_or_path: Qwen/Qwen2.5-0.5B-Instruct
stage: sft
do_train: true
dataset: company_rows
template: qwen
"""
TRL = """\
model_name_or_path: Qwen/Qwen2.5-0.5B-Instruct
dataset_name: org/talks
learning_rate: 1e-4
"""
LORA = "adapter: lora\nlora_r: 8\nlora_alpha: 16\nlora_target_linear: true\n"


def recipe_of(text: str) -> Recipe:
    """The recipe of a file that is carried over whole."""
    found = imported(text, "f.yaml")
    assert [one.message for one in found.diagnostics] == []
    loaded = load("recipe.yaml", text=found.text)
    assert loaded.recipe is not None, [one.message for one in loaded.diagnostics]
    return loaded.recipe


def codes(text: str) -> set[str]:
    return {one.code for one in imported(text, "f.yaml").diagnostics}


def leaf(recipe: Recipe, dotted: str) -> Any:
    value: Any = recipe
    for name in dotted.split("."):
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    return value


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_golden_file_becomes_exactly_its_recipe(file: Path) -> None:
    found = imported(file.read_text("utf-8"), file.name)

    assert found.text == file.with_suffix(".recipe.yaml").read_text("utf-8")
    assert [one.message for one in found.diagnostics] == []


SCRIPTS = sorted(HERE.glob("*.txt"))  # of libraries that no linter here has


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.stem)
def test_golden_script_becomes_exactly_its_recipe(file: Path) -> None:
    found = imported(file.read_text("utf-8"), f"{file.stem}.py")

    assert found.text == file.with_suffix(".recipe.yaml").read_text("utf-8")
    assert [one.message for one in found.diagnostics] == []


@pytest.mark.parametrize("file", [*FILES, *SCRIPTS], ids=lambda file: file.stem)
def test_an_imported_recipe_loads(file: Path) -> None:
    loaded = load(file.with_suffix(".recipe.yaml"))

    assert [found.message for found in loaded.diagnostics if found.severity == "error"] == []
    assert loaded.recipe is not None


# keys of the golden files that tell the tool, or whose value is what it does without them
AT_DEFAULT = (
    "base_model",
    "model_name_or_path",
    "train_on_inputs",
    "bf16",
    "stage",
    "finetuning_type",
    "quantization_method",
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_key_of_a_file_stands_in_its_recipe_or_in_a_comment(file: Path) -> None:
    """Each line is taken out; the recipe's text changes by it, or by the line's number in a comment."""
    text = file.read_text("utf-8")
    whole = imported(text, file.name).text
    for line in text.splitlines(keepends=True):
        if line[:1].isalpha() and not text.split(line, 1)[1].startswith(" ") and not line.startswith(AT_DEFAULT):
            without = text.replace(line, "#\n", 1)

            assert imported(without, file.name).text != whole, line


def test_an_unknown_setting_is_an_error_and_a_comment_with_its_line() -> None:
    found = imported(AXOLOTL + "foo_bar: 7\n", "f.yaml")

    assert codes(AXOLOTL + "foo_bar: 7\n") == {"I102"}
    assert not found.is_refused
    assert "#   foo_bar: 7 (line 6: `import` does not know what it does)" in found.text


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_how_another_tool_shards_weights_becomes_a_comment(file: Path) -> None:
    text = imported(file.read_text("utf-8") + "\ndeepspeed: zero3.json\n", file.name).text

    assert "how weights are spread over GPUs is planned from their memory" in text.replace("\n#     ", " ")


@pytest.mark.parametrize("text", ["a: 1\n", "[]\n", "base_model: [\n", "x"])
def test_a_file_of_no_known_tool_is_refused(text: str) -> None:
    with pytest.raises(SftrunError):
        imported(text, "f.yaml")


@pytest.mark.parametrize("value", ["5", "[1, {a: 2}]", "{a: {b: c}}", "null", "true", "x", '""', "[]", "-.5"])
@pytest.mark.parametrize("tool", ["axolotl", "llamafactory", "trl"])
def test_values_of_any_kind_give_a_recipe_or_errors(tool: str, value: str) -> None:
    lines = (HERE / f"{tool}.yaml").read_text("utf-8").splitlines()
    keys = [line.partition(":")[0] for line in lines if line[:1].isalpha()]

    text = "".join(f"{key}: {value}\n" for key in keys)

    assert "version: 1" in imported(text, "f.yaml").text


@pytest.mark.parametrize(
    "line",
    [
        *(f"rl: {kind}" for kind in ("dpo", "kto", "grpo", "orpo", "ipo", "simpo")),
        "reward_model: true",
        "process_reward_model: true",
        "processor_type: AutoProcessor",
        "pretraining_dataset: [{path: org/web}]",
        "model_type: AutoModelForSequenceClassification",
        "kd_trainer: true",
        "plugins: [axolotl.integrations.kd.KDPlugin]",
        "adapter: llama-adapter",
        "diffusion: {noise_schedule: cosine}",
        "qat: {weight_dtype: int8}",
    ],
)
def test_what_is_no_supervised_fine_tuning_of_text_is_refused_of_axolotl(line: str) -> None:
    found = imported(AXOLOTL + line + "\n", "f.yaml")

    assert {one.code for one in found.diagnostics} == {"I101"}
    assert found.is_refused


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("stage", stage) for stage in ("pt", "rm", "ppo", "dpo", "kto")),
        *(("finetuning_type", method) for method in ("oft", "freeze")),
        ("image_max_pixels", "262144"),
        ("do_train", "false"),
        ("dataset", "mllm_demo"),
        ("use_llama_pro", "true"),
    ],
)
def test_what_is_no_supervised_fine_tuning_of_text_is_refused_of_llama_factory(key: str, value: str) -> None:
    lines = [line for line in FACTORY.splitlines() if not line.startswith(f"{key}:")]

    assert codes("\n".join([*lines, f"{key}: {value}"])) == {"I101"}


@pytest.mark.parametrize("line", ["beta: 0.1", "num_generations: 8", "reward_model_name_or_path: a/b"])
def test_what_is_no_supervised_fine_tuning_is_refused_of_trl(line: str) -> None:
    assert codes(TRL + line) == {"I101"}


def test_an_empty_adapter_of_axolotl_is_full_fine_tuning() -> None:
    recipe = recipe_of(AXOLOTL + "adapter:\nlora_r: 16\nlora_alpha: 32\n")

    assert recipe.lora is None
    assert "lora_r: 16 (line 7: no adapter is trained)" in imported(AXOLOTL + "adapter:\nlora_r: 16\n", "f.yaml").text


AXOLOTL_DEFAULTS = {
    "trainer.max_length": 512,
    "trainer.per_device_train_batch_size": 1,
    "trainer.lr_scheduler_type": "cosine",
    "trainer.warmup_ratio": 0.03,
    "trainer.seed": 42,
    "trainer.num_train_epochs": 1,
    "trainer.bf16": True,
    "trainer.completion_only_loss": True,
    "model.dtype": "bfloat16",
}
FACTORY_DEFAULTS = {
    "trainer.num_train_epochs": 3,
    "trainer.max_length": 2048,
    "trainer.per_device_train_batch_size": 8,
    "trainer.learning_rate": 5e-5,
    "trainer.lr_scheduler_type": "linear",
    "trainer.seed": 42,
    "lora.r": 8,
    "lora.lora_alpha": 16,
    "lora.target_modules": "all-linear",
    "dataset.instruction_template": "chat",
    "dataset.chat_template": "qwen2_5",
}
TRL_DEFAULTS = {
    "trainer.num_train_epochs": 3,
    "trainer.max_length": 1024,
    "trainer.gradient_checkpointing": True,
    "trainer.assistant_only_loss": False,
    "trainer.bf16": True,
    "trainer.seed": 42,
    "model.dtype": "float32",
    "dataset.train.split": "train",
}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [(AXOLOTL, AXOLOTL_DEFAULTS), (FACTORY, FACTORY_DEFAULTS), (TRL, TRL_DEFAULTS)],
    ids=["axolotl", "llamafactory", "trl"],
)
def test_what_a_tool_does_by_default_is_written(text: str, wanted: dict[str, Any]) -> None:
    recipe = recipe_of(text)

    assert {key: leaf(recipe, key) for key in wanted} == wanted


def test_trl_takes_pefts_default_targets_where_none_are_named() -> None:
    recipe = recipe_of(TRL + "use_peft: true\n")

    assert recipe.lora is not None
    assert (recipe.lora.r, recipe.lora.lora_alpha, recipe.lora.lora_dropout) == (16, 32, 0.05)
    assert recipe.lora.target_modules == ("q_proj", "v_proj")


def test_default_targets_of_an_unknown_model_are_asked_for() -> None:
    assert codes(TRL.replace("Qwen/Qwen2.5-0.5B-Instruct", "org/mine") + "use_peft: true\n") == {"I102"}


def test_qlora_of_trl_computes_in_the_weights_own_type_and_quantises_once() -> None:
    quantization = recipe_of(TRL + "use_peft: true\nload_in_4bit: true\n").quantization

    assert quantization is not None
    assert quantization.bnb_4bit_compute_dtype == "float32"
    assert quantization.bnb_4bit_use_double_quant is False


def test_full_fine_tuning_of_llama_factory_keeps_weights_in_32_bits_unless_pure() -> None:
    full = FACTORY + "finetuning_type: full\nbf16: true\n"

    assert recipe_of(full).model.dtype == "float32"
    assert recipe_of(full + "pure_bf16: true\n").model.dtype == "bfloat16"


def test_a_regular_expression_of_lora_targets_stays_one() -> None:
    pattern = r"model.layers.[\d]+.(mlp|self_attn).(up|down|gate|q|k|v|o)_proj"
    recipe = recipe_of(AXOLOTL + f"adapter: lora\nlora_r: 8\nlora_alpha: 16\nlora_target_modules: '{pattern}'\n")

    assert recipe.lora is not None
    assert recipe.lora.target_modules == pattern


def test_layers_and_patterns_of_lora_are_carried() -> None:
    lines = "lora_target_modules: [q_proj]\npeft_layers_to_transform: [0, 2]\nlora_rank_pattern: {q_proj: 4}\n"
    lora = recipe_of(AXOLOTL + LORA.replace("lora_target_linear: true\n", lines)).lora

    assert lora is not None
    assert (lora.layers_to_transform, lora.rank_pattern) == ((0, 2), {"q_proj": 4})


def test_numbers_with_underscores_are_numbers() -> None:
    assert recipe_of(TRL + "max_length: 2_048\n").trainer.max_length == 2048


def test_a_prompt_of_ones_own_becomes_the_instruction_template() -> None:
    own = '{system_prompt: "", format: "Q: {instruction}\\nA:"}'
    recipe = recipe_of(AXOLOTL.replace("alpaca", own))

    assert (recipe.dataset.format, recipe.dataset.instruction_template) == (
        "instruction",
        "Q: {instruction}\nA:{output}",
    )


@pytest.mark.parametrize(("word", "is_only"), [("true", False), ("false", True)])
def test_training_on_inputs_is_carried_for_either_form(word: str, is_only: bool) -> None:
    text = AXOLOTL + f"train_on_inputs: {word}\n"

    assert recipe_of(text).trainer.completion_only_loss is is_only
    assert recipe_of(text.replace("alpaca", "chat_template")).trainer.assistant_only_loss is is_only


def test_an_inline_chat_template_becomes_a_file_beside_the_recipe() -> None:
    text = AXOLOTL.replace("alpaca", "chat_template") + 'chat_template_jinja: "{{ messages }}"\n'
    found = imported(text, "f.yaml")

    assert found.files == {"chat_template.jinja": "{{ messages }}"}
    assert "chat_template: chat_template.jinja" in found.text


@pytest.mark.parametrize(
    "line",
    [
        "loraplus_lr_ratio: 16",
        "lr_scheduler: rex",
        "optimizer: muon",
        "val_set_size: 500",
        "curriculum_sampling: true",
        "unfrozen_parameters: [lm_head.*]",
        "plugins: [my.own.Plugin]",
        "use_eaft: true",
        "chat_template: llava",
    ],
)
def test_what_would_train_otherwise_is_an_error_of_axolotl(line: str) -> None:
    text = AXOLOTL.replace("alpaca", "chat_template") + line + "\n"

    assert codes(text) == {"I102"}


@pytest.mark.parametrize(
    "line",
    [
        "packing: true",
        "mask_history: true",
        "use_galore: true",
        "use_dft_loss: true",
        "template: llama2",
        "default_system: be kind",
        "loraplus_lr_ratio: 16",
        "quantization_bit: 2",
    ],
)
def test_what_would_train_otherwise_is_an_error_of_llama_factory(line: str) -> None:
    lines = [one for one in FACTORY.splitlines() if not one.startswith(line.split(":")[0])]

    assert codes("\n".join([*lines, line])) == {"I102"}


@pytest.mark.parametrize("line", ["loss_type: dft", "router_aux_loss_coef: 0.01", "chat_template_path: t.jinja"])
def test_what_would_train_otherwise_is_an_error_of_trl(line: str) -> None:
    assert codes(TRL + line) == {"I102"}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("save_strategy: 'no'", 500),
        ("save_strategy: steps\nsave_steps: 40", 40),
    ],
)
def test_steps_between_checkpoints_are_carried(line: str, wanted: int) -> None:
    assert recipe_of(TRL + line).trainer.save_steps == wanted


def test_a_duplicate_key_is_an_error_at_its_place() -> None:
    assert "Y102" in codes(TRL + "learning_rate: 2e-4\n")


def test_a_key_without_which_the_tool_itself_would_fail_is_asked_for() -> None:
    found: Imported = imported(AXOLOTL.replace("learning_rate: 0.0001\n", ""), "f.yaml")

    assert ["needs it" in one.message for one in found.diagnostics] == [True]


@pytest.mark.parametrize(
    ("model", "lines", "gpu"),
    [
        ("org/small-0.5B", "", "L40S"),
        ("org/Big-70B", "", "H200:8"),
        ("org/Big-70B", LORA + "load_in_4bit: true\n", "H100"),
        ("org/Mid-8B", "", "H200"),
    ],
)
def test_the_gpu_to_begin_with_has_room_for_the_model(model: str, lines: str, gpu: str) -> None:
    text = AXOLOTL.replace("Qwen/Qwen2.5-0.5B-Instruct", model) + lines

    assert recipe_of(text).compute.gpu == gpu
