"""The same training by four roads: `python benchmarks/quality.py [--model half] [--seeds 3407 1 2]`.

  trl      a bare SFTTrainer with TRL's own loss, padded rows, PEFT's products: as script A is written
  default  the product's worker as a plan makes it: padding-free rows, and on a GPU compiled layers and CUDA graphs
  packed   the same with packing, `max_length` chosen so that a step sees about as many rows
  unsloth  the product's worker with `engine: unsloth`, on a GPU

All start from the same base, see the same rows as often, and are judged alike: the adapter on the base in plain
transformers, the mean loss over the learnt tokens of the held-out rows.  Each training is a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT)]

from cells import TARGETS  # noqa: E402

from sftrun.contract.jobspec import (  # noqa: E402
    DatasetSpec,
    DataSource,
    JobSpec,
    LoraSpec,
    ModelSpec,
    QuantizationSpec,
    TrainerSpec,
)
from sftrun.job.supervise.process import DEFAULTS  # noqa: E402
from sftrun.step.given import Machine, Model, Settings  # noqa: E402
from sftrun.step.rules import step_plan  # noqa: E402

ROADS = ("trl", "default", "packed", "unsloth")
ROWS = 8  # a step


def spec(road: str, model: str, seed: int, folder: Path, epochs: float) -> JobSpec:
    """The job; `model` is builtin:tiny or a folder."""
    import torch

    on_gpu, is_tiny = torch.cuda.is_available(), model.startswith("builtin:")
    data = ROOT / "recipes" / "data"
    trainer: dict[str, Any] = {
        "num_train_epochs": epochs,
        "max_length": 512,
        "per_device_train_batch_size": ROWS,
        "learning_rate": 2e-3 if is_tiny else 1e-3,
        "warmup_steps": 0.05,
        "optim": "adamw_torch_fused" if on_gpu else "adamw_torch",
        "bf16": on_gpu,
        "save_steps": 10_000,
        "seed": seed,
        "engine": "unsloth" if road == "unsloth" else "trl",
    }
    if road == "packed":
        # rows of 76 tokens: eight of them fill such a sequence
        trainer |= {"packing": True, "max_length": 608, "per_device_train_batch_size": 1}
    base = ModelSpec(name_or_path=model, dtype="bfloat16" if on_gpu else "float32")
    spec, lora = TrainerSpec(**trainer), LoraSpec(r=16, lora_alpha=64 if is_tiny else 16, target_modules=TARGETS)
    quantization = QuantizationSpec(load_in_4bit=True, bnb_4bit_compute_dtype="bfloat16" if on_gpu else "float32")
    is_fast = on_gpu and road in ("default", "packed")
    given = Settings(
        model=base,
        trainer=spec,
        quantization=quantization,
        lora=lora,
        attention="varlen" if road in ("default", "packed") else "sdpa",
        compiled=is_fast,
        dequantized=is_fast,
        cuda_graphs=on_gpu and road == "default",
    )
    return JobSpec(
        run_id=f"{road}-{seed}",
        name=road,
        record_dir=str(folder / "record"),
        output_dir=str(folder / "adapter"),
        checkpoints_dir=str(folder / "checkpoints"),
        model=base,
        quantization=quantization,
        lora=lora,
        dataset=DatasetSpec(
            train=(DataSource(files=(str(data / "quickstart-train.jsonl"),)),),
            eval={"": DataSource(files=(str(data / "quickstart-eval.jsonl"),))},
        ),
        trainer=spec,
        step=step_plan(given, Model(), Machine(has_gpu=on_gpu)),
        gpu_count=int(on_gpu),
    )


def train(job: JobSpec, folder: Path) -> float:
    """Train by the job's road; the seconds it took."""
    began = time.perf_counter()
    if job.name == "trl":
        _train_bare(job)
    else:
        file = folder / "job.json"
        file.write_text(job.model_dump_json())
        done = subprocess.run(
            [sys.executable, "-m", "sftrun.job.supervise.entry", str(file)], capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{job.run_id}: {done.stdout[-600:]} {done.stderr[-600:]}")
    return time.perf_counter() - began


def _train_bare(job: JobSpec) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from sftrun.job.fast import plain_head
    from sftrun.job.prepare import row_tokenizer, source_rows
    from sftrun.job.train import loading, saved_tokenizer

    if not loading.has_gpu():
        plain_head.install()
    tokenizer = saved_tokenizer.load(job.model, row_tokenizer.of_job(job))
    rows, _ = source_rows.load(job.dataset, job.rows, job.trainer.seed)
    found = _labelled(job, rows)
    columns = {"input_ids": [list(ids) for ids in found.input_ids], "labels": [list(ids) for ids in found.labels]}
    wanted = job.trainer
    config = SFTConfig(
        output_dir=job.checkpoints_dir,
        num_train_epochs=wanted.num_train_epochs,
        per_device_train_batch_size=wanted.per_device_train_batch_size,
        learning_rate=wanted.learning_rate,
        lr_scheduler_type=wanted.lr_scheduler_type,
        warmup_steps=wanted.warmup_steps,
        optim=wanted.optim,
        bf16=wanted.bf16,
        max_length=None,
        gradient_checkpointing=False,
        seed=wanted.seed,
        save_strategy="no",
        report_to="none",
        use_cpu=not loading.has_gpu(),
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=loading.load_model(job.model, job.quantization, job.step),
        args=config,
        train_dataset=Dataset.from_dict(columns),
        processing_class=tokenizer,
        peft_config=loading.lora_config(job.lora),
    )
    trainer.train()
    trainer.model.save_pretrained(job.output_dir)


def _labelled(job: JobSpec, rows: Any) -> Any:
    from sftrun.job.prepare import row_tokenizer
    from sftrun.job.prepare.learnable import label
    from sftrun.rows.labels import Labeller

    labeller = Labeller(job.rows, rows.form, job.trainer.max_length, row_tokenizer.of_job(job))
    return label(rows.rows, rows.places, labeller)


def judge(job: JobSpec) -> float:
    """Mean loss over the learnt tokens of the held-out rows, by plain transformers and PEFT."""
    import torch

    from sftrun.job.prepare import source_rows
    from sftrun.job.train import loading

    plain = job.step.model_copy(update={"attention": "sdpa"})
    base = loading.load_model(job.model, job.quantization, plain)
    tuned = loading.load_tuned(job, base).eval()
    _, rows = source_rows.load(job.dataset, job.rows, job.trainer.seed)
    held = _labelled(job, rows)
    total, count = 0.0, 0
    for ids, labels in zip(held.input_ids, held.labels, strict=True):
        row = torch.tensor([list(ids)], device=base.device)
        with torch.no_grad():
            logits = tuned(input_ids=row).logits[0, :-1].float()
        wanted = torch.tensor(list(labels)[1:], device=base.device)
        total += float(torch.nn.functional.cross_entropy(logits, wanted, ignore_index=-100, reduction="sum"))
        count += int((wanted != -100).sum())
    return total / count


def make_half(folder: Path) -> str:
    """Qwen2.5-0.5B's shape with random weights and the embedded model's tokenizer."""
    import random_model
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from sftrun import builtin

    tokenizer = AutoTokenizer.from_pretrained(builtin.path("builtin:tiny"))
    config = random_model.SHAPES["qwen2.5-0.5b"]()
    config.vocab_size, config.eos_token_id = len(tokenizer), tokenizer.eos_token_id
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def run_all(options: argparse.Namespace, model: str, folder: Path) -> list[dict[str, Any]]:
    """Every road with every seed, some at once, spread over the GPUs."""
    waiting = [(road, seed) for seed in options.seeds for road in options.roads]
    running: list[subprocess.Popen[bytes]] = []
    for number, (road, seed) in enumerate(waiting):
        while sum(process.poll() is None for process in running) >= options.at_once:
            time.sleep(0.2)
        command = [sys.executable, __file__, "--one", f"{road}:{seed}", "--model", model, "--folder", str(folder)]
        env = DEFAULTS | os.environ | ({"CUDA_VISIBLE_DEVICES": str(number % options.gpus)} if options.gpus else {})
        running.append(subprocess.Popen([*command, "--epochs", str(options.epochs)], env=env))
    for process in running:
        process.wait()
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*/found.json"))]


def table(found: list[dict[str, Any]]) -> str:
    lines = ["| road | held-out loss by seed | mean | deviation |", "| --- | --- | --- | --- |"]
    for road in ROADS:
        losses = [one["loss"] for one in found if one["road"] == road]
        if losses:
            spread = f"{stdev(losses):.4f}" if len(losses) > 1 else ""
            lines.append(f"| {road} | {', '.join(f'{x:.4f}' for x in losses)} | {mean(losses):.4f} | {spread} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin:tiny", help="builtin:tiny, half, or a folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3407, 1, 2])
    parser.add_argument("--roads", nargs="+", choices=ROADS, default=list(ROADS[:3]))
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--gpus", type=int, default=0, help="GPUs to spread over; 0 for a CPU")
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        road, seed = options.one.split(":")
        folder = options.folder / f"{road}-{seed}"
        folder.mkdir(parents=True)
        job = spec(road, options.model, int(seed), folder, options.epochs)
        seconds = train(job, folder)
        found = {"road": road, "seed": int(seed), "seconds": round(seconds, 1), "loss": judge(job)}
        (folder / "found.json").write_text(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as name:
        loading = make_half(Path(name) / "half") if options.model == "half" else options.model
        results = run_all(options, loading, Path(name))
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
