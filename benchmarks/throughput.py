"""Training speed on this machine's GPU: `python benchmarks/throughput.py` prints a table, one process a row.

Random weights, rows of FACTS-like lengths (lognormal), TRL's SFTTrainer with the product's own modules.  Only real
tokens count, and only after the first steps: those compile.  `--rows NAME …` chooses, `--json FILE` keeps the figures.
"""

import argparse
import gc
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOF = 790e12  # FLOP/s of an 8192³ bf16 product, measured on an H200


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    title: str
    shape: str = "phi3-mini"
    ours: bool = True  # fused LoRA products, varlen attention
    compiled: bool = True
    attention: str = "varlen"
    dequantised: bool = True
    checkpointing: bool = False
    packed: bool = True
    padded: bool = False
    batch: int = 16
    accumulation: int = 1
    max_length: int = 2048
    multiple: int = 0
    graphs: bool = False
    workers: int = 2
    rank: int = 16
    alpha: int = 16
    dropout: float = 0.0
    optimiser: str = "adamw_torch_fused"
    quantised: bool = True
    steps: int = 20
    warm: int = 4
    profile: str = ""
    engine: str = "trl"
    nan_filter: bool = False  # the Trainer's default asks the GPU after each step; `sftrun` sets it off


A_PHI = Row(
    "script A's way, padded 4 x 2", ours=False, compiled=False, attention="sdpa", dequantised=False, checkpointing=True,
    packed=False, padded=True, batch=4, accumulation=2, optimiser="adamw_8bit", steps=6, warm=2,
    nan_filter=True,
)  # fmt: skip
A_QWEN = replace(
    A_PHI, title="script A as written, 4 x 4 padded", shape="qwen2.5-0.5b", accumulation=4, rank=32, alpha=64,
    dropout=0.05, max_length=1024,
)  # fmt: skip
PACKED = Row("packed 14 x 2048", batch=14, multiple=14 * 2048)
EIGHT = Row("8 rows a step, padding-free", packed=False, batch=8, multiple=256, graphs=True, steps=192, warm=128)
SPARING = replace(
    PACKED, title="packed 8 x 2048, checkpointing, NF4 kept", batch=8, multiple=8 * 2048, checkpointing=True,
    dequantised=False,
)  # fmt: skip
B_PHI = replace(A_PHI, title="Unsloth as script B runs it, padded 4 x 2", engine="unsloth", steps=14, warm=6)
LARGE = replace(SPARING, steps=6, warm=3)  # fmt: skip
ROWS = {
    "script-a": A_PHI,
    "prototype": Row("prototype: PEFT's products, layers compiled, 16 x 2048", ours=False, dequantised=False),
    "packed": PACKED,
    "packed-nf4": replace(PACKED, title="packed 14 x 2048, NF4 kept", dequantised=False),
    "rows8": EIGHT,
    "rows8-nf4": replace(EIGHT, title="8 rows a step, NF4 kept", dequantised=False),
    "checkpointing": SPARING,
    "packed-8": replace(PACKED, title="packed 8 x 2048", batch=8, multiple=8 * 2048),
    "unsloth-script-b": B_PHI,
    "unsloth-rows8": replace(
        B_PHI, title="Unsloth, padded 8 x 1, kept activations", batch=8, accumulation=1, checkpointing=False,
        optimiser="adamw_torch_fused", nan_filter=False,
    ),
    "unsloth-packed": replace(
        B_PHI, title="Unsloth, packed 8 x 2048, kept activations", batch=8, accumulation=1, checkpointing=False,
        packed=True, padded=False, optimiser="adamw_torch_fused", nan_filter=False, steps=8, warm=4,
    ),
    "qwen-script-a": A_QWEN,
    "qwen": replace(PACKED, title="packed 32 x 1024", shape="qwen2.5-0.5b", batch=32, multiple=32 * 1024,
                    max_length=1024, rank=32, alpha=64),
    "qwen-dropout": replace(PACKED, title="packed 32 x 1024, dropout 0.05", shape="qwen2.5-0.5b", batch=32,
                            multiple=32 * 1024, max_length=1024, rank=32, alpha=64, dropout=0.05),
    "14b": replace(LARGE, shape="14b"),
    "32b": replace(LARGE, shape="32b"),
}  # fmt: skip


