"""The table of all diagnostic codes: what `sftrun explain CODE` says, and what `docs/diagnostics.md` is made from.

One table for every check, wherever the check lives.  Y: YAML itself.  R1: one key, its type and value.  R2: keys that
disagree.  M: the model and its adapters.  D: the data.  G: the GPU.  V: Volumes and paths.  C: cost and time.
S: safety.  A code keeps its meaning for ever; a retired one is not given out again.

`bad` and `good` are the lines of a recipe that matter.  Nothing on the way of `validate` imports this module.
"""

from dataclasses import dataclass

from sftrun.diagnostics import Severity


@dataclass(frozen=True)
class Code:
    """One kind of problem: why it matters, a recipe that has it, and the same recipe mended."""

    code: str
    title: str
    severity: Severity
    why: str
    bad: str
    good: str


def _error(code: str, title: str, why: str, bad: str, good: str) -> Code:
    return Code(code, title, "error", why, bad, good)


def _warning(code: str, title: str, why: str, bad: str, good: str) -> Code:
    return Code(code, title, "warning", why, bad, good)


_YAML = (
    _error(
        "Y101",
        "not YAML",
        "The text breaks YAML's grammar at this place, so that nothing behind it can be read.",
        "trainer:\n  optim: adamw: 8bit",
        "trainer:\n  optim: adamw_8bit",
    ),
    _error(
        "Y102",
        "a key stands twice",
        "YAML readers silently keep the last of two equal keys. One of the two values would be ignored, and nobody "
        "could see which one was meant.",
        "trainer:\n  max_steps: 60\n  max_steps: 500",
        "trainer:\n  max_steps: 500",
    ),
    _error(
        "Y103",
        "a tab",
        "YAML forbids tabs as indentation: editors show them at different widths, so the structure that one reads is "
        "not the structure that one sees.",
        "trainer:\n\tmax_steps: 60",
        "trainer:\n  max_steps: 60",
    ),
    _error(
        "Y104",
        "a word that some YAML readers take for a bool",
        "`yes`, `no`, `on` and `off` are bools in YAML 1.1 and words in YAML 1.2 (Norway's region code is the famous "
        "case). A recipe means the same to every reader: write true or false for a bool, and quote a word.",
        "lora:\n  bias: no",
        "lora:\n  bias: none",
    ),
    _error(
        "Y105",
        "an anchor or alias",
        "Anchors make a line depend on another one far away, and nested aliases grow to gigabytes from a few lines. "
        "What several recipes share belongs in a file that they name in `extends`.",
        "model: {revision: &pin main, name_or_path: me/model}\ntags: {rev: *pin}",
        "model: {revision: main, name_or_path: me/model}\ntags: {rev: main}",
    ),
    _error(
        "Y106",
        "a merge key",
        "`<<` left YAML with version 1.2, and readers disagree about it. Use `extends` for what recipes share.",
        "trainer:\n  <<: *defaults\n  max_steps: 60",
        "extends: base.yaml\ntrainer:\n  max_steps: 60",
    ),
    _error(
        "Y107",
        "a second document",
        "A file is one recipe. A second document behind `---` would have to be ignored.",
        "version: 1\nname: a\n---\nversion: 1\nname: b",
        "version: 1\nname: a",
    ),
    _error(
        "Y108",
        "not UTF-8",
        "Recipes are UTF-8, so that prompts and names are the same text on every machine.",
        "description: caf\\xe9    # saved as Latin-1",
        "description: café       # saved as UTF-8",
    ),
    _error(
        "Y109",
        "a file too large",
        "A recipe is a page or two. A file of many megabytes is data that was given by mistake; it is refused before "
        "it is read.",
        "sftrun validate train.jsonl",
        "sftrun validate recipe.yaml",
    ),
    _error(
        "Y110",
        "nested too deep, or too many values",
        "No recipe nests more than a few levels. Both are bounded, so that no file costs time or memory.",
        "tags: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
        "tags: {project: census}",
    ),
    _error(
        "Y111",
        "an empty file",
        "There is nothing in the file but blanks and comments.",
        "# to do",
        "version: 1\nname: my-recipe",
    ),
    _error(
        "Y112",
        "not a mapping",
        "A recipe is a mapping of keys to values; a list or a single word can't be one.",
        "- version: 1\n- name: a",
        "version: 1\nname: a",
    ),
    _error(
        "Y113",
        "a key that is no word",
        "Keys are words. A number, a null, a list or `on` as a key is another thing to each YAML reader.",
        "tags: {1: census}",
        'tags: {"1": census}',
    ),
    _error(
        "Y114",
        "a tag",
        "Tags (`!!python/object` and the like) ask a reader to construct something. A recipe is only data.",
        "seed: !!python/name:os.system x",
        "seed: 3407",
    ),
    _error(
        "Y115",
        "a number that readers disagree about",
        "`010` is 8 in YAML 1.1 and 10 in YAML 1.2; `1_000` is a number to one and a text to the other; and very "
        "long numbers lose digits.",
        "trainer:\n  max_steps: 1_000",
        "trainer:\n  max_steps: 1000",
    ),
    _error(
        "Y116",
        "a file that can't be read",
        "The file is missing, a folder, or closed to this user.",
        "sftrun validate recipes/tpyo.yaml",
        "sftrun validate recipes/typo.yaml",
    ),
    _error(
        "Y117",
        "a control character",
        "Control characters are invisible and forbidden in YAML; they come from a broken copy or a binary file.",
        "name: a\\x00b",
        "name: ab",
    ),
)

