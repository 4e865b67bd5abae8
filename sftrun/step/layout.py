"""How rows lie in a batch, who packs them, and what batches are filled up to."""

from typing import Final

from sftrun.contract.jobspec import TrainerSpec
from sftrun.contract.stepplan import Layout, Packer
from sftrun.step import cuda_graphs
from sftrun.step.given import Settings

# of `trainer.extra`: whoever sets one of these wants another packing than ours, and TRL does it then
PACKING: Final = ("packing_strategy", "eval_packing", "shuffle_dataset", "dataset_kwargs", "packing", "max_length")
MULTIPLE: Final = "pad_to_multiple_of"


def layout(given: Settings, has_kernel: bool) -> Layout:
    """Padding-free where a kernel knows where each row begins."""
    if given.trainer.packing:
        return "packed"
    is_free = has_kernel and given.trainer.library.runs_our_step
    return "padding_free" if is_free else "padded"


def packed_by(trainer: TrainerSpec) -> Packer | None:
    """Whose bins they are; None where rows are not packed."""
    if not trainer.packing:
        return None
    return "trl" if trainer.extra.keys() & set(PACKING) else "sftrun"


def multiple(trainer: TrainerSpec, rows: Layout, *, compiled: bool, has_gpu: bool) -> int | None:
    """Compiled layers want few sizes: bins, all but full, are filled up to one."""
    written = trainer.extra.get(MULTIPLE)
    if isinstance(written, int):
        return written
    if not has_gpu or not trainer.library.runs_our_step or not compiled or rows == "padded":
        return None
    return trainer.per_device_train_batch_size * trainer.max_length if rows == "packed" else cuda_graphs.TOKENS
