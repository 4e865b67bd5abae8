"""One GPU against several, by the product's own worker: `python benchmarks/scaling.py [--ways one ddp fsdp]`.

The same recipe's job (Phi-3-mini's shape with random weights, NF4 or `--bits 16`, LoRA r 16, packed) on one GPU and on
all of them, with whole weights on each (`ddp`) or sharded (`fsdp`, plain layers, as the plan has it); tokens/s are the
median of the steps after compilation.  `--shape tiny` tries it without a GPU, over gloo.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from cells import TARGETS  # noqa: E402
from throughput import row_lengths  # noqa: E402

from sftrun.contract.jobspec import (  # noqa: E402
    DatasetSpec,
    DataSource,
    JobSpec,
    LoraSpec,
    ModelSpec,
    QuantizationSpec,
    TrainerSpec,
)
from sftrun.step.given import Machine, Model, Settings  # noqa: E402
from sftrun.step.rules import step_plan  # noqa: E402


def make(folder: Path, shape: str, rows: int) -> None:
    """A model folder with a byte tokenizer, and rows of the census' lengths."""
    import random_model
    import torch

    from tests.job import tiny

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tiny.make_model(folder / "model")
    config = random_model.SHAPES[shape]()
    config.vocab_size = max(config.vocab_size, 300)
    with torch.device(device):
        made = random_model.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    made.save_pretrained(folder / "model")
    draw = random.Random(7)
    with (folder / "rows.jsonl").open("w") as file:
        for length in row_lengths(rows, 1900):
            file.write(json.dumps({"text": "".join(draw.choices("abcdefgh ", k=max(length - 1, 1)))}) + "\n")


def job(folder: Path, way: str, gpus: int, bits: int, batch: int, steps: int, *, is_fast: bool) -> JobSpec:
    name, is_fast = f"{way}-on-{gpus}", is_fast and way != "fsdp"
    trainer = TrainerSpec(
        max_steps=steps,
        max_length=2048,
        packing=True,
        per_device_train_batch_size=batch,
        learning_rate=1e-4,
        logging_steps=1,
        save_steps=10_000,
        optim="adamw_torch_fused",
    )
    given = Settings(
        model=ModelSpec(name_or_path=str(folder / "model"), dtype="bfloat16"),
        trainer=trainer,
        quantization=QuantizationSpec(load_in_4bit=True) if bits == 4 else None,
        lora=LoraSpec(r=16, lora_alpha=16, target_modules=TARGETS),
        attention="varlen",
        compiled=is_fast,
        dequantized=is_fast and bits == 4,
        sharded=way == "fsdp",
    )
    return JobSpec(
        run_id=name,
        name=name,
        record_dir=str(folder / name / "record"),
        output_dir=str(folder / name / "out"),
        checkpoints_dir=str(folder / name / "checkpoints"),
        model=given.model,
        quantization=given.quantization,
        lora=given.lora,
        dataset=DatasetSpec(train=(DataSource(files=(str(folder / "rows.jsonl"),)),)),
        trainer=trainer,
        step=step_plan(given, Model(), Machine(gpus, has_gpu=True)),
        gpu_count=gpus,
    )


def run(folder: Path, spec: JobSpec, visible: str | None = None) -> dict[str, Any]:
    """Tokens/s, seconds a step and the losses of one run."""
    file = folder / f"{spec.name}.json"
    file.write_text(spec.model_dump_json())
    env = os.environ | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    done = subprocess.run(
        [sys.executable, "-m", "sftrun.job.supervise.entry", str(file)],
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    steps = [event for event in events if event["kind"] == "step"]
    if done.returncode or not steps:
        raise SystemExit(f"{spec.name}: {events[-1] if events else done.stderr[-2000:]}")
    warm = steps[len(steps) // 2 :]
    return {
        "tokens_per_second": median(step["tokens_per_second"] for step in warm),
        "seconds_per_step": median(step["seconds_per_step"] for step in warm),
        "data_wait_share": median(step["data_wait_share"] for step in warm),
        "memory_gb": max(step["memory_gb"] for step in steps),
        "losses": [round(step["loss"], 3) for step in steps],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=2)
    parser.add_argument("--ways", nargs="+", choices=("ddp", "fsdp", "one"), default=["ddp", "one"])
    parser.add_argument("--shape", default="phi3-mini")
    parser.add_argument("--bits", type=int, choices=(4, 16), default=4)
    parser.add_argument("--batch", type=int, default=8, help="sequences of 2048 tokens a GPU and step")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import random_model
    import torch

    is_fast = torch.cuda.is_available()
    if options.shape not in random_model.SHAPES:
        parser.error(f"--shape: no {options.shape}; there are {', '.join(random_model.SHAPES)}")
    if not is_fast and options.shape != "tiny":
        sys.exit("needs a CUDA GPU; `--shape tiny` does without")
    if 0 < torch.cuda.device_count() < options.gpus:
        sys.exit(f"needs {options.gpus} GPUs, and {torch.cuda.device_count()} is here: see --gpus")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, options.shape, 13 * options.batch * options.steps * options.gpus)
        found = {}
        for way in options.ways:
            gpus = 1 if way == "one" else options.gpus
            spec = job(folder, way, gpus, options.bits, options.batch, options.steps, is_fast=is_fast)
            found[way] = run(folder, spec, "0" if gpus == 1 else None)
            print(f"{spec.name}: {found[way]}", flush=True)
        for way in found.keys() - {"one"} if "one" in found else ():
            ratio = found[way]["tokens_per_second"] / found["one"]["tokens_per_second"]
            print(f"{way} on {options.gpus} against 1: {ratio:.2f} times the tokens a second")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