_KEYS = (
    _error(
        "R101",
        "no version",
        "`version` says which form the recipe is written in, so that a recipe of today is still understood, or "
        "migrated, when the form has changed.",
        "name: my-recipe",
        "version: 1\nname: my-recipe",
    ),
    _error(
        "R102",
        "an unknown version",
        "This program reads version 1. Version 0, the flat form, is migrated by `sftrun migrate`; a later one needs "
        "a later program.",
        "version: 2",
        "version: 1",
    ),
    _error(
        "R103",
        "an unknown key",
        "A key that nobody reads would be a setting that is silently not set.",
        "trainer:\n  max_lenght: 2048",
        "trainer:\n  max_length: 2048",
    ),
    _error(
        "R104",
        "another tool's name for a key",
        "axolotl, LLaMA-Factory, Unsloth and others have names of their own. Recipes use the names of TRL, PEFT, "
        "transformers and Modal alone, so that there is one vocabulary.",
        "trainer:\n  lr: 2.0e-4",
        "trainer:\n  learning_rate: 2.0e-4",
    ),
    _error(
        "R105",
        "a key is missing",
        "Nothing sensible can be taken for this key, so it has to be written.",
        "model: {dtype: bfloat16}",
        "model: {name_or_path: Qwen/Qwen2.5-0.5B-Instruct, dtype: bfloat16}",
    ),
    _error(
        "R106",
        "a value of the wrong kind",
        'Values are never converted behind your back: the text "60" is not the number 60, and a fraction is not a '
        "whole number.",
        'trainer:\n  max_steps: "60"',
        "trainer:\n  max_steps: 60",
    ),
    _error(
        "R107",
        "a word that is no choice here",
        "The key takes one of a few words.",
        "lora:\n  bias: non",
        "lora:\n  bias: none",
    ),
    _error(
        "R108",
        "a number out of range",
        "The library would refuse the number on the GPU, after it has been paid for.",
        "lora:\n  lora_dropout: 1.5",
        "lora:\n  lora_dropout: 0.05",
    ),
    _error(
        "R109",
        "a text of the wrong form",
        "Names become names of runs, folders and Modal Apps: letters, digits, dots, dashes and underscores, at most "
        "63, a letter or digit first. Other texts must not be empty.",
        "name: my recipe!",
        "name: my-recipe",
    ),
    _error(
        "R110",
        "an override that can't be read",
        "`--set` takes a dotted key, `=`, and a value as it would stand in the recipe.",
        "sftrun validate r.yaml --set max_steps",
        "sftrun validate r.yaml --set trainer.max_steps=60",
    ),
    _error(
        "R111",
        "the recipe to extend is missing",
        "`extends` names a file relative to the recipe that says it.",
        "extends: bsae.yaml",
        "extends: base.yaml",
    ),
    _error(
        "R112",
        "`extends` goes in a circle",
        "A recipe that extends itself, directly or through others, has no lowest base to start from.",
        "extends: a.yaml    # and a.yaml extends this file",
        "extends: base.yaml",
    ),
    _error(
        "R113",
        "too long a chain of `extends`",
        "A value that is set sixteen files away can't be found by a reader.",
        "extends: sixteenth.yaml",
        "extends: base.yaml",
    ),
    _error(
        "R114",
        "`trainer.extra` has a key that SFTConfig doesn't",
        "`extra` hands fields to the locked TRL's SFTConfig. A name that it doesn't have would fail on the GPU.",
        "trainer:\n  extra: {neftune_noise: 5}",
        "trainer:\n  extra: {neftune_noise_alpha: 5}",
    ),
    _error(
        "R115",
        "`trainer.extra` has a key that belongs elsewhere",
        "The key has a place of its own in the recipe, or sftrun sets it itself; set twice, one would be ignored.",
        "trainer:\n  extra: {max_steps: 60}",
        "trainer:\n  max_steps: 60",
    ),
    _error(
        "R116",
        "`trainer.extra` has a value of the wrong kind",
        "The field of SFTConfig takes another type.",
        "trainer:\n  extra: {adam_beta1: big}",
        "trainer:\n  extra: {adam_beta1: 0.9}",
    ),
    _error(
        "R117",
        "an unknown learning rate schedule",
        "The name must be one that the locked transformers knows.",
        "trainer:\n  lr_scheduler_type: cosin",
        "trainer:\n  lr_scheduler_type: cosine",
    ),
    _error(
        "R118",
        "an unknown optimiser",
        "The name must be one that the locked transformers knows.",
        "trainer:\n  optim: adamw8bit",
        "trainer:\n  optim: adamw_8bit",
    ),
    _error(
        "R119",
        "an instruction template without a place for the answer",
        "The template is `alpaca`, `plain`, or a text that holds {instruction} and {output}: without {output} there "
        "is nothing to learn, and what stands before it is the prompt.",
        'dataset:\n  instruction_template: "Q: {instruction}"',
        'dataset:\n  instruction_template: "Q: {instruction}\\nA: {output}"',
    ),
    _error(
        "R120",
        "a size of memory that can't be read",
        "Memory is a number with a unit (MiB or GiB), or a whole number of MiB.",
        "compute:\n  memory: 16 gigs",
        "compute:\n  memory: 16GiB",
    ),
    _error(
        "R121",
        "a tag that Modal would refuse",
        "Tags end up on the bill: keys and values are at most 63 letters, digits, dots, dashes and underscores.",
        "tags: {project: census & friends}",
        "tags: {project: census}",
    ),
    _error(
        "R122",
        "a value that stands twice in a list",
        "The second one changes nothing, so that one of the two is probably another name misspelt.",
        "lora:\n  target_modules: [q_proj, q_proj]",
        "lora:\n  target_modules: [q_proj, k_proj]",
    ),
    _error(
        "R123",
        "an empty list where something is needed",
        "An empty list of targets trains nothing; an empty list of GPUs asks for none.",
        "lora:\n  target_modules: []",
        "lora:\n  target_modules: all-linear",
    ),
)