def row_lengths(count: int, longest: int, mean: float = 169.0) -> list[int]:
    """Lognormal, cut at `longest` and at 1,900 as in the census data; the same numbers each time."""
    draw = random.Random(3407)
    sigma = 0.8
    return [
        min(int(draw.lognormvariate(math.log(mean) - sigma**2 / 2, sigma)) + 8, longest, 1900) for _ in range(count)
    ]


def measure(row: Row, device: str) -> dict[str, Any]:
    """Train `row.steps` steps; figures from those after `row.warm`."""
    if row.engine == "unsloth":
        import unsloth  # noqa: F401  patches the others, so it comes first
    import torch

    sys.path.insert(0, str(Path(__file__).parent))
    import random_model
    from counting import CountingCollator

    from sftrun.contract.stepplan import Precision, StepPlan
    from sftrun.job.fast import attention, head, layers, plain_head

    if not torch.cuda.is_available():
        plain_head.install()

    attention.register()
    torch.set_float32_matmul_precision("high")
    began = time.perf_counter()
    if row.engine == "unsloth":
        model = random_model.unsloth(row.shape, row.rank, row.alpha, row.max_length, row.checkpointing)
    else:
        model = random_model.build(row.shape, row.attention, row.rank, row.alpha, row.dropout, row.quantised, device)
    trainer = _trainer(row, model)
    if row.attention == attention.NAME:
        steps = attention.captured_steps(model.config, row.max_length) if row.graphs else ()
        trainer.data_collator = attention.BoundsCollator(trainer.data_collator, *steps)
    if row.ours:
        trainer.is_lean = head.install(trainer)
        trainer.data_collator = head.LearntCollator(trainer.data_collator)
    trainer.data_collator = CountingCollator(trainer.data_collator)
    notes: list[str] = []
    if row.engine == "trl":
        step = StepPlan(
            has_varlen_kernel=True,
            fused_lora=row.ours,
            dequantized=row.dequantised,
            compiled=row.compiled,
            checkpointing="compiler" if row.checkpointing and row.compiled else "none",
            cuda_graphs=row.graphs,
            precision=Precision(step="bfloat16"),
        )
        notes = layers.prepare(trainer.model, step).notes
    if row.ours:
        layers.quicken(trainer)
    clock = _clock(row)
    trainer.add_callback(clock)
    gc.collect()
    gc.freeze()  # as the worker does, for every engine
    ready = time.perf_counter() - began
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()  # making the model in bf16 first is the benchmark's own affair
    losses = trainer.train()
    return _figures(row, clock, trainer.seen, ready, losses.training_loss) | {"notes": notes}


def _trainer(row: Row, model: Any) -> Any:
    import random_model
    import torch
    from counting import CountingTrainer
    from datasets import Dataset
    from trl import SFTConfig

    per_step = row.batch * row.accumulation
    needed = (row.steps + 2) * per_step * (row.max_length // 165 + 1 if row.packed else 1)
    draw = random.Random(1)
    vocabulary = model.config.vocab_size
    rows = [[draw.randrange(2, vocabulary) for _ in range(n)] for n in row_lengths(needed, row.max_length)]
    config = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=row.batch,
        gradient_accumulation_steps=row.accumulation,
        max_steps=row.steps,
        max_length=row.max_length if row.packed or row.padded else None,
        packing=row.packed,
        padding_free=not row.padded and row.engine == "trl",
        pad_to_multiple_of=row.multiple or None,
        bf16=True,
        optim=row.optimiser,
        gradient_checkpointing=row.checkpointing and not row.compiled and row.engine == "trl",
        logging_steps=10,
        logging_nan_inf_filter=row.nan_filter,
        save_strategy="no",
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        dataloader_num_workers=row.workers,
        accelerator_config={"non_blocking": True},
        dataloader_persistent_workers=row.workers > 0,
        disable_tqdm=True,
    )
    data = Dataset.from_dict({"input_ids": rows})
    return CountingTrainer(model=model, args=config, train_dataset=data, processing_class=random_model.tokenizer())


