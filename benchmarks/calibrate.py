"""Measure the grid on this machine's GPU and fit the time model's constants to it.

    python benchmarks/calibrate.py measure --out cells.json [--limit 540]
    python benchmarks/calibrate.py fit cells.json --out sftrun/facts/catalog/calibration-h200.json

A group of cells shares a model, and so a process, its imports and its compiled layers.  Three processes are under way
at once, so that one compiles while another measures; while one measures, the others hold still between their steps.
"""

import argparse
import datetime
import fcntl
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from cells import SHAPES, TARGETS, Cell, read, write  # noqa: E402
from grid import GRID  # noqa: E402

WARM, DISCARDED, LEAST, MOST_SECONDS = 3, 1, 4, 3.0
AT_ONCE = 3


def group_of(cell: Cell) -> tuple[Any, ...]:
    return cell.shape, cell.stack, cell.bits, cell.dequantize, cell.checkpointing, cell.rank


def measure_all(cells: list[Cell], out: Path, limit: float) -> None:
    """Every group in a process of its own; what is done by the limit is kept."""
    ended = time.monotonic() + limit
    groups = [list(found) for _, found in groupby(cells, group_of)]
    with tempfile.TemporaryDirectory() as folder:
        waiting, running = list(enumerate(groups)), []
        while (waiting or running) and time.monotonic() < ended:
            while waiting and len(running) < AT_ONCE:
                number, group = waiting.pop(0)
                running.append(_start(number, group, Path(folder)))
            time.sleep(0.2)
            running = [process for process in running if process.poll() is None]
            write(out, _collected(Path(folder)))
        for process in running:
            process.kill()
        write(out, _collected(Path(folder)))
        for log in sorted(Path(folder).glob("*.log")):
            tail = log.read_text().strip().splitlines()[-3:]
            print(log.stem, *tail, sep="\n  ", flush=True)


def _start(number: int, group: list[Cell], folder: Path) -> "subprocess.Popen[bytes]":
    wanted = folder / f"{number:03}.in"
    write(wanted, group)
    command = [sys.executable, __file__, "group", str(wanted), "--lock", str(folder / "lock")]
    with (folder / f"{number:03}.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _collected(folder: Path) -> list[Cell]:
    lines = [line for file in sorted(folder.glob("*.done")) for line in file.read_text().splitlines()]
    return [Cell(**json.loads(line)) for line in lines if line.endswith("}")]


def measure_group(cells: list[Cell], lock: Path, done: Path) -> None:
    """One model, several batches."""
    import torch
    import trl  # noqa: F401  slow: before the GPU is touched

    from sftrun.job import attention

    attention.register()
    torch.set_float32_matmul_precision("high")
    model = _model(cells[0])
    prepared = False
    for cell in cells:
        began = time.perf_counter()
        found = _measure(cell, model, lock, prepare=not prepared)
        prepared = True
        with done.open("a") as file:
            file.write(json.dumps(asdict(found)) + "\n")
        took = time.perf_counter() - began
        print(f"{found.name}: {found.seconds:.4f} s, {found.allocated_gb:.2f} GB, took {took:.1f} s", flush=True)


def _model(cell: Cell) -> Any:
    import random_model
    import torch
    from transformers.models.llama import LlamaConfig

    shape = SHAPES[cell.shape]
    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=8192,
    )
    random_model.SHAPES[cell.shape] = lambda: config
    random_model.SEVEN = list(TARGETS)
    kind = "sdpa" if cell.stack == "eager" else "varlen"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if cell.rank:
        return random_model.build(cell.shape, kind, cell.rank, cell.rank, 0.0, cell.bits == 4, device)
    from transformers import AutoModelForCausalLM

    config.use_cache = False
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation=kind)


def _measure(cell: Cell, model: Any, lock: Path, *, prepare: bool) -> Cell:
    import torch

    from sftrun.job import attention, speed

    seen: list[dict[str, float]] = []
    trainer = _trainer(cell, model, seen)
    if cell.stack != "eager":
        trainer.data_collator = attention.BoundsCollator(trainer.data_collator)
    trainer.data_collator = _Counting(trainer.data_collator)
    if prepare and cell.stack != "eager":
        compiled = cell.stack == "compiled"
        speed.prepare(
            trainer.model,
            compile_layers=compiled,
            dequantize=cell.dequantize,
            checkpointing=cell.checkpointing and compiled,
            fuse_lora=cell.rank > 0,
        )
    clock = _clock(lock)
    trainer.add_callback(clock)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    trainer.train()
    clock.release()
    return _figures(cell, clock, seen)