_TOGETHER = (
    _error(
        "R201",
        "4 bits and 8 bits at once",
        "Weights are stored one way. bitsandbytes refuses both.",
        "quantization: {load_in_4bit: true, load_in_8bit: true}",
        "quantization: {load_in_4bit: true}",
    ),
    _error(
        "R202",
        "steps and epochs at once",
        "The trainer silently ignores the epochs as soon as `max_steps` is set.",
        "trainer: {max_steps: 60, num_train_epochs: 3}",
        "trainer: {max_steps: 60}",
    ),
    _error(
        "R203",
        "bf16 and fp16 at once",
        "Mixed precision has one type.",
        "trainer: {bf16: true, fp16: true}",
        "trainer: {bf16: true}",
    ),
    _error(
        "R204",
        "evaluation without eval data",
        "`eval_steps` or `per_device_eval_batch_size` says how to evaluate, but there are no rows to evaluate on.",
        "dataset: {train: train.jsonl}\ntrainer: {eval_steps: 100}",
        "dataset: {train: train.jsonl, eval_fraction: 0.02}\ntrainer: {eval_steps: 100}",
    ),
    _error(
        "R205",
        "the best model can't be kept",
        "The best checkpoint is chosen among those that were evaluated: `save_steps` must be a multiple of "
        "`eval_steps`.",
        "trainer: {load_best_model_at_end: true, eval_steps: 200, save_steps: 500}",
        "trainer: {load_best_model_at_end: true, eval_steps: 250, save_steps: 500}",
    ),
    _error(
        "R206",
        "warm-up said twice",
        "`warmup_steps` and `warmup_ratio` say the same thing, and only one can hold.",
        "trainer: {warmup_steps: 100, warmup_ratio: 0.03}",
        "trainer: {warmup_ratio: 0.03}",
    ),
    _error(
        "R207",
        "full fine-tuning of quantised weights",
        "Quantised weights have no gradient. They are trained through adapters (QLoRA), or not quantised.",
        "quantization: {load_in_4bit: true}",
        "quantization: {load_in_4bit: true}\nlora: {r: 16}",
    ),
    _error(
        "R208",
        "DoRA that the engine can't do",
        "Unsloth has no DoRA, and DoRA on 8-bit weights has no kernel.",
        "lora: {use_dora: true}\ntrainer: {engine: unsloth}",
        "lora: {use_dora: true}\ntrainer: {engine: trl}",
    ),
    _error(
        "R209",
        "unsloth on several GPUs",
        "The engine unsloth trains on one GPU.",
        "trainer: {engine: unsloth}\ncompute: {gpu: H100:8}",
        "trainer: {engine: trl}\ncompute: {gpu: H100:8}",
    ),
    _error(
        "R210",
        "eval data said twice",
        "`dataset.eval` names validation rows, `dataset.eval_fraction` cuts them off the training rows.",
        "dataset: {train: a.jsonl, eval: b.jsonl, eval_fraction: 0.1}",
        "dataset: {train: a.jsonl, eval: b.jsonl}",
    ),
    _error(
        "R211",
        "a data source that names no rows, or two kinds",
        "A source is files (`path`) or a data set of the Hub (`hub`).",
        "dataset:\n  train: {path: a.jsonl, hub: tatsu-lab/alpaca}",
        "dataset:\n  train: {hub: tatsu-lab/alpaca}",
    ),
    _error(
        "R212",
        "a key of the Hub on a file",
        "`split`, `config` and `revision` select from a data set of the Hub, and mean nothing for files.",
        "dataset:\n  train: {path: a.jsonl, split: train}",
        "dataset:\n  train: {hub: tatsu-lab/alpaca, split: train}",
    ),
    _error(
        "R213",
        "a quantization section that quantises nothing",
        "Neither `load_in_4bit` nor `load_in_8bit` is true, so the other keys of the section change nothing.",
        "quantization: {bnb_4bit_quant_type: nf4}",
        "quantization: {load_in_4bit: true, bnb_4bit_quant_type: nf4}",
    ),
    _error(
        "R214",
        "4-bit settings of 8-bit weights",
        "The `bnb_4bit_…` keys change nothing when weights are loaded in 8 bits.",
        "quantization: {load_in_8bit: true, bnb_4bit_quant_type: nf4}",
        "quantization: {load_in_8bit: true}",
    ),
    _error(
        "R215",
        "a loss that the data's format can't have",
        "`assistant_only_loss` needs turns (messages), `completion_only_loss` a prompt and a completion.",
        "dataset: {format: text}\ntrainer: {completion_only_loss: true}",
        "dataset: {format: prompt_completion}\ntrainer: {completion_only_loss: true}",
    ),
    _error(
        "R216",
        "a template for rows that have none",
        "`instruction_template` lays out instruction rows; with another format it changes nothing.",
        "dataset: {format: messages, instruction_template: plain}",
        "dataset: {format: instruction, instruction_template: plain}",
    ),
    _error(
        "R217",
        "several machines that can't work together",
        "`compute.nodes` above 1 (32 at most) needs Modal, the engine trl without `fsdp`, and GPUs that fill each "
        "machine (`NAME:8`).",
        "compute: {nodes: 2, gpu: H100}",
        "compute: {nodes: 2, gpu: H100:8}",
    ),
    _error(
        "R218",
        "what FSDP can't do",
        "`trainer.extra.fsdp` (FSDP2) does not go with 8-bit weights, with optimisers other than `adamw_torch_fused`, "
        "`adamw_torch` and `sgd`, with FSDP 1, or with options that would not be obeyed, such as `cpu_offload`.",
        "trainer: {optim: adamw_8bit, extra: {fsdp: true}}",
        "trainer: {optim: adamw_torch_fused, extra: {fsdp: true}}",
    ),
    _error(
        "R219",
        "sampling without prompts",
        "`samples.max_new_tokens` and `samples.temperature` change nothing without `samples.prompts`.",
        "samples: {max_new_tokens: 256}",
        'samples: {prompts: ["What is the population of Tokyo?"], max_new_tokens: 256}',
    ),
    _error(
        "R220",
        "precision that the weights don't have",
        "Mixed precision in fp16 with bfloat16 weights (or the reverse) trains in neither; the loss scaler of fp16 "
        "wants what is trained in 32 bits. A `dtype` that is not written follows the steps.",
        "model: {dtype: bfloat16}\ntrainer: {fp16: true}",
        "model: {dtype: float16}\ntrainer: {fp16: true}",
    ),
    _error(
        "R221",
        "8-bit weights with the engine unsloth",
        "The engine unsloth is run with 4-bit or unquantised weights here.",
        "quantization: {load_in_8bit: true}\ntrainer: {engine: unsloth}",
        "quantization: {load_in_4bit: true}\ntrainer: {engine: unsloth}",
    ),
    _warning(
        "R230",
        "packed rows that see each other",
        "Packing puts several rows into one sequence. With `sdpa` or `eager` attention each row attends to those "
        "before it, which teaches the model to mix them. The kernels with variable lengths keep them apart.",
        "model: {attn_implementation: sdpa}\ntrainer: {packing: true}",
        "model: {attn_implementation: auto}\ntrainer: {packing: true}",
    ),
    _warning(
        "R231",
        "warm-up longer than the run",
        "The learning rate never reaches its peak.",
        "trainer: {max_steps: 60, warmup_steps: 100}",
        "trainer: {max_steps: 60, warmup_ratio: 0.03}",
    ),
    _warning(
        "R232",
        "lora_alpha / r out of the usual range",
        "The adapter's output is multiplied by lora_alpha / r (lora_alpha / sqrt(r) with rsLoRA). From 0.25 to 4 is "
        "usual; beyond it the learning rate is in effect another one.",
        "lora: {r: 8, lora_alpha: 256}",
        "lora: {r: 8, lora_alpha: 16}",
    ),
    _warning(
        "R233",
        "an unusual learning rate",
        "Adapters are trained at 1e-5 to 2e-3, whole models at 1e-7 to 2e-4. Above, the loss blows up; below, "
        "nothing is learnt.",
        "lora: {r: 16}\ntrainer: {learning_rate: 0.02}",
        "lora: {r: 16}\ntrainer: {learning_rate: 2.0e-4}",
    ),
)

