"""Measure the cells of one group: one model, several batches, alone on the GPU while the clock runs."""

import fcntl
import gc
import json
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cells import SHAPES, TARGETS, Cell

# steps before the clock: until packed sequences, or rows of many sizes, meet nothing new; or until most are recorded
WARM, WARM_FLAT, RECORDING = 3, 10, 40
# of windows of that many steps the middle one counts: a new shape may be compiled or recorded in another
WINDOW, LEAST, MOST = 4, 3, 5
MOST_SECONDS = 4.0


def measure_group(cells: list[Cell], lock: Path, done: Path) -> None:
    """One model, several batches."""
    import torch
    import trl  # noqa: F401  slow: before the GPU is touched

    from sftrun.job import attention, plain_head

    if not torch.cuda.is_available():
        plain_head.install()
    attention.register()
    torch.set_float32_matmul_precision("high")
    model = _model(cells[0])
    prepared = False
    for cell in cells:
        began = time.perf_counter()
        try:
            found = _measure(cell, model, lock, prepare=not prepared)
        except torch.OutOfMemoryError:
            print(f"{cell.name}: out of memory", flush=True)
            torch.cuda.empty_cache()
            continue
        finally:
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

    from sftrun.job import attention, graphs, head, speed

    seen: list[dict[str, float]] = []
    trainer = _trainer(cell, model, seen)
    if cell.stack != "eager":
        steps = graphs.STEPS if cell.graphs else ()
        trainer.data_collator = attention.BoundsCollator(trainer.data_collator, *steps)
        speed.quicken(trainer)
    trainer.is_lean = head.install(trainer)
    trainer.data_collator = _Counting(head.LearntCollator(trainer.data_collator))
    if prepare and cell.stack != "eager":
        compiled = cell.stack == "compiled"
        speed.prepare(
            trainer.model,
            compile_layers=compiled,
            dequantize=cell.dequantize,
            checkpointing=cell.checkpointing and compiled,
            fuse_lora=cell.rank > 0,
        )
    backbone = model.get_base_model().base_model if cell.rank else model.base_model
    plain = backbone.forward
    if cell.graphs:
        backbone.forward = graphs.GraphedBackbone(backbone, lambda: None)
    clock = _clock(lock, RECORDING if cell.graphs else WARM_FLAT if cell.layout == "flat" else WARM)
    trainer.add_callback(clock)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    trainer.train()
    clock.release()
    backbone.forward = plain
    gc.collect()  # recorded graphs hold memory that the next cell would be charged for
    return _figures(cell, clock, seen)


def _trainer(cell: Cell, model: Any, seen: list[dict[str, float]]) -> Any:
    import torch
    from datasets import Dataset
    from random_model import tokenizer
    from throughput import row_lengths
    from trl import SFTConfig, SFTTrainer

    from sftrun.job import head

    class Counted(SFTTrainer):
        is_lean = False

        def compute_loss(self, model: Any, inputs: Any, *args: Any, num_items_in_batch: Any = None, **kw: Any) -> Any:
            counted = inputs.pop("counted")
            inputs.pop(head.TOKENS)
            if model.training:
                seen.append(counted)
            if self.is_lean:
                return head.loss(model, inputs, num_items_in_batch, 1)
            return super().compute_loss(model, inputs, *args, num_items_in_batch=num_items_in_batch, **kw)

    packed, steps = cell.layout == "packed", 80 if cell.graphs else 40
    filled = cell.batch * cell.max_length if packed else 256
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
        pad_to_multiple_of=filled if cell.stack == "compiled" else None,
        dataloader_num_workers=2 if cell.stack != "eager" else 0,
        accelerator_config={"non_blocking": True},
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
    return Counted(model=model, args=config, train_dataset=dataset, processing_class=tokenizer())


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


def _clock(lock: Path, warm: int) -> Any:
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        """Warm steps stand aside for whoever measures; then it measures alone."""

        def __init__(self) -> None:
            self.began = time.perf_counter()
            self.first = self.opened = 0.0
            self.windows: list[tuple[float, int]] = []  # seconds a step, the first step
            self.file = lock.open("w")

        def release(self) -> None:
            fcntl.flock(self.file, fcntl.LOCK_UN)
            self.file.close()

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step < warm:
                with _shared(lock):
                    pass

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            done = state.global_step - warm - 1  # one step is thrown away after the lock is had
            if torch.cuda.is_available() and (done <= 0 or done % WINDOW == 0):
                torch.cuda.synchronize()
            now = time.perf_counter()
            if state.global_step == 1:
                self.first = now - self.began
            if done == -1:
                fcntl.flock(self.file, fcntl.LOCK_EX)
            elif done > 0 and done % WINDOW == 0:
                self.windows.append(((now - self.opened) / WINDOW, state.global_step - WINDOW))
                long = sum(seconds for seconds, _ in self.windows) * WINDOW > MOST_SECONDS
                control.should_training_stop = len(self.windows) >= (LEAST if long else MOST)
            if done >= 0 and done % WINDOW == 0:
                self.opened = now

    return Clock()


@contextmanager
def _shared(lock: Path) -> Iterator[None]:
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def _figures(cell: Cell, clock: Any, seen: list[dict[str, float]]) -> Cell:
    import torch

    seconds, opened_at = sorted(clock.windows)[len(clock.windows) // 2]
    first = opened_at * cell.accumulation
    window = seen[first : first + WINDOW * cell.accumulation]
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
        seconds=round(seconds, 6),
        first_seconds=round(clock.first, 2),
        allocated_gb=round(torch.cuda.max_memory_allocated() / 1e9, 3) if torch.cuda.is_available() else 0.0,
    )
