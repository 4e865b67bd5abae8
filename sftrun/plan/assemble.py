"""Plan + places -> JobSpec.  Pure: an executor says where things lie on the job's machine, this puts them together.

Relative data was found beside the recipe and goes up (or stays, on this machine); data and output below a mount are
the Volume's and become a path of the job's machine.
"""

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sftrun.contract.jobspec import AdapterSpec, DatasetSpec, DataSource, EvaluationSpec, JobSpec, ModelSpec, MoneySpec
from sftrun.disk import adapter_files
from sftrun.errors import SftrunError
from sftrun.evaluate.metrics import METRICS
from sftrun.plan.types import Plan, SourcePlan


@dataclass(frozen=True)
class Places:
    """Where things lie for the job.

    `mounts`: mount path of the recipe -> folder; `uploads`: file on the user's machine -> path for the job (absent:
    as it is); `model_folder`: where a model folder of the user's machine lies.
    """

    record_dir: str
    cache_dir: str | None = None
    mounts: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, str] = field(default_factory=dict)
    model_folder: str | None = None
    cpu_threads: int | None = None

    def of(self, path: str) -> str:
        """The job's own path of an absolute path of the recipe; the innermost mount wins."""
        for mount in sorted(self.mounts, key=len, reverse=True):
            if PurePosixPath(path).is_relative_to(mount):
                return str(PurePosixPath(self.mounts[mount]) / PurePosixPath(path).relative_to(mount))
        return path


def jobspec(plan: Plan, run_id: str, places: Places, money: MoneySpec) -> JobSpec:
    """Everything that the job needs, with nothing left to decide."""
    output = places.of(plan.output_dir or plan.recipe.output.dir)
    return JobSpec(
        run_id=run_id,
        name=plan.recipe.name,
        record_dir=places.record_dir,
        output_dir=output,
        checkpoints_dir=f"{output}-checkpoints/{run_id}",
        model=_model(plan.model, places),
        quantization=plan.quantization,
        lora=plan.lora,
        adapter=_adapter(plan, places),
        dataset=_dataset(plan, places),
        rows=plan.rows,
        trainer=plan.trainer,
        step=plan.step,
        samples=plan.samples,
        evaluation=_evaluation(plan, places),
        gpu_count=plan.compute.gpu_count,
        nodes=plan.compute.nodes,
        cpu_threads=places.cpu_threads,
        money=money,
        timeout_seconds=float(plan.compute.timeout_seconds),
    )


def _adapter(plan: Plan, places: Places) -> AdapterSpec | None:
    """An upload keeps the files' names, so that its folder is one of an adapter."""
    found, wanted = plan.adapter, plan.recipe.model.adapter
    if found is None and wanted is not None:
        raise SftrunError(f"the adapter `{wanted}` could not be had", help="`sftrun validate` says why")
    if found is None:
        return None
    weights = f"{found.folder}/{adapter_files.WEIGHTS}"
    return AdapterSpec(folder=str(PurePosixPath(places.uploads.get(weights, weights)).parent), sha256=found.sha256)


def _model(model: ModelSpec, places: Places) -> ModelSpec:
    name = model.name_or_path
    if name.startswith("/"):
        return model.model_copy(update={"name_or_path": places.model_folder or places.of(name)})
    return model


def _dataset(plan: Plan, places: Places) -> DatasetSpec:
    data = plan.dataset
    return DatasetSpec(
        train=tuple(_source(one, places) for one in data.train),
        eval={name: _source(one, places) for name, one in data.eval.items()},
        eval_fraction=data.eval_fraction,
        shuffle=data.shuffle,
        cache_dir=places.cache_dir,
    )


def _evaluation(plan: Plan, places: Places) -> EvaluationSpec | None:
    wanted, found = plan.recipe.evaluation, plan.evaluation
    if wanted is None or found is None:
        return None
    return EvaluationSpec(
        data=_source(found.data, places),
        general=None if found.general is None else _source(found.general, places),
        reads_neutral=wanted.neutral_text,
        by=wanted.by,
        max_examples=wanted.max_examples,
        max_new_tokens=wanted.generation.max_new_tokens,
        temperature=wanted.generation.temperature,
        needs_loss=any(METRICS[name].needs_loss for name in wanted.metrics),
    )


def _source(source: SourcePlan, places: Places) -> DataSource:
    files = (places.of(source.volume),) if source.volume else source.local
    return DataSource(
        files=tuple(places.uploads.get(file, file) for file in files),
        **{name: getattr(source, name) for name in DataSource.model_fields if name != "files"},
    )
