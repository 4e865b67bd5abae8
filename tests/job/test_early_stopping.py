"""Early stopping and the best checkpoint: as transformers does it, and through every kill."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, EarlyStoppingCallback
from trl import SFTConfig, SFTTrainer

from sftrun.contract import events, output_marker
from sftrun.contract.events import Evaluated, Finished, Note, Started, StoppedEarly
from sftrun.contract.jobspec import DatasetSpec, DataSource, JobSpec
from sftrun.job.fast import plain_head
from sftrun.job.supervise import checkpoints
from sftrun.run.state import fold
from tests.job import tiny
from tests.job.runs import Run, curve, held_at, record

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PATIENCE = 3
STEPS = 60
# learnt by heart, the training rows make the others less likely: the loss of these falls first, and rises then
TRAIN = [{"prompt": f"{n}?", "completion": "abc" + "z" * (n % 3)} for n in range(12)]
EVAL = [{"prompt": f"{n}?", "completion": "bca" + "y" * (n % 4)} for n in range(6)]


def job(folder: Path, model: Path, **trainer: Any) -> JobSpec:
    folder.mkdir(parents=True, exist_ok=True)
    train = tiny.write_rows(folder / "train.jsonl", TRAIN)
    held_out = tiny.write_rows(folder / "eval.jsonl", EVAL)
    settings = {
        "max_steps": STEPS,
        "eval_steps": 2,
        "save_steps": 4,
        "save_total_limit": 1,
        "metric_for_best_model": "eval_loss",
        "early_stopping_patience": PATIENCE,
        "load_best_model_at_end": True,
    }
    return tiny.make_job(
        folder,
        model,
        train,
        dataset=DatasetSpec(train=(DataSource(files=(str(train),)),), eval={"": DataSource(files=(str(held_out),))}),
        trainer=settings | trainer,
    )


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> JobSpec:
    """A run that nobody broke."""
    folder = tmp_path_factory.mktemp("whole")
    spec = job(folder, model)
    code, last = Run(spec, folder).rest()
    assert (code, last.kind) == (0, "finished")
    return spec


def only(spec: JobSpec, kind: type[Any]) -> Any:
    (found,) = (event for event in record(spec) if isinstance(event, kind))
    return found


def evaluations(spec: JobSpec) -> dict[int, tuple[float, int | None]]:
    return {event.step: (event.loss, event.best_step) for event in record(spec) if isinstance(event, Evaluated)}


def weights(folder: str) -> dict[str, torch.Tensor]:
    return load_file(f"{folder}/adapter_model.safetensors")


def assert_same_end(spec: JobSpec, whole: JobSpec) -> None:
    assert evaluations(spec) == evaluations(whole)
    assert curve(record(spec)) == curve(record(whole))
    ends = [only(each, Finished) for each in (spec, whole)]
    assert (ends[0].step, ends[0].saved_step, ends[0].train_loss) == (
        ends[1].step,
        ends[1].saved_step,
        ends[1].train_loss,
    )
    kept, expected = weights(spec.output_dir), weights(whole.output_dir)
    assert kept.keys() == expected.keys()
    assert all(torch.equal(kept[name], expected[name]) for name in kept)


def test_training_stops_early_and_finishes_with_the_best_weights(whole: JobSpec) -> None:
    early, end, found = only(whole, StoppedEarly), only(whole, Finished), evaluations(whole)
    losses = {step: loss for step, (loss, _) in found.items()}
    best = min(losses, key=lambda step: losses[step])
    assert (early.step, early.best_step, early.best) == (max(found), best, losses[best])
    assert early.step == best + 2 * PATIENCE
    assert early.step < STEPS
    assert (end.step, end.saved_step) == (early.step, best)
    state = fold(record(whole))
    assert (state.status, state.best_step, state.stopped_early) == ("finished", best, early)
    marker = output_marker.read(whole.output_dir)
    assert marker is not None
    assert (marker.step, marker.saved_step) == (early.step, best)


def test_the_best_checkpoint_outlives_the_limit_of_checkpoints(whole: JobSpec) -> None:
    kept, best = dict(checkpoints.steps(whole.checkpoints_dir)), only(whole, Finished).saved_step
    assert sorted(kept) == [best, only(whole, StoppedEarly).step]
    assert all(checkpoints.fault(path, whole.run_id) is None for path in kept.values())
    saved = weights(str(kept[best]))
    assert all(torch.equal(weight, saved[name]) for name, weight in weights(whole.output_dir).items())


def test_it_stops_where_trl_with_transformers_callback_stops(whole: JobSpec, tmp_path: Path) -> None:
    plain_head.install()
    lora = whole.lora
    assert lora is not None
    name = whole.model.name_or_path
    same = ("max_steps", "per_device_train_batch_size", "learning_rate", "optim", "bf16", "seed", "eval_steps")
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(name, dtype="float32"),
        args=SFTConfig(
            **{key: getattr(whole.trainer, key) for key in same},
            output_dir=str(tmp_path),
            eval_strategy="steps",
            save_steps=2,
            load_best_model_at_end=True,
            metric_for_best_model="eval_loss",
            report_to="none",
            use_cpu=True,
            max_length=256,
        ),
        train_dataset=Dataset.from_list(TRAIN),
        eval_dataset=Dataset.from_list(EVAL),
        processing_class=AutoTokenizer.from_pretrained(name),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM",
            r=lora.r,
            lora_alpha=lora.lora_alpha,
            lora_dropout=lora.lora_dropout,
            target_modules="all-linear",
        ),
        callbacks=[EarlyStoppingCallback(PATIENCE)],
    )
    trainer.train()
    assert trainer.state.global_step == only(whole, StoppedEarly).step
    assert trainer.state.best_global_step == only(whole, StoppedEarly).best_step


def killed_after(word: Callable[[JobSpec], str]) -> Callable[[JobSpec, Path], None]:
    """A run whose worker dies once it has said an event with such a word in it."""

    def kill(spec: JobSpec, folder: Path) -> None:
        held = word(spec).encode()
        run = Run(spec, folder, held_at(held.decode(), spec))
        run.until(lambda event: held in events.dump(event).encode())
        run.kill_worker()
        assert run.rest()[0] == 3

    return kill


def test_a_kill_while_it_waits_for_a_better_one_changes_no_end(model: Path, whole: JobSpec, tmp_path: Path) -> None:
    spec, waiting = job(tmp_path, model), only(whole, StoppedEarly).best_step + 4
    killed_after(lambda _: f'"kind":"eval","step":{waiting},')(spec, tmp_path)
    code, last = Run(spec, tmp_path).rest()
    assert (code, last.kind) == (0, "finished")
    starts = [event for event in record(spec) if isinstance(event, Started)]
    assert [event.resumed_from for event in starts] == [None, waiting - waiting % 4 - (0 if waiting % 4 else 4)]
    assert_same_end(spec, whole)


@pytest.mark.parametrize("word", ['"kind":"stopped_early"', '"name":"save"'])
def test_a_kill_after_the_early_stop_trains_no_further(word: str, model: Path, whole: JobSpec, tmp_path: Path) -> None:
    spec = job(tmp_path, model)
    killed_after(lambda _: word)(spec, tmp_path)
    code, last = Run(spec, tmp_path).rest()
    assert (code, last.kind) == (0, "finished")
    assert_same_end(spec, whole)
    state = fold(record(spec))
    assert state.stopped_early is not None
    assert state.stopped_early.step == only(whole, StoppedEarly).step


def test_a_damaged_best_checkpoint_is_said_and_the_last_weights_are_saved(
    model: Path, whole: JobSpec, tmp_path: Path
) -> None:
    spec = job(tmp_path, model)
    killed_after(lambda _: '"name":"save"')(spec, tmp_path)
    best = only(whole, Finished).saved_step
    (Path(spec.checkpoints_dir) / f"checkpoint-{best}" / "adapter_model.safetensors").write_bytes(b"")
    code, last = Run(spec, tmp_path).rest()
    assert code == 0
    assert isinstance(last, Finished)
    assert last.saved_step is None
    notes = [event.message for event in record(spec) if isinstance(event, Note) and event.level == "warning"]
    assert any(f"checkpoint-{best} was the best" in note for note in notes)


def test_accuracy_is_counted_by_tokens_and_the_highest_is_best(model: Path, tmp_path: Path) -> None:
    spec = job(
        tmp_path,
        model,
        max_steps=14,
        eval_steps=4,
        save_steps=4,
        early_stopping_patience=None,
        metric_for_best_model="eval_mean_token_accuracy",
        per_device_eval_batch_size=4,
    )
    code, last = Run(spec, tmp_path).rest()
    assert code == 0
    found = [event for event in record(spec) if isinstance(event, Evaluated)]
    assert [event.step for event in found] == [4, 8, 12, 14]
    shares = [event.accuracy for event in found if event.accuracy is not None]
    learnt = sum(len(row["completion"]) + 1 for row in EVAL)
    assert len(shares) == 4
    assert all(abs(share * learnt - round(share * learnt)) < 1e-4 for share in shares)
    first_best = found[shares.index(max(shares))].step
    assert isinstance(last, Finished)
    assert (last.saved_step or last.step) == first_best