_MODEL = (
    _error(
        "M101",
        "a LoRA target that the model doesn't have",
        "A name that matches no module gets no adapter; PEFT says nothing as long as another name matches.",
        "lora: {target_modules: [q_porj, v_proj]}",
        "lora: {target_modules: [q_proj, v_proj]}",
    ),
    _error(
        "M102",
        "LoRA targets that reach nothing",
        "No name of the list is a linear layer of this model: nothing would be trained.",
        "lora: {target_modules: [c_attn]}",
        "lora: {target_modules: all-linear}",
    ),
    _warning(
        "M103",
        "LoRA targets that reach less than half of the linear layers",
        "Phi-3's own weights have fused `qkv_proj` and `gate_up_proj`: the seven usual names reach only `o_proj` and "
        "`down_proj` there, and nothing says so.",
        "model: {name_or_path: microsoft/Phi-3-mini-4k-instruct}\n"
        "lora: {target_modules: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]}",
        "model: {name_or_path: microsoft/Phi-3-mini-4k-instruct}\n"
        "lora: {target_modules: [qkv_proj, o_proj, gate_up_proj, down_proj]}",
    ),
    _warning(
        "M104",
        "experts left frozen",
        "In a mixture of experts most weights are the experts'. Targets that reach attention alone train a few per "
        "cent of the model.",
        "lora: {target_modules: [q_proj, v_proj]}",
        "lora: {target_modules: all-linear}",
    ),
    _error(
        "M105",
        "rows longer than the model's positions",
        "Beyond its positions a model has never seen a token; the loss is noise there, or the run crashes.",
        "trainer: {max_length: 8192}    # of a model with 4096 positions",
        "trainer: {max_length: 4096}",
    ),
    _error(
        "M106",
        "`modules_to_save` names no module of the model",
        "PEFT ignores names that match nothing: the module would stay frozen.",
        "lora: {modules_to_save: [lm_haed]}",
        "lora: {modules_to_save: [lm_head]}",
    ),
    _error(
        "M107",
        "a model that can't be read",
        "The folder is missing, has no config.json, or its files are damaged.",
        "model: {name_or_path: ./modles/mine}",
        "model: {name_or_path: ./models/mine}",
    ),
    _error(
        "M108",
        "a built-in model that doesn't exist",
        "`builtin:` names a model that ships with sftrun.",
        "model: {name_or_path: builtin:tinny}",
        "model: {name_or_path: builtin:tiny}",
    ),
    _error(
        "M109",
        "weights that are not safetensors",
        "Pickled weights run code when they are loaded; only safetensors are read.",
        "model: {name_or_path: ./only-pytorch-bin}",
        "model: {name_or_path: ./with-safetensors}",
    ),
    _error(
        "M110",
        "a model without a chat template for messages",
        "Rows of messages are laid out by the model's chat template; a base model has none.",
        "model: {name_or_path: Qwen/Qwen2.5-0.5B}\ndataset: {format: messages}",
        "model: {name_or_path: Qwen/Qwen2.5-0.5B-Instruct}\ndataset: {format: messages}",
    ),
    _error(
        "M111",
        "adapters on stacked experts with a setting that they can't have",
        "Experts kept in one stacked matrix take plain LoRA alone: PEFT has no dropout and no DoRA for them.",
        "lora: {target_modules: all-linear, lora_dropout: 0.05}    # of a mixture of experts",
        "lora: {target_modules: all-linear}",
    ),
    _error(
        "M112",
        "half of a stacked pair as a target",
        "Some mixtures of experts keep gate and up projection in one matrix; one of the two can't be adapted alone.",
        "lora: {target_modules: [gate_proj, down_proj]}",
        "lora: {target_modules: [gate_proj, up_proj, down_proj]}",
    ),
    _warning(
        "M113",
        "an attention kernel without the model's soft cap",
        "The model was trained with capped attention scores. A kernel that can't cap them computes another model.",
        "model: {name_or_path: google/gemma-2-2b, attn_implementation: sdpa}",
        "model: {name_or_path: google/gemma-2-2b, attn_implementation: auto}",
    ),
)

