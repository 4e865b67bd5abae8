"""TRL's SFTTrainer with the product's loss, noting what each batch makes the GPU compute."""

from typing import Any, NamedTuple

from trl import SFTTrainer

from sftrun.job.fast import head

KEY = "counted"


class Counted(NamedTuple):
    """Of one micro-batch: rows, their tokens, tokens with filling, and the sum of squares that attention sees."""

    rows: float
    real: float
    tokens: float
    squares: float


class CountingTrainer(SFTTrainer):
    """`seen` has an entry for each batch that was trained on; `is_lean` takes the product's loss in place of TRL's."""

    is_lean = False

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.seen: list[Counted] = []

    def compute_loss(self, model: Any, inputs: Any, *args: Any, num_items_in_batch: Any = None, **kw: Any) -> Any:
        self.seen.append(Counted(*inputs.pop(KEY)))
        inputs.pop(head.TOKENS, None)
        if self.is_lean:
            return head.loss(model, inputs, num_items_in_batch, 1)
        return super().compute_loss(model, inputs, *args, num_items_in_batch=num_items_in_batch, **kw)


class CountingCollator:
    """Goes round all other collators; `CountingTrainer` takes off what it adds."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, rows: Any) -> Any:
        lengths = [n for row in rows for n in row.get("seq_lengths", [len(row["input_ids"])])]
        batch = self.inner(rows)
        wide = batch["input_ids"].numel()
        padded = "attention_mask" in batch
        squares = wide * batch["input_ids"].shape[1] if padded else sum(n * n for n in lengths)
        return batch | {KEY: [float(n) for n in (len(lengths), sum(lengths), wide, squares)]}
