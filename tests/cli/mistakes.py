"""Sixty usual mistakes of a first recipe: what one writes instead of what is right.

Each is a text of `RIGHT` (or of `HERE`, a recipe of this machine) and what stands in its place.  `test_mistakes` does
what the help says, as printed, once for each problem, and wants a valid recipe.
"""

RIGHT = """\
version: 1
name: support
model:
  name_or_path: Qwen/Qwen2.5-0.5B-Instruct
  dtype: bfloat16
quantization:
  load_in_4bit: true
lora:
  r: 16
  lora_alpha: 32
  target_modules: all-linear
dataset:
  train: {path: rows.jsonl, mean_tokens: 60}
  eval_fraction: 0.1
  format: instruction
trainer:
  num_train_epochs: 3
  max_length: 512
  packing: true
  per_device_train_batch_size: 4
  gradient_accumulation_steps: 2
  learning_rate: 2.0e-4
  lr_scheduler_type: cosine
  warmup_ratio: 0.05
  optim: adamw_8bit
  logging_steps: 5
  save_steps: 100
compute:
  gpu: L4
  timeout: 2h
volumes:
  /outputs: store
output:
  dir: /outputs/support
samples:
  prompts: ["How do I reset it?"]
budget:
  max_usd: 5
"""
HERE = """\
version: 1
name: support
model: {name_or_path: builtin:tiny, dtype: float32}
lora: {}
dataset: {train: rows.jsonl}
trainer: {max_steps: 10}
output: {dir: out/support}
"""