_DATA = (
    _error(
        "D101",
        "no such data file",
        "A relative path is a file beside the recipe; it is uploaded before the run.",
        "dataset: {train: data/tarin.jsonl}",
        "dataset: {train: data/train.jsonl}",
    ),
    _error(
        "D102",
        "a line that is not JSON",
        "Each line of a .jsonl file is one JSON object. The line's number is in the message.",
        '{"text": "a"}\n{"text": "b"',
        '{"text": "a"}\n{"text": "b"}',
    ),
    _error(
        "D103",
        "no column that the format needs",
        "messages needs `messages`; prompt_completion `prompt` and `completion`; instruction `instruction` and "
        "`output`; text `text`.",
        "dataset: {format: messages}    # of rows with instruction, output",
        "dataset: {format: instruction}",
    ),
    _error(
        "D104",
        "no rows",
        "The file is empty, or nothing is left of it.",
        "dataset: {train: empty.jsonl}",
        "dataset: {train: train.jsonl}",
    ),
    _error(
        "D105",
        "rows with nothing to learn from",
        "Every label of the row is masked: the trainer drops it without a word, and a run of such rows ends with "
        "loss 0.0. Usually the prompt alone is longer than `max_length`.",
        "trainer: {max_length: 64}",
        "trainer: {max_length: 1024}",
    ),
    _error(
        "D106",
        "a kind of data file that can't be read",
        "Data comes as .jsonl, .json, .csv or .parquet.",
        "dataset: {train: data.xlsx}",
        "dataset: {train: data.csv}",
    ),
    _warning(
        "D107",
        "rows cut at max_length",
        "What stands behind the cut, often the end of the answer, is not learnt.",
        "trainer: {max_length: 256}",
        "trainer: {max_length: 1024}",
    ),
    _warning(
        "D108",
        "duplicate rows",
        "A row that stands twice is learnt twice, and costs twice.",
        "dataset: {train: twice.jsonl}",
        "dataset: {train: once.jsonl}",
    ),
    _warning(
        "D109",
        "eval rows that stand in the training data",
        "The eval loss then measures memory, not learning.",
        "dataset: {train: all.jsonl, eval: all.jsonl}",
        "dataset: {train: train.jsonl, eval: val.jsonl}",
    ),
    _warning(
        "D110",
        "roles out of order",
        "A conversation goes system, then user and assistant in turn, and ends with the assistant.",
        '{"messages": [{"role": "assistant", "content": "hi"}]}',
        '{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]}',
    ),
    _warning(
        "D111",
        "what the author declared is not what was counted",
        "`num_examples` and `mean_tokens` are for data that can't be read from here; where it can be, the count holds.",
        "dataset: {train: {path: data.jsonl, num_examples: 10}}    # of 500 rows",
        "dataset: {train: data.jsonl}",
    ),
    _error(
        "D112",
        "a row of the wrong form",
        "A column holds another kind of value than its format says: a number for a text, a message without a role.",
        '{"messages": "hello"}',
        '{"messages": [{"role": "user", "content": "hello"}]}',
    ),
    _error(
        "D113",
        "conversations that the chat template refuses",
        "The model's own template raises an error for these rows: most want user and assistant in turn.",
        '{"messages": [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}]}',
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
    ),
    _warning(
        "D114",
        "a chat template without a generation prompt",
        "The template doesn't mark where the assistant begins: after training, nothing says that it is to answer.",
        "model: {name_or_path: ./template-without-prompt}\ndataset: {format: messages}",
        "trainer: {extra: {chat_template_path: ./template.jinja}}",
    ),
    _warning(
        "D115",
        "a token across the border of prompt and answer",
        "The tokenizer joins the prompt's last letters with the answer's first: what is learnt is not what is asked.",
        'dataset: {instruction_template: "{instruction}\\nA: {output}"}',
        'dataset: {instruction_template: "{instruction}\\nA:\\n{output}"}',
    ),
    _warning(
        "D116",
        "few rows for so many GPUs",
        "Each GPU gets as many rows as the others: the last round of an epoch is filled up with rows that were learnt "
        "from before. One GPU takes what is left.",
        "trainer: {per_device_train_batch_size: 64}\ncompute: {gpu: H100:8}",
        "trainer: {per_device_train_batch_size: 4}\ncompute: {gpu: H100:8}",
    ),
)

