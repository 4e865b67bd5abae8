"""StepPlan -> the fast path on a trainer that stands: padding-free rows, fused LoRA, compiled layers.

It is the same on a CPU and on a GPU, but for what a CPU has no use for (`sftrun.step` decides that).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from accelerate.utils import DistributedType

from sftrun.contract.jobspec import JobSpec
from sftrun.contract.stepplan import StepPlan
from sftrun.job.channel import Channel
from sftrun.job.failures import JobFailure
from sftrun.job.fast import attention, head, layers
from sftrun.job.obey import apart
from sftrun.job.obey.orders import Orders
from sftrun.job.train.trainer import JobTrainer
from sftrun.step.configurations import drops_attention

Rows = Sequence[Mapping[str, Any]]
Collate = Callable[[Rows], dict[str, Any]]


def require_attention(spec: JobSpec, model: Any) -> None:
    """Say at once, and not after the samples, that `varlen` can't train this model."""
    if spec.step.attention == attention.NAME:
        try:
            attention.check(model.config)
        except attention.UnsupportedAttention as error:
            raise refused(error) from error


def collator(spec: JobSpec, inner: Collate, config: Any) -> Collate:
    """TRL's collator for such a model, with where rows begin and what is learnt.  Before any loader is made of it."""
    if spec.trainer.library.runs_our_step and spec.step.attention == attention.NAME:
        steps = attention.captured_steps(config, spec.trainer.max_length) if spec.step.cuda_graphs else ()
        inner = attention.BoundsCollator(inner, *steps)
    return head.LearntCollator(inner)


def require_rows_apart(spec: JobSpec, trainer: JobTrainer) -> None:
    """Say before the first step that a model mixes the rows of one sequence, where several are to share one."""
    if spec.trainer.library.runs_our_step and trainer.padding_free:
        apart.require(trainer, spec.step.has_varlen_kernel)


def prepare(spec: JobSpec, trainer: JobTrainer, channel: Channel, orders: Orders) -> layers.Prepared | None:
    """Make the trainer's model fast; after TRL cast the adapter, before it trains.  None: nothing was asked for."""
    step = _for_its_attention(spec.step, trainer, orders)
    if not spec.trainer.library.runs_our_step or not (
        step.compiled or step.dequantized or step.attention == attention.NAME
    ):
        return None
    try:
        prepared = layers.prepare(trainer.model, step, orders.refuse)
    except attention.UnsupportedAttention as error:
        raise refused(error) from error
    for note in prepared.notes:
        channel.note(note)
    if trainer.accelerator.distributed_type == DistributedType.NO and trainer.args.n_gpu <= 1:
        # PEFT's model says that it trains while transformers loaded its layers to rest; `quicken` believes what it says
        trainer.model.train()
        layers.quicken(trainer)
    return prepared


def _for_its_attention(step: StepPlan, trainer: JobTrainer, orders: Orders) -> StepPlan:
    """The orders as the model's attention allows them."""
    config = trainer.model.config.get_text_config()
    if step.has_varlen_kernel and drops_attention(lambda name: getattr(config, name, None)):
        orders.refuse("has_varlen_kernel", False, "the model's attention has dropout")
        orders.refuse("cuda_graphs", False, "they need variable-length attention's kernel")
        return orders.step
    return step


def undo(prepared: layers.Prepared | None) -> None:
    """Plain layers again: an answer has other shapes than a training row."""
    if prepared is not None:
        layers.undo(prepared)


def refused(error: attention.UnsupportedAttention) -> JobFailure:
    """The refusal, its last part being what to do."""
    what, _, todo = str(error).partition("; ")
    return JobFailure("model", what, todo or None)
