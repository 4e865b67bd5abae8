"""Two machines, here on the loopback with gloo: one curve, one record, and an end for both when one of them ends."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from sftrun.contract import events, stopping
from sftrun.contract.events import Failed, Stopped
from sftrun.contract.jobspec import ClusterSpec, JobSpec
from tests import patience
from tests.job import tiny
from tests.job.runs import Run, as_here, at_step, curve, held_at_step, record, worker_below
from tests.warm.start import Warm

pytestmark = pytest.mark.slow
STEPS = {"max_steps": 8, "logging_steps": 1, "save_steps": 3, "gradient_accumulation_steps": 1}
PEER = [sys.executable, "-m", "tests.job.peering"]
ROOT = Path(__file__).parent.parent.parent

ABORTING = """
import os

os._exit = lambda code: os.abort()
"""


class Pair:
    """A job on two machines that share nothing: the second one has a folder of its own for its checkpoints."""

    def __init__(
        self,
        spec: JobSpec,
        folder: Path,
        env: dict[str, str] | None = None,
        of_the_first: dict[str, str] | None = None,
    ) -> None:
        """`env`: what the second machine sees besides; `of_the_first`: what the first one does."""
        port = free_port()
        first, second = (
            spec.model_copy(update={"nodes": 2, "cluster": ClusterSpec(rank=rank, address="::1", port=port)})
            for rank in (0, 1)
        )
        self.spec, self.second_disk = first, folder / "second"
        folder.mkdir(exist_ok=True)
        job = folder / "second.json"
        job.write_text(second.model_copy(update={"checkpoints_dir": str(self.second_disk)}).model_dump_json())
        seen = os.environ | as_here(spec) | (env or {})
        self.second = Warm([*PEER, str(job)], cwd=ROOT, stdout=subprocess.PIPE, env=seen, text=True)
        self.first = Run(first, folder, of_the_first)

    def second_says(self) -> Failed | None:
        printed, _ = self.second.communicate(timeout=patience.SECONDS)
        event = events.parse(printed) if printed else None
        return event if isinstance(event, Failed) else None


def free_port() -> int:
    """Below those that the kernel hands out, as it is bound only later; each process of the tests begins elsewhere."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with socket.socket(socket.AF_INET6) as held, suppress(OSError):
            held.bind(("::", port))
            return port
    raise AssertionError("no port is free")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tiny.write_rows(tmp_path / "rows.jsonl", tiny.make_rows(32))


def job(folder: Path, model: Path, data: Path, batch: int, **more: Any) -> JobSpec:
    changes = {"trainer": STEPS | {"per_device_train_batch_size": batch} | more.pop("trainer", {})}
    without_dropout = tiny.LoraSpec(r=4, lora_alpha=8.0)  # which draws by process
    return tiny.make_job(folder, model, data, **changes, lora=more.pop("lora", without_dropout), **more)


def test_two_machines_learn_what_one_process_does_with_their_batch(model: Path, data: Path, tmp_path: Path) -> None:
    first_is_best = {"metric_for_best_model": "eval_loss", "greater_is_better": True}
    trainer = {"load_best_model_at_end": True, "eval_steps": 3, "extra": first_is_best}
    best = {"trainer": trainer, "dataset": with_eval(data)}
    alone = Run(job(tmp_path / "alone", model, data, 4, **best), tmp_path / "alone")
    code, last = alone.rest()
    assert code == 0, last
    pair = Pair(job(tmp_path / "pair", model, data, 2, **best), tmp_path / "pair")
    code, last = pair.first.rest()
    assert (code, pair.second_says(), pair.second.returncode) == (0, None, 0), last
    expected, found = curve(record(alone.spec)), curve(record(pair.spec))
    assert sorted(found) == list(range(1, 9))
    for step, (loss, rate, tokens) in expected.items():
        assert found[step] == (pytest.approx(loss, abs=2e-5), rate, tokens)
    assert evaluations(pair.spec) == pytest.approx(evaluations(alone.spec), abs=2e-5)
    first, kept = weights(Path(pair.spec.checkpoints_dir) / "checkpoint-3"), weights(Path(pair.spec.output_dir))
    assert all(np.array_equal(kept[name], first[name]) for name in first)
    assert all(
        np.allclose(kept[name], found, atol=2e-5) for name, found in weights(Path(alone.spec.output_dir)).items()
    )