_GPU = (
    _error(
        "G101",
        "an unknown GPU",
        "Modal's client doesn't check the name; its server refuses the run.",
        "compute: {gpu: H1000}",
        "compute: {gpu: H100}",
    ),
    _error(
        "G102",
        "more GPUs than a container holds",
        "A container has at most 8 GPUs, or 4 of the A10.",
        "compute: {gpu: A10:8}",
        "compute: {gpu: A10:4}",
    ),
    _error(
        "G103",
        "memory that can't fit",
        "The peak is above what the GPU has: the run would die of it after the model has been loaded and paid for.",
        "trainer: {per_device_train_batch_size: 64}\ncompute: {gpu: T4}",
        "trainer: {per_device_train_batch_size: 1}\ncompute: {gpu: L4}",
    ),
    _error(
        "G104",
        "bf16 on a GPU that has none",
        "T4 has no bfloat16, for the steps, the weights, or products with 4-bit weights; what is not written is "
        "float16 there.",
        "trainer: {bf16: true}\ncompute: {gpu: T4}",
        "trainer: {fp16: true}\ncompute: {gpu: T4}",
    ),
    _error(
        "G105",
        "an attention kernel that the GPU can't run",
        "FlashAttention 3 is for Hopper (H100, H200), FlashAttention 2 for Ampere and later.",
        "model: {attn_implementation: flash_attention_3}\ncompute: {gpu: A100-80GB}",
        "model: {attn_implementation: auto}\ncompute: {gpu: A100-80GB}",
    ),
    _warning(
        "G106",
        "little memory to spare",
        "The estimate is above 90 % of the GPU's memory; a long batch may not fit.",
        "trainer: {per_device_train_batch_size: 16}",
        "trainer: {per_device_train_batch_size: 8}",
    ),
    _warning(
        "G107",
        "a cheaper GPU would do",
        "Another GPU has room for this run and costs less for the whole of it.",
        "compute: {gpu: B200}",
        "compute: {gpu: L4}",
    ),
    _error(
        "G109",
        "kinds of GPU in different numbers",
        "How many GPUs there are decides how many rows go into a step: it can't depend on which kind Modal has free.",
        "compute: {gpu: [H100:4, A100-80GB:8]}",
        "compute: {gpu: [H100:4, A100-80GB:4]}",
    ),
    _warning(
        "G108",
        "less of the machine's memory than the run takes",
        "What is trained is copied from the GPU to be saved, and held whole where weights are spread, also when it all "
        "begins; without a GPU all weights lie there. Modal guarantees a container no more than is asked for; what is "
        "not written is asked for as needed.",
        "compute: {gpu: H100:4, memory: 16GiB}",
        "compute: {gpu: H100:4}",
    ),
)

