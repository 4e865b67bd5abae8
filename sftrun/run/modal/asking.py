"""Questions to a run's model on Modal: for a machine that has no GPU, or not the packages.

An App of its own that ends with the command; its container stays for a minute after each answer, the model loaded.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import modal

from sftrun.contract.jobspec import JobSpec
from sftrun.contract.question import Question
from sftrun.errors import RunFailed
from sftrun.facts.gpus import catalog
from sftrun.plan.estimate import memory
from sftrun.plan.types import Plan
from sftrun.run.modal import call, image
from sftrun.run.modal.container import answering
from sftrun.run.modal.handover import JobCrashed
from sftrun.run.modal.image import CACHE_MOUNT
from sftrun.run.modal.start import CACHE_VOLUME
from sftrun.run.modal.wire_errors import redacted, translated

IDLE_SECONDS, LIMIT_SECONDS = 60, 3600


def ask(
    plan: Plan, job: JobSpec, questions: Iterator[Question], *, max_new_tokens: int, temperature: float
) -> Iterator[Sequence[str]]:
    """(base's answer, tuned model's answer) to each question."""
    gpu = gpu_for(plan)
    app = modal.App(f"sftrun-ask-{plan.recipe.name}"[:63], tags={"run": job.run_id}, include_source=False)
    options: dict[str, Any] = {
        "image": image.image(plan.trainer.engine, plan.recipe.compute.image, gpu=gpu is not None),
        "volumes": call.volumes({**plan.recipe.volumes, CACHE_MOUNT: CACHE_VOLUME}),
        "secrets": [modal.Secret.from_name(name) for name in plan.recipe.secrets],
        "gpu": gpu,
        "region": plan.compute.region,
    }
    # one container: a second would load the model again, for a question that can wait for the first
    limits: dict[str, Any] = {"timeout": LIMIT_SECONDS, "scaledown_window": IDLE_SECONDS, "max_containers": 1}
    function = app.function(name="answer", **limits, **options)(answering.answer)
    with translated(), app.run():
        for question in questions:
            try:
                yield function.remote(job.model_dump_json(), question.model_dump_json(), max_new_tokens, temperature)
            except JobCrashed as error:
                raise RunFailed(redacted(str(error)), help="see the run with `sftrun show`") from error


def gpu_for(plan: Plan) -> str | None:
    """The cheapest GPU that holds both models; the recipe's own, all of them, where none does or that is not known."""
    if not plan.compute.gpus:
        return None
    needed = memory.answering_gb(plan)
    fitting = [gpu for gpu in catalog.load().gpus if needed is not None and gpu.memory_gb >= needed]
    cheapest = min(fitting, key=lambda gpu: gpu.usd_per_second, default=None)
    if cheapest is not None:
        return cheapest.name
    several = f":{plan.compute.gpu_count}" if plan.step.sharding == "fsdp" else ""
    return plan.compute.gpus[0] + several
