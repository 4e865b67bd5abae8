"""The fast path in the worker: what rows teach doesn't depend on how they lie in a batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from sftrun.contract.choices import Attention
from sftrun.contract.events import Disobeyed, Finished, Note, Step
from sftrun.contract.jobspec import (
    DatasetSpec,
    DataSource,
    JobSpec,
    LoraSpec,
    ModelSpec,
    QuantizationSpec,
    TrainerSpec,
)
from sftrun.contract.row_rules import RowRules
from sftrun.job.fast import attention as attentions
from sftrun.job.fast import fast_path, head
from sftrun.job.fast.attention import BoundsCollator, UnsupportedAttention
from sftrun.step import cuda_graphs
from tests import steps as planned
from tests.job import tiny
from tests.job.runs import Run, at_step, held_at_step, record

ROWS = 12
PLAIN_LORA = LoraSpec(r=4, lora_alpha=8.0)


def job(
    folder: Path,
    model: Path,
    attention: Attention,
    trainer: dict[str, Any],
    step: dict[str, Any] | None = None,
    /,
    **changes: Any,
) -> JobSpec:
    """All rows in one step, three times, and once more in an evaluation."""
    folder.mkdir()
    data = tiny.write_rows(folder / "rows.jsonl", tiny.make_rows(ROWS))
    source = DataSource(files=(str(data),))
    settings = {"max_steps": 3, "logging_steps": 1, "per_device_train_batch_size": ROWS, "eval_steps": 3}
    sections: dict[str, Any] = {
        "model": ModelSpec(name_or_path=str(model), dtype="float32"),
        "lora": PLAIN_LORA,
        "dataset": DatasetSpec(train=(source,), eval={"": source}),
        "rows": RowRules(instruction_template="plain"),
    }
    made = tiny.make_job(folder, model, data, trainer=settings | trainer)
    return planned.changed(made, sections | changes, attention=attention, **(step or {}))


def finish(spec: JobSpec, folder: Path) -> list[Any]:
    code, last = Run(spec, folder).rest()
    assert (code, last.kind) == (0, "finished"), last
    found = record(spec)
    assert [event for event in found if isinstance(event, Disobeyed)] == []
    return found


def steps(found: list[Any]) -> list[Step]:
    return [event for event in found if isinstance(event, Step)]


FREE = {"layout": "padding_free"}  # which a CPU's steps would not be
LAYOUTS: dict[str, tuple[Attention, dict[str, Any], dict[str, Any]]] = {
    "padding-free": ("varlen", {"extra": {"pad_to_multiple_of": 256}}, FREE),
    "packed, varlen": ("varlen", {"packing": True, "extra": {"pad_to_multiple_of": ROWS * 256}}, {}),
    "packed, sdpa": ("sdpa", {"packing": True}, {}),
    "packed, eager": ("eager", {"packing": True}, {}),
}


@pytest.mark.slow
def test_packed_and_padding_free_rows_teach_what_padded_rows_teach(model: Path, tmp_path: Path) -> None:
    expected = finish(job(tmp_path / "padded", model, "sdpa", {}), tmp_path / "padded")
    for name, (attention, trainer, step) in LAYOUTS.items():
        found = finish(job(tmp_path / name, model, attention, trainer, step), tmp_path / name)
        for one, other in zip(steps(found), steps(expected), strict=True):
            assert one.loss == pytest.approx(other.loss, rel=1e-5), name
            assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-4), name
            assert one.tokens == other.tokens, name  # filling is nobody's token
        losses = [next(event.loss for event in events if event.kind == "eval") for events in (found, expected)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5), name


@pytest.mark.slow
def test_two_processes_teach_what_one_teaches(model: Path, tmp_path: Path) -> None:
    rows = {"per_device_train_batch_size": ROWS // 2, "per_device_eval_batch_size": 3}
    two = job(tmp_path / "two", model, "varlen", LAYOUTS["padding-free"][1] | rows, FREE, gpu_count=2)
    expected, found = finish(job(tmp_path / "one", model, "sdpa", {}), tmp_path / "one"), finish(two, tmp_path / "two")
    for one, other in zip(steps(found), steps(expected), strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-5)
        assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-4)
        assert one.tokens == other.tokens
    losses = [next(event.loss for event in events if event.kind == "eval") for events in (found, expected)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.slow
def test_compiled_layers_over_copied_weights_train_the_same(model: Path, tmp_path: Path) -> None:
    nf4 = QuantizationSpec(load_in_4bit=True, bnb_4bit_compute_dtype="float32")
    plain = job(tmp_path / "plain", model, "varlen", {"packing": True}, quantization=nf4)
    fast = {"compiled": True, "dequantized": True, "checkpointed": True}
    quick = job(tmp_path / "quick", model, "varlen", {"packing": True}, fast, quantization=nf4)
    expected, found = finish(plain, tmp_path / "plain"), finish(quick, tmp_path / "quick")
    notes = [event.message for event in found if isinstance(event, Note)]
    assert "14 LoRA projections in 8 products, frozen weights dequantised once" in notes
    assert "2 decoder layers compiled; the first steps are slow" in notes
    for one, other in zip(steps(found), steps(expected), strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-3)


@pytest.mark.slow
def test_a_run_with_loaders_and_filling_goes_on_where_it_was_stopped(model: Path, tmp_path: Path) -> None:
    extra = {"pad_to_multiple_of": 512, "dataloader_num_workers": 2, "dataloader_persistent_workers": True}
    trainer = {"packing": True, "max_steps": 9, "per_device_train_batch_size": 1, "bf16": True, "extra": extra}
    # an adapter in 16 bits over 4-bit weights: PEFT makes new parameters of it when it is loaded
    in_4bit = {
        "model": ModelSpec(name_or_path=str(model), dtype="bfloat16"),
        "quantization": QuantizationSpec(load_in_4bit=True),
    }
    whole, broken = (job(tmp_path / name, model, "varlen", trainer, **in_4bit) for name in ("whole", "broken"))
    run = Run(broken, tmp_path / "broken", held_at_step(4, broken))
    run.until(at_step(4))
    run.kill_worker()
    assert run.rest()[0] == 3
    expected, found = finish(whole, tmp_path / "whole"), finish(broken, tmp_path / "broken")
    assert {e.step: (e.loss, e.tokens, e.grad_norm) for e in steps(found)} == {
        e.step: (e.loss, e.tokens, e.grad_norm) for e in steps(expected)
    }
    ends = [next(e.train_loss for e in events if isinstance(e, Finished)) for events in (found, expected)]
    assert ends[0] == ends[1]


def spec(**changes: Any) -> JobSpec:
    base: dict[str, Any] = {
        "run_id": "r",
        "name": "n",
        "record_dir": "/r",
        "output_dir": "/o",
        "checkpoints_dir": "/c",
        "model": ModelSpec(name_or_path="/m"),
        "lora": PLAIN_LORA,
        "dataset": DatasetSpec(train=(DataSource(files=("/d.jsonl",)),)),
        "trainer": TrainerSpec(),
    }
    step = {"attention": "varlen"} | changes.pop("step", {})
    return planned.job(base | changes, planned.GPU, **step)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"quantization": QuantizationSpec(load_in_4bit=True)}, None),
        ({"lora": None}, None),
        ({"lora": PLAIN_LORA.model_copy(update={"lora_dropout": 0.1})}, "`lora_dropout` is above 0"),
        ({"lora": PLAIN_LORA.model_copy(update={"use_dora": True})}, "`use_dora` scales each output"),
        ({"lora": PLAIN_LORA.model_copy(update={"bias": "all"})}, "`bias` trains the frozen layers' biases"),
        ({"quantization": QuantizationSpec(load_in_8bit=True)}, "8-bit weights are bitsandbytes' own"),
        ({"step": {"sharded": True}}, "the weights are sharded"),
        (
            {"trainer": TrainerSpec(bf16=False, fp16=True)},
            "the weights compute in bfloat16, the step in float16",
        ),
    ],
)
def test_lora_rides_in_the_frozen_products_where_that_is_the_same(changes: dict[str, Any], reason: str | None) -> None:
    step = spec(**changes).step
    assert step.unfused_because == reason
    assert step.fused_lora == (reason is None and changes.get("lora", PLAIN_LORA) is not None)


def flat(rows: Any) -> dict[str, Any]:
    ids = torch.cat([torch.tensor(row["input_ids"]) for row in rows])
    ids = torch.nn.functional.pad(ids, (0, 8 - len(ids)))
    labels = torch.tensor([[-100, -100, 7, -100, 9, -100, -100, -100]])
    return {"input_ids": ids[None], "position_ids": torch.tensor([[0, 1, 2, 0, 1, 0, 0, 0]]), "labels": labels}


def test_a_batch_says_where_rows_begin_and_what_is_learnt() -> None:
    batch = fast_path.collator(spec(), flat, LlamaConfig())([{"input_ids": [5, 6, 7]}, {"input_ids": [8, 9]}])
    assert batch[head.TOKENS] == 5
    assert batch["cu_seq_lens_q"].tolist()[:4] == [0, 3, 5, 8]
    assert batch[head.LEARNT].tolist() == [1, 3]
    assert batch[head.TARGETS].tolist() == [7, 9]


def test_other_engines_and_kernels_keep_their_collator() -> None:
    for other in ({"trainer": TrainerSpec(engine="unsloth")}, {"step": {"attention": "sdpa"}}):
        made = fast_path.collator(spec(**other), flat, LlamaConfig())
        assert isinstance(made, head.LearntCollator)
        assert not isinstance(made.inner, BoundsCollator)


def test_a_refusal_becomes_a_failure_that_says_what_to_write() -> None:
    failure = fast_path.refused(UnsupportedAttention("`varlen` can't; write `attn_implementation: eager`"))
    assert (failure.kind, failure.message, failure.help) == (
        "model",
        "`varlen` can't",
        "write `attn_implementation: eager`",
    )


@pytest.mark.parametrize(
    ("capability", "head_dim", "longest"), [((9, 0), 96, 2048), ((9, 0), 112, 1024), ((8, 0), 96, 1024)]
)
def test_job_and_plan_round_the_longest_row_alike(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], head_dim: int, longest: int
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert attentions.captured_steps(LlamaConfig(head_dim=head_dim), 2048) == (16, longest)
    assert cuda_graphs.longest_step(2048, capability, head_dim) == longest
