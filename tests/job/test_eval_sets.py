"""Several sets of validation rows by name: one loss each, as if each were alone, and the mean over all tokens."""

from pathlib import Path

import pytest

from sftrun.contract.events import DataReady, Evaluated, Finished
from sftrun.contract.jobspec import DatasetSpec, DataSource, JobSpec, LoraSpec
from sftrun.run.state import fold
from tests.job import tiny
from tests.job.runs import Run, record

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SETS = {
    "long": [{"prompt": f"{n}?", "completion": "abc" * 9} for n in range(3)],
    "short": [{"prompt": f"{n}?", "completion": "b"} for n in range(7)],
}


def job(folder: Path, model: Path, names: tuple[str, ...], **trainer: object) -> JobSpec:
    """With sets of these names; one alone has none."""
    folder.mkdir()
    rows = [{"prompt": f"{n}?", "completion": "abc"} for n in range(12)]
    train = tiny.write_rows(folder / "train.jsonl", rows)
    held_out = {
        name if len(names) > 1 else "": DataSource(files=(str(tiny.write_rows(folder / f"{name}.jsonl", SETS[name])),))
        for name in names
    }
    dataset = DatasetSpec(train=(DataSource(files=(str(train),)),), eval=held_out)
    settings = {"max_steps": 4, "eval_steps": 2} | trainer
    return tiny.make_job(
        folder, model, train, dataset=dataset, lora=LoraSpec(r=4, lora_alpha=8.0), trainer=settings
    )  # without dropout: each evaluation draws from the generator that dropout has


def evaluated(spec: JobSpec, folder: Path) -> list[Evaluated]:
    code, last = Run(spec, folder).rest()
    assert (code, last.kind) == (0, "finished"), last
    return [event for event in record(spec) if isinstance(event, Evaluated)]


def test_each_set_has_the_loss_that_it_has_alone(model: Path, tmp_path: Path) -> None:
    both = job(tmp_path / "both", model, ("long", "short"))
    found = evaluated(both, tmp_path / "both")
    assert [event.step for event in found] == [2, 4]
    alone = {name: evaluated(job(tmp_path / name, model, (name,)), tmp_path / name) for name in SETS}
    for number, event in enumerate(found):
        assert event.losses == {name: events[number].loss for name, events in alone.items()}
        assert event.rows == 10
        long, short = 3 * 28, 7 * 2  # tokens with a label, the end token among them
        mean = (event.losses["long"] * long + event.losses["short"] * short) / (long + short)
        assert event.loss == pytest.approx(mean, rel=1e-6)
    state = fold(record(both))
    assert state.eval_sets == {name: tuple((e.step, e.losses[name]) for e in found) for name in SETS}
    ready = next(event for event in record(both) if isinstance(event, DataReady))
    assert ready.eval_rows == 10


def test_one_sets_loss_chooses_the_best(model: Path, tmp_path: Path) -> None:
    settings = {"metric_for_best_model": "eval_short_loss", "load_best_model_at_end": True, "save_steps": 2}
    spec = job(tmp_path / "best", model, ("long", "short"), **settings)
    found = evaluated(spec, tmp_path / "best")
    best = min(found, key=lambda event: event.losses["short"]).step
    end = next(event for event in record(spec) if isinstance(event, Finished))
    assert (end.saved_step or end.step) == found[-1].best_step == best