def _clock(row: Row) -> Any:
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        """Times between step ends; the GPU is waited for at the first and the last alone."""

        def __init__(self) -> None:
            self.ends: list[float] = []
            self.profiler: Any = None

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step in (row.warm, row.steps) and torch.cuda.is_available():
                torch.cuda.synchronize()
            self.ends.append(time.perf_counter())
            if row.profile and state.global_step == row.steps - 2:
                from torch.profiler import ProfilerActivity, profile

                self.profiler = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
                self.profiler.__enter__()
            if self.profiler is not None and state.global_step == row.steps - 1:
                torch.cuda.synchronize()
                self.profiler.__exit__(None, None, None)
                table = self.profiler.key_averages().table(
                    sort_by="self_device_time_total", row_limit=60, max_name_column_width=110
                )
                Path(row.profile).write_text(table)
                self.profiler = None

    return Clock()


def _figures(row: Row, clock: Any, seen: list[Any], ready: float, loss: float) -> dict[str, Any]:
    import random_model
    import torch

    first, last = row.warm, row.steps - (3 if row.profile else 0)
    seconds = clock.ends[last - 1] - clock.ends[first - 1]
    batches = seen[first * row.accumulation : last * row.accumulation]
    tokens, rows = sum(batch.real for batch in batches), sum(batch.rows for batch in batches)
    return {
        "tokens_per_second": round(tokens / seconds),
        "rows_per_second": round(rows / seconds, 1),
        "tokens_per_step": round(tokens / (last - first)),
        "seconds_per_step": round(seconds / (last - first), 4),
        "mfu": round(tokens / seconds * random_model.work_per_token(row.shape) / ROOF, 3),
        "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1) if torch.cuda.is_available() else None,
        "first_steps_seconds": [round(b - a, 2) for a, b in zip(clock.ends, clock.ends[1:], strict=False)][: row.warm],
        "ready_seconds": round(ready, 1),
        "loss": round(loss, 4),
    }


def run_apart(name: str, row: Row, limit: float, device: str) -> dict[str, Any]:
    """Measure in a process of its own, so that one row's failure is not another's."""
    with tempfile.NamedTemporaryFile(suffix=".json") as answer:
        command = [
            sys.executable,
            __file__,
            "--one",
            json.dumps(asdict(row)),
            "--json",
            answer.name,
            "--device",
            device,
        ]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        }
        began = time.perf_counter()
        try:
            done = subprocess.run(command, timeout=limit, env=environment, capture_output=True, text=True)
            error = done.stderr[-3000:] if done.returncode else ""
        except subprocess.TimeoutExpired as late:
            error = f"not done in {limit:.0f} s: {(late.stderr or b'')[-2000:]!r}"
        text = Path(answer.name).read_text()
    figures = json.loads(text) if text else {"error": error}
    return {"name": name, "wall_seconds": round(time.perf_counter() - began, 1)} | asdict(row) | figures


def line(result: dict[str, Any]) -> str:
    if "error" in result:
        return f"{result['name']:<24} failed: {result['error'].strip().splitlines()[-1][:200]}"
    return (
        f"{result['name']:<24} {result['title'][:48]:<48} {result['tokens_per_second']:>8,} tok/s"
        f" {result['rows_per_second']:>7} rows/s"
        f" {result['mfu']:>6.1%} {result['peak_gb']} GB  {result['tokens_per_step']} tok/step  loss {result['loss']}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rows", nargs="*", default=[name for name in ROWS if name not in ("14b", "32b")], choices=list(ROWS)
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--limit", type=float, default=600, help="seconds a row may take")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        options.json.write_text(json.dumps(measure(Row(**json.loads(options.one)), options.device)))
        return 0
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("needs a CUDA GPU")
    results = []
    for name in options.rows:
        results.append(run_apart(name, ROWS[name], options.limit, options.device))
        print(line(results[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
