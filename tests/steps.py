"""Step plans for tests: what follows from settings by the rules, and whatever a test wants otherwise."""

from typing import Any

from sftrun.contract.jobspec import JobSpec, LoraSpec, ModelSpec, QuantizationSpec, TrainerSpec
from sftrun.contract.stepplan import StepPlan
from sftrun.step.given import Machine, Model, Settings
from sftrun.step.rules import step_plan

GPU = Machine(has_gpu=True)


def plan(
    model: ModelSpec,
    trainer: TrainerSpec,
    quantization: QuantizationSpec | None = None,
    lora: LoraSpec | None = None,
    *,
    machine: Machine = GPU,
    shape: Model = Model(),  # noqa: B008
    **changes: Any,
) -> StepPlan:
    """`changes`: what was chosen, by the names of `Settings`, or fields of the plan that a test sets itself."""
    chosen = {name: value for name, value in changes.items() if name in Settings._fields}
    made = step_plan(Settings(model, trainer, quantization, lora, **chosen), shape, machine)
    return made.model_copy(update={name: value for name, value in changes.items() if name not in chosen})


def job(sections: dict[str, Any], machine: Machine | None = None, **changes: Any) -> JobSpec:
    """A job of these sections; without `machine` on CPUs alone, however many processes it has."""
    processes = max(sections.get("gpu_count", 0), 1) * sections.get("nodes", 1)
    lora, quantization = sections.get("lora"), sections.get("quantization")
    step = plan(
        sections["model"], sections["trainer"], quantization, lora, machine=machine or Machine(processes), **changes
    )
    return JobSpec(**sections, step=step)


def changed(spec: JobSpec, sections: dict[str, Any] | None = None, **changes: Any) -> JobSpec:
    """The job with other sections, its steps planned anew."""
    kept = {name: getattr(spec, name) for name in JobSpec.model_fields if name not in ("version", "step")}
    return job({**kept, **(sections or {})}, **changes)