def test_a_machine_that_is_taken_away_says_so_again_where_nobody_answered(
    model: Path, data: Path, tmp_path: Path
) -> None:
    place = ClusterSpec(rank=1, address="::1", port=free_port())
    file = tmp_path / "second.json"
    file.write_text(job(tmp_path, model, data, 2).model_copy(update={"nodes": 2, "cluster": place}).model_dump_json())
    seen = os.environ | {"TAKEN": "1"}
    with Warm([*PEER, str(file)], cwd=ROOT, stdout=subprocess.PIPE, env=seen, text=True) as second:
        assert second.stdout is not None
        assert second.stdout.readline() == "watching\n"
        second.send_signal(signal.SIGINT)
        assert second.communicate(timeout=patience.SECONDS)[0].splitlines()[-1] == "None 2"


def test_what_is_gone_on_from_lies_on_the_first_machine_alone(model: Path, data: Path, tmp_path: Path) -> None:
    random = {"lora": tiny.LoraSpec(r=4, lora_alpha=8.0, lora_dropout=0.1)}
    whole = Pair(job(tmp_path / "whole", model, data, 2, **random), tmp_path / "whole")
    assert whole.first.rest()[0] == 0
    whole.second_says()
    (tmp_path / "sitecustomize.py").write_text(ABORTING)  # as gloo does to who hears nothing more while he leaves
    aborted = {"PYTHONPATH": str(tmp_path)}
    parts = job(tmp_path / "parts", model, data, 2, **random)
    pair = Pair(parts, tmp_path / "parts", aborted, held_at_step(2, parts))
    pair.first.until(at_step(2))
    pair.first.stop()
    assert pair.first.rest()[0] == 4
    stopping.clear(pair.spec.record_dir)
    assert pair.second_says() is None
    assert not pair.second_disk.exists()
    shutil.copytree(pair.spec.checkpoints_dir, pair.second_disk)
    again = Pair(pair.spec, tmp_path / "parts")
    code, last = again.first.rest()
    assert (code, again.second_says()) == (0, None), last
    expected, found = curve(record(whole.spec)), curve(record(pair.spec))
    assert {step: point[0] for step, point in found.items()} == pytest.approx(
        {step: point[0] for step, point in expected.items()}, abs=1e-6
    )


def test_a_process_that_dies_on_one_machine_ends_both(model: Path, data: Path, tmp_path: Path) -> None:
    pair = Pair(job(tmp_path, model, data, 2, trainer={"max_steps": 4000}), tmp_path)
    pair.first.until(at_step(2))
    os.kill(worker_below(pair.second.pid), signal.SIGKILL)
    code, last = pair.first.rest()
    assert code == 3
    assert isinstance(last, Failed)
    assert last.message.startswith("another process of the run was lost: ")
    assert "by peer" in last.message  # reset, or closed
    said = pair.second_says()
    assert said is not None
    assert said.message == "machine 2 of 2: the worker was killed (SIGKILL) in stage `train`"
    assert said.failure == "killed"


def test_a_machine_that_is_gone_before_all_could_save_is_no_failure(model: Path, data: Path, tmp_path: Path) -> None:
    pair = Pair(job(tmp_path, model, data, 2, trainer={"max_steps": 4000}), tmp_path)
    pair.first.until(at_step(4))
    worker = worker_below(pair.second.pid)
    os.kill(worker, signal.SIGSTOP)
    stopping.request(pair.spec.record_dir, "preempted")
    os.kill(worker, signal.SIGKILL)
    code, last = pair.first.rest()
    assert (code, last.kind) == (4, "stopped"), last
    assert isinstance(last, Stopped)
    assert last.reason == "preempted"
    assert last.checkpoint is not None
    assert Path(last.checkpoint).is_dir()
    pair.second_says()


def test_machines_that_see_different_checkpoints_refuse_to_train(model: Path, data: Path, tmp_path: Path) -> None:
    spec = job(tmp_path, model, data, 2, trainer={"max_steps": 4, "save_steps": 2})
    pair = Pair(spec, tmp_path)
    assert pair.first.rest()[0] == 0
    pair.second_says()
    pair = Pair(spec.model_copy(update={"output_dir": str(tmp_path / "elsewhere/adapter")}), tmp_path)
    code, last = pair.first.rest()
    assert code == 3
    assert isinstance(last, Failed)
    assert "would go on from steps [0, 4]" in last.message
    pair.second_says()


def with_eval(data: Path) -> Any:
    files = tiny.DataSource(files=(str(data),))
    return tiny.DatasetSpec(train=(files,), eval={"": files})


def evaluations(spec: JobSpec) -> list[float]:
    return [event.loss for event in record(spec) if isinstance(event, events.Evaluated)]


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "adapter_model.safetensors")
