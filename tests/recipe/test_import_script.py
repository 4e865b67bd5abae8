"""A Python script or notebook is read and never run; what can't be followed is named with its line."""

import json

import pytest

from sftrun.errors import SftrunError
from sftrun.recipe.foreign.importing import Imported, imported
from sftrun.recipe.load import load
from sftrun.recipe.models import Recipe

SCRIPT = """\
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer

{before}
model = AutoModelForCausalLM.from_pretrained("Qwen/Qwen2.5-0.5B-Instruct")
dataset = load_dataset("org/talks", split="train")
{rows}
trainer = SFTTrainer(
    model=model,
    train_dataset=dataset,
    args=SFTConfig(output_dir="out", {args}),
    peft_config=LoraConfig(target_modules=["q_proj"], {lora}),
)
trainer.train()
"""


def script(*, before: str = "", rows: str = "", args: str = "", lora: str = "") -> str:
    return SCRIPT.format(before=before, rows=rows, args=args, lora=lora)


def read(text: str) -> Imported:
    return imported(text, "finetune.py")


def recipe_of(text: str) -> Recipe:
    found = read(text)
    assert [one.message for one in found.diagnostics] == []
    loaded = load("recipe.yaml", text=found.text)
    assert loaded.recipe is not None, [one.message for one in loaded.diagnostics]
    return loaded.recipe


@pytest.mark.parametrize(
    ("before", "expression"),
    [
        ("RATE = 2e-4", "RATE"),
        ("CONFIG = {'lr': 2e-4}", "CONFIG['lr']"),
        ("class Config:\n    lr = 2e-4", "Config.lr"),
        ("@dataclass\nclass Config:\n    lr: float = 2e-4\nconfig = Config()", "config.lr"),
        ("@dataclass\nclass Config:\n    lr: float = 1e-5\nconfig = Config(lr=2e-4)", "config.lr"),
        ("import os", "float(os.environ.get('LR', 2e-4))"),
        ("import os", "os.getenv('LR', 2e-4)"),
        ("BASE = 1e-4", "BASE * 2"),
        ("parser.add_argument('--lr', type=float, default=2e-4)\nargs = parser.parse_args()", "args.lr"),
        ("", "2e-4 if True else 1e-5"),
    ],
)
def test_a_constant_is_followed(before: str, expression: str) -> None:
    assert recipe_of(script(before=before, args=f"learning_rate={expression}")).trainer.learning_rate == 2e-4


def test_options_in_a_mapping_are_laid_open() -> None:
    recipe = recipe_of(script(before="OPTIONS = dict(num_train_epochs=2, seed=7)", args="**OPTIONS"))

    assert (recipe.trainer.num_train_epochs, recipe.trainer.seed) == (2, 7)


@pytest.mark.parametrize(
    ("before", "expression"),
    [
        ("", "find_rate()"),
        ("if test():\n    RATE = 1e-4\nelse:\n    RATE = 2e-4", "RATE"),
        ("import json", "json.load(open('c'))['lr']"),
    ],
)
def test_what_cannot_be_followed_is_named_with_its_line(before: str, expression: str) -> None:
    text = script(before=before, args=f"learning_rate={expression}")
    found = read(text)

    assert [one.code for one in found.diagnostics] == ["I102"]
    place = found.source.place(found.diagnostics[0])
    assert "learning_rate=" in text.splitlines()[place.line - 1]
    assert text.splitlines()[place.line - 1][place.column - 1 :].startswith("learning_rate")


@pytest.mark.parametrize(
    "name", ["DPOTrainer", "GRPOTrainer", "KTOTrainer", "ORPOTrainer", "RewardTrainer", "PPOTrainer"]
)
def test_another_trainer_is_refused_by_name(name: str) -> None:
    found = read(script().replace("SFTTrainer", name))

    assert {one.code for one in found.diagnostics} == {"I101"}
    assert name in found.diagnostics[0].message


@pytest.mark.parametrize("name", ["FastVisionModel", "AutoModelForSequenceClassification", "AutoModelForSeq2SeqLM"])
def test_another_kind_of_model_is_refused_by_name(name: str) -> None:
    assert {one.code for one in read(script().replace("AutoModelForCausalLM", name)).diagnostics} == {"I101"}


def test_nothing_of_a_script_is_run(tmp_path: object) -> None:
    text = script(before=f"open('{tmp_path}/ran', 'w')\nraise SystemExit(1)")

    assert recipe_of(text).model.name_or_path == "Qwen/Qwen2.5-0.5B-Instruct"


def test_defaults_of_the_libraries_are_written() -> None:
    recipe = recipe_of(script())

    assert recipe.lora is not None
    assert (recipe.lora.r, recipe.lora.lora_alpha, recipe.trainer.seed) == (8, 8, 42)
    assert (recipe.trainer.learning_rate, recipe.trainer.num_train_epochs) == (2e-5, 3)
    assert recipe.trainer.assistant_only_loss is False