_PATHS = (
    _error(
        "V101",
        "an output below no Volume",
        "What is written beside the mounts is lost with the container.",
        "volumes: {/data: store}\noutput: {dir: /results/a}",
        "volumes: {/data: store}\noutput: {dir: /data/a}",
    ),
    _error(
        "V102",
        "an absolute data path below no Volume",
        "An absolute path is one on a Volume. A file of this machine is named relative to the recipe.",
        "dataset: {train: /home/me/train.jsonl}",
        "dataset: {train: data/train.jsonl}",
    ),
    _error(
        "V103",
        "two mounts in each other's way",
        "One mount hides what the other holds below the same path.",
        "volumes: {/data: a, /data/sets: b}",
        "volumes: {/data: a, /sets: b}",
    ),
    _error(
        "V104",
        "a mount at a place that is taken",
        "Modal refuses `/`, `/root` and `/tmp`, and a Volume over the system's folders hides what the container needs.",
        "volumes: {/root: store}",
        "volumes: {/data: store}",
    ),
    _error(
        "V105",
        "a relative output",
        "In a container there is no folder that a relative path could be meant from.",
        "output: {dir: results}",
        "output: {dir: /data/results}",
    ),
    _warning(
        "V106",
        "another recipe's adapter is in the output folder",
        "This run would overwrite it.",
        "output: {dir: /data/other-recipe}",
        "output: {dir: /data/this-recipe}",
    ),
    _error(
        "V107",
        "one Volume mounted twice",
        "Modal mounts a Volume at one place only.",
        "volumes: {/data: store, /out: store}",
        "volumes: {/data: store}",
    ),
    _error(
        "V108",
        "a mount path that is not plain",
        "Mount paths are absolute, without `..`, `.`, `//` or a slash at the end.",
        "volumes: {data/: store}",
        "volumes: {/data: store}",
    ),
    _error(
        "V109",
        "a name that Modal would refuse",
        "Names of Volumes and Secrets have at most 63 letters, digits, dots, dashes and underscores.",
        "volumes: {/data: my store}",
        "volumes: {/data: my-store}",
    ),
    _error(
        "V110",
        "an output that is a mount itself",
        "The adapter's folder gets a neighbour for checkpoints; both must lie inside the Volume.",
        "volumes: {/data: store}\noutput: {dir: /data}",
        "volumes: {/data: store}\noutput: {dir: /data/adapter}",
    ),
    _error(
        "V111",
        "a path that leaves its folder by `..`",
        "Paths on a Volume are plain, so that one can see which mount they are below.",
        "output: {dir: /data/../results}",
        "output: {dir: /data/results}",
    ),
)

