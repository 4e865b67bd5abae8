"""Settings, model and machine -> StepPlan: what follows from what was chosen.  Pure."""

from sftrun.contract.stepplan import StepPlan
from sftrun.step.attention_kernel import has_varlen_kernel
from sftrun.step.compiling import checkpointing
from sftrun.step.fused import unfused_because
from sftrun.step.given import Machine, Model, Settings
from sftrun.step.heads import head
from sftrun.step.layout import layout, multiple, packed_by
from sftrun.step.precision import precision
from sftrun.step.sharding import keeps_fetched, sharding


def step_plan(given: Settings, model: Model, machine: Machine) -> StepPlan:
    """How each step of such a job is computed."""
    has_kernel = has_varlen_kernel(given, model, machine)
    rows, obstacle = layout(given, has_kernel), unfused_because(given, machine)
    return StepPlan(
        attention=given.attention,
        has_varlen_kernel=has_kernel,
        layout=rows,
        packed_by=packed_by(given.trainer),
        pad_to_multiple_of=multiple(given.trainer, rows, compiled=given.compiled, has_gpu=machine.has_gpu),
        fused_lora=given.lora is not None and obstacle is None,
        unfused_because=obstacle,
        dequantized=given.dequantized,
        compiled=given.compiled,
        liger=given.liger,
        checkpointing=checkpointing(given.checkpointed, given.trainer.library, given.compiled),
        cuda_graphs=given.cuda_graphs,
        head=head(given, model, machine),
        sharding=sharding(given.sharded, machine.processes),
        keeps_fetched=given.sharded and keeps_fetched(given.trainer),
        precision=precision(given, model),
        preparing=given.preparing,
    )
