"""What a container without a GPU is to do first: marks on the cache Volume, one for each thing that a run wants there.

A mark says that the model and the Hub's data were fetched, or that rows were tokenised and packed, by a run that wanted
the same.  It spares a container's start, no more: what is not there after all is made by the job itself.
"""

import hashlib
import json
import re
from pathlib import Path, PurePosixPath

import modal

from sftrun import __version__
from sftrun.contract.jobspec import JobSpec
from sftrun.plan.types import Plan, SourcePlan
from sftrun.run.modal import call, volume_files


def missing(plan: Plan, job: JobSpec, cache: modal.Volume) -> tuple[str, ...]:
    """Paths of the marks that are wanted and do not stand yet."""
    fetched, prepared = wanted_of_hub(job), _wanted_of_data(plan, job)
    marks = [_path(wanted) for wanted in (fetched, prepared) if wanted]
    return tuple(mark for mark in marks if not volume_files.size_of(cache, mark))


def wanted_of_hub(job: JobSpec) -> list[tuple[str, str]]:
    """(name, revision) of what has to come from the Hub."""
    model = job.model
    is_here = model.name_or_path.startswith(("builtin:", "/"))
    data = [(source.hub, source.revision or "") for source in job.dataset.sources if source.hub is not None]
    return [*([] if is_here else [(model.name_or_path, model.revision or "")]), *data]


def _wanted_of_data(plan: Plan, job: JobSpec) -> list[object]:
    """All that decides what the rows become, as far as it is known here; empty where the job tokenises them."""
    if job.step.preparing != "container":
        return []
    files = [file for source in plan.dataset.sources for file in _files(source, plan.recipe.volumes)]
    trainer = job.trainer
    return [
        __version__,
        files,
        job.dataset.model_dump(mode="json"),
        job.rows.model_dump(mode="json"),
        [job.model.name_or_path, job.model.revision, trainer.engine],
        [trainer.max_length, trainer.packing],
        trainer.seed if job.dataset.eval_fraction else None,
        trainer.extra,
    ]


def _files(source: SourcePlan, volumes: dict[str, str]) -> list[tuple[str, int, int]]:
    """(name, bytes, time of change) of each; of a file that goes up by its content, no time."""
    if source.volume is None:
        return [(Path(file).name, Path(file).stat().st_size, 0) for file in source.local]
    mount = max((mount for mount in volumes if PurePosixPath(source.volume).is_relative_to(mount)), key=len)
    inside = str(PurePosixPath(source.volume).relative_to(mount))
    before, *pattern = re.split(r"[*?\[]", inside, maxsplit=1)
    folder = before.rpartition("/")[0] if pattern else inside
    try:
        entries = call.volume(volumes[mount]).listdir(f"/{folder}", recursive=True)
    except (modal.exception.NotFoundError, FileNotFoundError):
        return []
    return sorted((entry.path, entry.size, entry.mtime) for entry in entries if entry.type.name == "FILE")


def _path(wanted: object) -> str:
    return f"ready/{hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:16]}"