_COST = (
    _error(
        "C101",
        "a timeout out of range",
        "Modal's limits hold for each attempt: 1 second to 24 hours. Longer runs go on in the next attempt, from "
        "their checkpoint.",
        "compute: {timeout: 48h}",
        "compute: {timeout: 24h, retries: 3}",
    ),
    _error(
        "C102",
        "the estimate is above the budget",
        "The run would be stopped by its budget before its end, so it isn't started.",
        "budget: {max_usd: 0.10}",
        "budget: {max_usd: 20.00}",
    ),
    _warning(
        "C103",
        "the estimate outlasts the timeout",
        "The run goes on from its checkpoint in the next attempt, as long as `compute.retries` allows.",
        "compute: {timeout: 10m}",
        "compute: {timeout: 2h}",
    ),
    _warning(
        "C104",
        "prices older than 30 days",
        "The estimate rests on the prices of its date; providers change them.",
        "prices of 2026-10-06, today 2026-12-24",
        "prices refreshed: sftrun prices --refresh",
    ),
    _error(
        "C105",
        "a timeout that can't be read",
        "A timeout is a number with s, m or h, or seconds as a whole number.",
        "compute: {timeout: 2 days}",
        "compute: {timeout: 24h}",
    ),
)

_SAFETY = (
    _error(
        "S101",
        "a key or token in the file",
        "Recipes are kept in git and shown to others. A token that stood in one must be revoked, not only deleted. "
        "Secrets are kept by Modal and named in `secrets`.",
        "compute:\n  image: {env: {HF_TOKEN: hf_…}}",
        "secrets: [huggingface]",
    ),
    _warning(
        "S102",
        "a model's own code without a pinned revision",
        "`trust_remote_code` runs Python from the model's repository. Without a commit in `model.revision` it is "
        "whatever stands there on the day.",
        "model: {name_or_path: a/b, trust_remote_code: true}",
        "model: {name_or_path: a/b, trust_remote_code: true, revision: 0123456789abcdef0123456789abcdef01234567}",
    ),
    _error(
        "S103",
        "an environment variable that carries a secret",
        "`compute.image.env` becomes part of an image and stands in the clear; secrets are named in `secrets`.",
        "compute:\n  image: {env: {WANDB_API_KEY: abc}}",
        "secrets: [wandb]",
    ),
)

TABLE: dict[str, Code] = {
    code.code: code
    for group in (_YAML, _KEYS, _TOGETHER, _MODEL, _DATA, _GPU, _PATHS, _COST, _SAFETY)
    for code in group
}