F_STRING = """\
def to_text(row):
    return {"text": f"Q: {row['instruction']}\\nA: {row['output']}" + tokenizer.eos_token}
dataset = dataset.map(to_text)
"""
TWO_TEMPLATES = '''\
HEAD = "Below is an instruction that describes a task"
TAIL = "Write a response that appropriately completes the request."
def to_text(row):
    if row["input"]:
        text = f"""{HEAD}, paired with an input that provides further context. {TAIL}

### Instruction:
{row["instruction"]}

### Input:
{row["input"]}

### Response:
{row["output"]}"""
    else:
        text = f"""{HEAD}. {TAIL}

### Instruction:
{row["instruction"]}

### Response:
{row["output"]}"""
    return {"text": text}
dataset = dataset.map(to_text)
'''
CHAT = """\
def to_text(row):
    return {"text": tokenizer.apply_chat_template(row["messages"], tokenize=False)}
dataset = dataset.map(to_text)
"""
TURNS = """\
def to_text(row):
    turns = [{"role": "user", "content": row["instruction"]}, {"role": "assistant", "content": row["output"]}]
    return {"text": tokenizer.apply_chat_template(turns, tokenize=False)}
dataset = dataset.map(to_text)
"""


@pytest.mark.parametrize(
    ("rows", "form", "template"),
    [
        (F_STRING, "instruction", "Q: {instruction}\nA: {output}"),
        (TWO_TEMPLATES, "instruction", "alpaca"),
        (TURNS, "instruction", "chat"),
        (CHAT, "messages", "alpaca"),
    ],
)
def test_the_prompt_is_followed(rows: str, form: str, template: str) -> None:
    dataset = recipe_of(script(rows=rows)).dataset

    assert (dataset.format, dataset.instruction_template) == (form, template)


def test_a_prompt_that_cannot_be_followed_is_an_error_at_its_function() -> None:
    rows = "def to_text(row):\n    return {'text': build(row)}\ndataset = dataset.map(to_text)\n"
    found = read(script(rows=rows))

    assert ["how it makes text of a row" in one.message for one in found.diagnostics] == [True]


def test_a_text_that_is_taken_as_it_is_is_text() -> None:
    rows = (
        'def to_text(rows):\n    return {"text": [one + EOS for one in rows["text"]]}\ndataset = dataset.map(to_text)\n'
    )

    assert recipe_of(script(rows=rows)).dataset.format == "text"


def test_a_second_data_set_is_never_left_out_in_silence() -> None:
    found = read(script(rows='other = load_dataset("org/more", split="train")'))

    assert ["how a second data set is mixed in" in one.message for one in found.diagnostics] == [True]


def test_all_of_a_text_is_learnt_unless_the_script_says_otherwise() -> None:
    assert recipe_of(script(rows=F_STRING)).trainer.completion_only_loss is False
    rows = F_STRING + "trainer = train_on_responses_only(trainer)\n"
    assert recipe_of(script(rows=rows)).trainer.completion_only_loss is True


MODAL = """\
import modal
app = modal.App("mine")
data = modal.Volume.from_name("rows")
@app.function(gpu={gpu}, timeout=3 * 3600, volumes={{"/data": data}}, secrets=[modal.Secret.from_name("hf")], retries=2)
def train():
    model = AutoModelForCausalLM.from_pretrained("Qwen/Qwen2.5-0.5B-Instruct")
    dataset = load_dataset("json", data_files="/data/rows.jsonl", split="train").train_test_split(test_size=0.1)
    trainer = SFTTrainer(model=model, train_dataset=dataset["train"], args=SFTConfig(output_dir="/data/out"))
    trainer.save_model("/data/adapter")
"""


@pytest.mark.parametrize(
    ("gpu", "wanted"),
    [
        ('"A100-80GB:2"', "A100-80GB:2"),
        ('modal.gpu.A100(size="80GB", count=2)', "A100-80GB:2"),
        ('["H100", "A100"]', ("H100", "A100")),
        ('f"H100:{4}"', "H100:4"),
    ],
)
def test_what_modal_is_asked_for_is_carried(gpu: str, wanted: object) -> None:
    recipe = recipe_of(MODAL.format(gpu=gpu))

    assert recipe.name == "mine"
    assert (recipe.compute.gpu, recipe.compute.timeout, recipe.compute.retries) == (wanted, 10800, 2)
    assert (recipe.volumes, recipe.secrets) == ({"/data": "rows"}, ("hf",))
    assert (recipe.output.dir, recipe.dataset.train.path) == ("/data/adapter", "/data/rows.jsonl")
    assert recipe.dataset.eval_fraction == 0.1


def test_code_cells_of_a_notebook_are_read_without_lines_for_the_shell() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# words"]},
        {"cell_type": "code", "source": ["%%capture\n", "!pip install unsloth"]},
        {"cell_type": "code", "source": ["!nvidia-smi\n", script(args="seed=9")]},
    ]
    found = imported(json.dumps({"cells": cells}), "unsloth.ipynb")

    assert [one.message for one in found.diagnostics] == []
    assert "seed: 9" in found.text


@pytest.mark.parametrize(
    ("text", "file"), [("def (", "f.py"), ("{}", "f.ipynb"), ("[", "f.ipynb"), ("a = " + "(" * 9000, "f.py")]
)
def test_what_is_no_python_is_refused(text: str, file: str) -> None:
    with pytest.raises(SftrunError):
        imported(text, file)


def test_a_script_that_trains_nothing_is_asked_for_its_model() -> None:
    assert [one.code for one in read("print('hello')\n").diagnostics] == ["I102"]