def _trainer(cell: Cell, model: Any, seen: list[dict[str, float]]) -> Any:
    import torch
    from datasets import Dataset
    from throughput import _tokenizer, row_lengths
    from trl import SFTConfig, SFTTrainer

    class Counted(SFTTrainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            counted = inputs.pop("counted")
            if model.training:
                seen.append(counted)
            return super().compute_loss(model, inputs, *args, **kwargs)

    packed, steps = cell.layout == "packed", 40
    rows = min(steps * cell.batch * cell.accumulation * (cell.max_length // 165 + 1 if packed else 1), 6000)
    draw = random.Random(1)
    data = [draw.choices(range(2, SHAPES[cell.shape].vocab), k=n) for n in row_lengths(rows, cell.max_length)]
    config = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=cell.batch,
        gradient_accumulation_steps=cell.accumulation,
        max_steps=steps,
        max_length=cell.max_length if packed or cell.layout == "padded" else None,
        packing=packed,
        padding_free=cell.layout == "flat",
        bf16=True,
        optim=cell.optim,
        use_liger_kernel=cell.stack == "liger",
        liger_kernel_config={"fused_linear_cross_entropy": False} if cell.stack == "liger" else None,
        gradient_checkpointing=cell.checkpointing and cell.stack != "compiled",
        logging_steps=10,
        save_strategy="no",
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        disable_tqdm=True,
    )
    dataset = Dataset.from_dict({"input_ids": data})
    return Counted(model=model, args=config, train_dataset=dataset, processing_class=_tokenizer())


class _Counting:
    """A collator that notes what a batch makes the GPU compute."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, rows: Any) -> Any:
        lengths = [n for row in rows for n in row.get("seq_lengths", [len(row["input_ids"])])]
        batch = self.inner(rows)
        wide = float(batch["input_ids"].numel())
        padded = "attention_mask" in batch
        squares = wide * batch["input_ids"].shape[1] if padded else float(sum(n * n for n in lengths))
        return batch | {"counted": {"rows": len(lengths), "real": sum(lengths), "tokens": wide, "squares": squares}}


def _clock(lock: Path) -> Any:
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        """Warm steps stand aside for whoever measures; then it measures alone."""

        def __init__(self) -> None:
            self.began = time.perf_counter()
            self.first = self.opened = self.closed = 0.0
            self.opened_at = self.steps = 0
            self.file = lock.open("w")

        def release(self) -> None:
            fcntl.flock(self.file, fcntl.LOCK_UN)
            self.file.close()

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step < WARM:
                with _shared(lock):
                    pass

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            now, step = time.perf_counter(), state.global_step
            if step == 1:
                self.first = now - self.began
            elif step == WARM:
                fcntl.flock(self.file, fcntl.LOCK_EX)
            elif step == WARM + DISCARDED:
                self.opened, self.opened_at = now, step
            elif step >= WARM + DISCARDED + LEAST and (now - self.opened > MOST_SECONDS or step >= WARM + 12):
                self.closed, self.steps = now, step - self.opened_at
                control.should_training_stop = True

    return Clock()


@contextmanager
def _shared(lock: Path) -> Iterator[None]:
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def _figures(cell: Cell, clock: Any, seen: list[dict[str, float]]) -> Cell:
    import torch

    first = clock.opened_at * cell.accumulation
    window = seen[first : first + clock.steps * cell.accumulation]
    mean = {name: sum(batch[name] for batch in window) / len(window) for name in window[0]}
    largest = max(seen, key=lambda batch: batch["tokens"])
    return replace(
        cell,
        rows=mean["rows"],
        real_tokens=mean["real"],
        tokens=mean["tokens"],
        squares=mean["squares"],
        largest_tokens=largest["tokens"],
        largest_squares=largest["squares"],
        seconds=round((clock.closed - clock.opened) / clock.steps, 6),
        first_seconds=round(clock.first, 2),
        allocated_gb=round(torch.cuda.max_memory_allocated() / 1e9, 3) if torch.cuda.is_available() else 0.0,
    )


def fit_all(cells: tuple[Cell, ...], out: Path) -> None:
    """Constants of every stack that the cells know; the others stay."""
    from fit import fit

    from sftrun.facts import calibration, catalog

    before = calibration.shipped()
    gpu = catalog.find(catalog.shipped(), before.gpu)
    assert gpu is not None
    stacks = dict(before.stacks)
    used = [cell for cell in cells if not cell.held_out and cell.seconds]
    for stack in sorted({cell.stack for cell in used}):
        stacks[stack] = fit(stack, [cell for cell in used if cell.stack == stack], before, gpu)
        print(stack, stacks[stack])
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    found = before.model_copy(update={"stacks": stacks, "date": today})
    out.write_text(found.model_dump_json(indent=2) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("measure")
    measure.add_argument("--out", type=Path, required=True)
    measure.add_argument("--limit", type=float, default=540)
    measure.add_argument("--only", help="cells whose name holds this")
    group = commands.add_parser("group")
    group.add_argument("cells", type=Path)
    group.add_argument("--lock", type=Path, required=True)
    fitting = commands.add_parser("fit")
    fitting.add_argument("cells", type=Path)
    fitting.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.command == "measure":
        wanted = [cell for cell in GRID if not options.only or options.only in cell.name]
        measure_all(wanted, options.out, options.limit)
    elif options.command == "group":
        measure_group(list(read(options.cells)), options.lock, options.cells.with_suffix(".done"))
    else:
        fit_all(read(options.cells), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
