"""Measure the cells of one group: one model, several batches, alone on the machine while the clock runs.

Started by `calibrate`.  It works among other groups (imports, the model, compiling, warm steps) and measures alone: see
`turns`.
"""

import argparse
import gc
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import torch  # noqa: E402
import trl  # noqa: E402, F401
from cells import SHAPES, TARGETS, Cell, read  # noqa: E402
from clock import Clock, Window, middle  # noqa: E402
from counting import Counted, CountingCollator, CountingTrainer  # noqa: E402
from transformers import PrinterCallback  # noqa: E402
from turns import Turn  # noqa: E402

from sftrun.job.fast import attention, head, layers, plain_head  # noqa: E402
from sftrun.job.fast import graphed as graphs  # noqa: E402

# steps before the clock: until packed sequences, or rows of many sizes, meet nothing new (cuDNN compiles for some of
# those); or until most are captured
WARM, WARM_UNLIKE, RECORDING = 3, 12, 40
# steps at most, for which there must be rows
STEPS, STEPS_PADDING_FREE, STEPS_CAPTURED = 52, 80, 200


def measure_group(wanted: Path, turn: Turn) -> None:
    """One model, several batches; each cell is added to the `.done` beside `wanted` once it is measured."""
    if not torch.cuda.is_available():
        plain_head.install()
    attention.register()
    torch.set_float32_matmul_precision("high")
    cells, began = read(wanted), time.perf_counter()
    model = _model(cells[0])
    gc.collect()
    gc.freeze()  # as the worker does: a collection of all that was imported takes as long as several short steps
    print(f"model {time.perf_counter() - began:.1f} s", flush=True)
    for number, cell in enumerate(cells):
        try:
            found = _measure(cell, model, turn, prepare=number == 0)
        except torch.OutOfMemoryError:
            print(f"{cell.name}: out of memory", flush=True)
            torch.cuda.empty_cache()
            continue
        finally:
            turn.over()
            gc.collect()  # CUDA graphs hold memory that the next cell would be charged for
        if found is not None:
            with wanted.with_suffix(".done").open("a") as file:
                file.write(json.dumps(asdict(found)) + "\n")


def _model(cell: Cell) -> Any:
    import random_model
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


def _measure(cell: Cell, model: Any, turn: Turn, *, prepare: bool) -> Cell | None:
    trainer = _trainer(cell, model)
    if cell.stack != "eager":
        steps = attention.captured_steps(model.config, cell.max_length) if cell.graphs else ()
        trainer.data_collator = attention.BoundsCollator(trainer.data_collator, *steps)
        layers.quicken(trainer)
    trainer.is_lean = head.install(trainer)
    trainer.data_collator = CountingCollator(head.LearntCollator(trainer.data_collator))
    if prepare and cell.stack != "eager":
        _prepare(cell, trainer.model)
    backbone = model.get_base_model().base_model if cell.rank else model.base_model
    plain = backbone.forward
    graphed = graphs.GraphedBackbone(backbone, lambda: None) if cell.graphs else None
    if graphed is None:
        clock = Clock(turn, WARM if cell.layout == "packed" else WARM_UNLIKE)
    else:
        backbone.forward = graphed
        clock = Clock(turn, RECORDING, lambda: graphed.misses)
    trainer.add_callback(clock)
    trainer.remove_callback(PrinterCallback)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        trainer.train()
    finally:
        backbone.forward = plain
    found = _figures(cell, clock, trainer.seen)
    return replace(found, captured=len(graphed.graphs)) if found is not None and graphed is not None else found


def _prepare(cell: Cell, model: Any) -> None:
    """As the product does; but what refreshes fused weights goes into `forward`, for each cell's graphs to capture."""
    step = cell.setup().step.model_copy(update={"fused_lora": cell.rank > 0, "cuda_graphs": True})
    prepared = layers.prepare(model, step)
    assert prepared.graphed is not None
    prepared.graphed.backbone.forward = prepared.graphed.plainly


def _trainer(cell: Cell, model: Any) -> Any:
    from datasets import Dataset
    from random_model import tokenizer
    from throughput import row_lengths
    from trl import SFTConfig

    packed = cell.layout == "packed"
    steps = STEPS_CAPTURED if cell.graphs else STEPS if packed else STEPS_PADDING_FREE
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
        padding_free=cell.layout == "padding_free",
        pad_to_multiple_of=filled if cell.stack == "compiled" else None,
        dataloader_num_workers=2 if cell.stack != "eager" else 0,
        accelerator_config={"non_blocking": True},
        bf16=True,
        optim=cell.optim,
        use_liger_kernel=cell.stack == "liger",
        liger_kernel_config={"fused_linear_cross_entropy": False} if cell.stack == "liger" else None,
        gradient_checkpointing=cell.checkpointing and cell.stack != "compiled",
        logging_steps=10,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        disable_tqdm=True,
    )
    dataset = Dataset.from_dict({"input_ids": data})
    return CountingTrainer(model=model, args=config, train_dataset=dataset, processing_class=tokenizer())


def _figures(cell: Cell, clock: Clock, seen: list[Counted]) -> Cell | None:
    taken = (
        f"warm {clock.warm_seconds:.1f} s, then {clock.alone_seconds:.1f} s alone; {clock.lost:.1f} s lost to others"
    )
    if not clock.windows:
        print(f"{cell.name}: no window without something new in {clock.dropped}; {taken}", flush=True)
        return None
    windows = middle(clock.windows)
    batches = [batch for window in windows for batch in seen[_batches(window, cell.accumulation)]]
    rows, real, tokens, squares = (sum(figures) / len(batches) for figures in zip(*batches, strict=True))
    largest = max(seen, key=lambda batch: batch.tokens)
    seconds = sum(window.seconds for window in windows) / sum(window.steps for window in windows)
    spread = (windows[-1].pace - windows[0].pace) / seconds
    found = replace(
        cell,
        rows=rows,
        real_tokens=real,
        tokens=tokens,
        squares=squares,
        largest_tokens=largest.tokens,
        largest_squares=largest.squares,
        seconds=round(seconds, 6),
        first_seconds=round(clock.first_seconds, 2),
        allocated_gb=_gb(torch.cuda.max_memory_allocated),
        reserved_gb=_gb(torch.cuda.max_memory_reserved),
    )
    paces = " ".join(f"{window.pace:.4f}" for window in clock.windows)
    clean = f"windows {paces}; {clock.dropped} dropped, the middle ones within {spread:.1%}"
    print(
        f"{cell.name}: {found.seconds:.4f} s, {found.allocated_gb:.2f} GB of {found.reserved_gb:.2f}; {clean}; {taken}",
        flush=True,
    )
    return found


def _gb(read: Callable[[], int]) -> float:
    return round(read() / 1e9, 3) if torch.cuda.is_available() else 0.0


def _batches(window: Window, accumulation: int) -> slice:
    return slice(window.step * accumulation, (window.step + window.steps) * accumulation)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", type=Path)
    parser.add_argument("turn", type=int, help="a descriptor")
    options = parser.parse_args()
    measure_group(options.cells, Turn(options.turn))
