"""The ledger's finished runs as observations, for the next estimate to learn from."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from sftrun.disk import outside
from sftrun.errors import LedgerError
from sftrun.facts.gpus import catalog
from sftrun.facts.values import Catalog
from sftrun.plan.estimate.learning import Observation
from sftrun.plan.estimate.total import features_of
from sftrun.plan.types import Plan
from sftrun.report.summary import Report
from sftrun.run.ledger import Ledger, RunFolder
from sftrun.run.listing import rows

# the latest runs alone: an estimate must answer at once, and old runs had other libraries
MOST_RUNS: Final = 50


def observations(root: Path, known: Catalog) -> tuple[Observation, ...]:
    """Finished runs that had an estimate, the latest first; a damaged one is left out."""
    if not (root / "runs").is_dir():
        return ()
    ledger = Ledger(root)
    finished = (row.id for row in rows(root) if row.status == "finished")
    return tuple(islice(_each(ledger, finished, known), MOST_RUNS))


def read_report(folder: RunFolder) -> Report | None:
    """The report of a run that ended; None where there is none to be read."""
    try:
        return outside.read_model(Report, folder.path / "report.json")
    except (OSError, outside.Damaged):
        return None


def _each(ledger: Ledger, ids: Iterator[str], known: Catalog) -> Iterator[Observation]:
    for run_id in ids:
        folder = ledger.folder(run_id)
        report = read_report(folder)
        if report is None or not report.seconds_per_step:
            continue
        try:
            plan = folder.plan()
        except LedgerError:
            continue
        if plan.cost is not None:
            yield _observation(plan, report, known)


def _observation(plan: Plan, report: Report, known: Catalog) -> Observation:
    assert plan.cost is not None
    assert report.seconds_per_step is not None
    parameters = (report.parameters or 0) - (report.trainable_parameters or 0)
    gpu = received(report.device or "", known) or plan.cost.gpu
    return Observation(
        features=features_of(plan, parameters, gpu, report.gpu_count or plan.cost.gpu_count),
        predicted_seconds=plan.cost.seconds_per_step / plan.cost.correction,
        measured_seconds=report.seconds_per_step,
    )


def received(device: str, known: Catalog) -> str | None:
    """The catalog's name of the GPU that the job says it got (`H100` may be served by an H200)."""
    gpu = catalog.of_device(known, device)
    return gpu.name if gpu is not None else None