MISTAKES: dict[str, tuple[str, str]] = {
    # the head of the file
    "no version": ("version: 1\n", ""),
    "the version as a text": ("version: 1\n", 'version: "1"\n'),
    "a version of tomorrow": ("version: 1\n", "version: 3\n"),
    "a name with spaces": ("name: support", "name: my support bot"),
    # sections given as one value
    "the model as a word": (
        "model:\n  name_or_path: Qwen/Qwen2.5-0.5B-Instruct\n  dtype: bfloat16",
        "model: Qwen/Qwen2.5-0.5B-Instruct",
    ),
    "the output as a path": ("output:\n  dir: /outputs/support", "output: /outputs/support"),
    "the output as a relative path": ("output:\n  dir: /outputs/support", "output: out/x"),
    "the budget as a number": ("budget:\n  max_usd: 5", "budget: 5"),
    "the samples as a list": ('samples:\n  prompts: ["How do I reset it?"]', 'samples: ["How do I reset it?"]'),
    "the gpu as the compute": ("compute:\n  gpu: L4\n  timeout: 2h", "compute: L4"),
    "quantization as bits": ("quantization:\n  load_in_4bit: true", "quantization: 4bit"),
    "lora as true": ("lora:\n  r: 16\n  lora_alpha: 32\n  target_modules: all-linear", "lora: true"),
    "the volume as docker has it": ("volumes:\n  /outputs: store", "volumes: store:/outputs"),
    "the data as the dataset": (
        "dataset:\n  train: {path: rows.jsonl, mean_tokens: 60}\n  eval_fraction: 0.1\n  format: instruction",
        "dataset: rows.jsonl",
    ),
    # names of other tools
    "lr": ("learning_rate:", "lr:"),
    "epochs": ("num_train_epochs:", "epochs:"),
    "max_seq_length": ("max_length:", "max_seq_length:"),
    "batch_size": ("per_device_train_batch_size:", "batch_size:"),
    "micro_batch_size": ("per_device_train_batch_size:", "micro_batch_size:"),
    "lora_rank": ("  r: 16", "  lora_rank: 16"),
    "alpha": ("lora_alpha:", "alpha:"),
    "base_model": ("name_or_path:", "base_model:"),
    "load_in_4_bits": ("load_in_4bit:", "load_in_4_bits:"),
    "optimizer": ("optim:", "optimizer:"),
    "scheduler": ("lr_scheduler_type:", "lr_scheduler:"),
    "eval_strategy": ("  save_steps: 100\n", "  save_steps: 100\n  eval_strategy: steps\n"),
    "evaluation_strategy by epoch": ("  save_steps: 100\n", "  save_steps: 100\n  evaluation_strategy: epoch\n"),
    "save_strategy": ("  save_steps: 100\n", "  save_strategy: epoch\n"),
    "push_to_hub": ("  save_steps: 100\n", "  save_steps: 100\n  push_to_hub: true\n"),
    "method": ("name: support\n", "name: support\nmethod: lora\n"),
    "resume_from_checkpoint": ("  save_steps: 100\n", "  save_steps: 100\n  resume_from_checkpoint: true\n"),
    "output_dir": ("output:\n  dir: /outputs/support", "output_dir: /outputs/support"),
    "sample_packing": ("  packing: true", "  sample_packing: true"),
    "val_set_size": ("eval_fraction:", "val_set_size:"),
    "patience without evaluations": ("  save_steps: 100\n", "  save_steps: 100\n  early_stopping_patience: 3\n"),
    # keys in the wrong place, and misspelt ones
    "learning_rate at top level": ("budget:\n", "learning_rate: 1.0e-4\nbudget:\n"),
    "gpu at top level": ("compute:\n  gpu: L4\n  timeout: 2h\n", "gpu: L4\n"),
    "max_usd at top level": ("budget:\n  max_usd: 5", "max_usd: 5"),
    "a seed in lora": ("  lora_alpha: 32\n", "  lora_alpha: 32\n  seed: 7\n"),
    "a misspelt key": ("gradient_accumulation_steps:", "gradient_acumulation_steps:"),
    "a misspelt section": ("trainer:\n", "trainner:\n"),
    "dashes for underscores": ("num_train_epochs:", "num-train-epochs:"),
    # values
    "gpu: cpu": ("gpu: L4", "gpu: cpu"),
    "gpu in small letters": ("gpu: L4", "gpu: h100"),
    "a gpu with its memory": ("gpu: L4", "gpu: A100 80GB"),
    "a gpu with its number in front": ("gpu: L4", "gpu: 2xH100"),
    "gpu: no": ("gpu: L4", "gpu: no"),
    "a number with words": ("timeout: 2h", "timeout: 2 hours"),
    "yes for true": ("packing: true", "packing: yes"),
    "a number as a text": ("max_length: 512", 'max_length: "512"'),
    "warmup as a share of steps": ("warmup_ratio: 0.05", "warmup_steps: 0.05"),
    "per cent for a share": ("eval_fraction: 0.1", "eval_fraction: 10"),
    "bf16 for bfloat16": ("dtype: bfloat16", "dtype: bf16"),
    "adamw for an optimiser": ("optim: adamw_8bit", "optim: adamw8bit"),
    "alpaca for the format": ("format: instruction", "format: alpaca"),
    "a misspelt module": ("target_modules: all-linear", "target_modules: [q_proj, v_porj]"),
    "all linear": ("target_modules: all-linear", "target_modules: all_linear"),
    "report_to a word": ("  save_steps: 100\n", "  save_steps: 100\n  report_to: wandb\n"),
    # what does not fit together
    "epochs and steps": ("  num_train_epochs: 3\n", "  num_train_epochs: 3\n  max_steps: 60\n"),
    "4 and 8 bits": ("  load_in_4bit: true\n", "  load_in_4bit: true\n  load_in_8bit: true\n"),
    "eval_steps without rows": (
        "  eval_fraction: 0.1\n  format: instruction\ntrainer:\n",
        "  format: instruction\ntrainer:\n  eval_steps: 50\n",
    ),
    "an output below no mount": ("volumes:\n  /outputs: store\n", ""),
    "the mount as the output": ("dir: /outputs/support", "dir: /outputs"),
    "a relative output": ("dir: /outputs/support", "dir: out/support"),
    "a timeout of two days": ("timeout: 2h", "timeout: 48h"),
    "a mount at the root": ("  /outputs: store", "  /outputs/: store"),
    "eval_steps that save_steps miss": (
        "  save_steps: 100\n",
        "  save_steps: 100\n  eval_steps: 40\n  load_best_model_at_end: true\n",
    ),
    # YAML
    "a key twice": ("  max_length: 512\n", "  max_length: 512\n  max_length: 1024\n"),
    "a tab": ("  r: 16", "\tr: 16"),
}
HERE_MISTAKES: dict[str, tuple[str, str]] = {
    "here: gpu: cpu": ("trainer:", "compute: {gpu: cpu}\ntrainer:"),
    "here: output as a path": ("output: {dir: out/support}", "output: out/x"),
    "here: the folder itself": ("dir: out/support", "dir: ."),
    "here: a home folder": ("dir: out/support", "dir: ~/support"),
    "here: r at top level": ("lora: {}", "lora: {}\nr: 8"),
    "here: lora_rank in braces": ("lora: {}", "lora: {lora_rank: 8}"),
    "here: two lengths": ("{max_steps: 10}", "{max_steps: 10, num_train_epochs: 1}"),
}
