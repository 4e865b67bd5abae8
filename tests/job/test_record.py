"""The record, the lock, the limits and the words about a dead worker: all of the supervisor that needs no worker."""

import os
import resource
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from sftrun.contract import events, stopping
from sftrun.contract.jobspec import DatasetSpec, DataSource, JobSpec, ModelSpec, MoneySpec, TrainerSpec
from sftrun.contract.record_files import STOP
from sftrun.contract.stepplan import Precision, StepPlan
from sftrun.errors import RunBusy
from sftrun.job import failures
from sftrun.job.supervise import death
from sftrun.job.supervise.entry import take_lock
from sftrun.job.supervise.limits import Limits
from sftrun.job.supervise.pace import Pace
from sftrun.job.supervise.process import Worker
from sftrun.job.supervise.record import Record, spent
from sftrun.job.supervise.supervisor import Supervisor

START = events.Stage(name="start")
BEGUN = events.Started(run_id="r", attempt=1, host="h", pid=1, device="cpu", gpu_count=0)


def job(record_dir: Path, money: MoneySpec, timeout_seconds: float | None = None) -> JobSpec:
    return JobSpec(
        run_id="r",
        name="n",
        record_dir=str(record_dir),
        output_dir="/o",
        checkpoints_dir="/c",
        model=ModelSpec(name_or_path="/m"),
        dataset=DatasetSpec(train=(DataSource(files=("/d",)),)),
        trainer=TrainerSpec(),
        step=StepPlan(precision=Precision(step="bfloat16")),
        money=money,
        timeout_seconds=timeout_seconds,
    )


def test_numbers_go_on_over_attempts(tmp_path: Path) -> None:
    for attempt in (1, 2):
        record = Record(tmp_path / "events.jsonl")
        assert record.past.attempts == attempt - 1
        record.append(START, 100.0 * attempt)
        record.append(BEGUN, 100.0 * attempt + 2)
        record.append(events.Sample(when="before", index=0, prompt="p", text="t"), 100.0 * attempt + 10)
        record.close()
    found = Record(tmp_path / "events.jsonl").past
    assert (found.last_seq, found.attempts, found.seconds) == (6, 2, 20.0)
    assert spent(found, MoneySpec(usd_per_second=Decimal("0.5"), spent_usd=Decimal(0))) == Decimal("10.0")
    assert spent(found, MoneySpec(usd_per_second=Decimal("0.5"), spent_usd=Decimal(12))) == Decimal(12)


def test_what_an_attempt_said_it_spent_stands_whatever_a_second_costs_now(tmp_path: Path) -> None:
    record = Record(tmp_path / "events.jsonl")
    record.append(START, 100.0)
    record.append(events.Stopped(reason="budget", step=3, spent_usd=Decimal("1.5")), 110.0)
    record.append(START, 5000.0)
    record.append(BEGUN, 5004.0)
    record.append(events.Note(level="warning", message="said by the next supervisor, days later"), 90_000.0)
    record.close()
    found = Record(tmp_path / "events.jsonl").past
    assert spent(found, MoneySpec(usd_per_second=Decimal("0.01"), spent_usd=Decimal(0))) == Decimal("1.54")
    assert spent(found, MoneySpec(usd_per_second=Decimal("0.02"), spent_usd=Decimal(0))) == Decimal("1.58")


@pytest.mark.parametrize("torn", [b'{"seq":2,"kind":"no', b'{"seq":2}\n', b"\0\0\0\0"])
def test_a_torn_end_is_cut_away(torn: bytes, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    record = Record(path)
    record.append(START, 1.0)
    record.close()
    good = path.read_bytes()
    path.write_bytes(good + torn)
    record = Record(path)
    assert record.past.torn_bytes == len(torn)
    record.append(events.Note(message="on"), 2.0)
    assert [events.parse(line).seq for line in path.read_bytes().splitlines()] == [1, 2]


FULL_DISK = """
import resource, signal, sys
from sftrun.contract import events
from sftrun.job.supervise.record import Record
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
record = Record(Path(sys.argv[1]))
record.append(events.Note(message="a" * 100), 1.0)
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
try:
    record.append(events.Note(message="b" * 500), 2.0)
except OSError as error:
    print(error.errno)
"""


def test_a_write_that_fails_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    made = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True)
    assert int(made.stdout) in failures.DISK_ERRORS
    assert len(path.read_bytes().splitlines()) == 1
    assert path.read_bytes().endswith(b"\n")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 300


def test_a_held_lock_names_its_holder(tmp_path: Path) -> None:
    held = take_lock(tmp_path)
    with pytest.raises(RunBusy, match=rf"\(process {os.getpid()}, for \d+ s\) is at this run"):
        take_lock(tmp_path)
    os.close(held)
    os.close(take_lock(tmp_path))


def test_an_orphans_lock_is_waited_for(tmp_path: Path) -> None:
    held = take_lock(tmp_path)
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], pass_fds=(held,), stdin=subprocess.PIPE
    )
    os.pwrite(held, b'{"pid": 999999999, "host": "gone"}'.ljust(200), 0)
    os.close(held)
    with pytest.raises(RunBusy):
        take_lock(tmp_path, wait_seconds=0.2)
    orphan.communicate()
    os.close(take_lock(tmp_path))


def test_the_budget_is_reached_early_by_the_reserve(tmp_path: Path) -> None:
    money = MoneySpec(usd_per_second=Decimal("0.01"), max_usd=Decimal("1.00"), reserve_seconds=10.0)
    limits = Limits(job(tmp_path, money), spent_before=Decimal("0.40"))
    assert limits.spent(20.0) == Decimal("0.60")
    assert [limits.due(seconds) for seconds in (49.0, 50.0)] == [None, "budget"]
    assert [limits.overdue(seconds) for seconds in (59.0, 60.0)] == [None, "budget"]


def test_money_is_counted_at_the_price_of_the_gpu_that_came(tmp_path: Path) -> None:
    by_gpu = {"L4": Decimal("0.01"), "B200": Decimal("0.05")}
    money = MoneySpec(usd_per_second=Decimal("0.05"), by_gpu=by_gpu, max_usd=Decimal("1.00"))
    unknown = Limits(job(tmp_path, money), spent_before=Decimal(0))
    assert [limits.spent(20.0) for limits in (unknown, replace(unknown, device="NVIDIA L4"))] == [
        Decimal("1.00"), Decimal("0.20"),
    ]  # fmt: skip


def test_a_run_may_ask_for_a_larger_reserve_than_its_plan_but_no_smaller_one(tmp_path: Path) -> None:
    money = MoneySpec(usd_per_second=Decimal("0.01"), max_usd=Decimal("1.00"), reserve_seconds=10.0)
    limits = Limits(job(tmp_path, money), spent_before=Decimal(0))
    assert [limits.due(seconds, 30.0) for seconds in (69.0, 70.0)] == [None, "budget"]
    assert [limits.due(seconds, 1.0) for seconds in (89.0, 90.0)] == [None, "budget"]


def test_the_last_look_before_the_limit_ends_the_worker(tmp_path: Path) -> None:
    money = MoneySpec(usd_per_second=Decimal("0.01"), max_usd=Decimal("1.00"), reserve_seconds=10.0)
    limits = Limits(job(tmp_path, money), spent_before=Decimal(0))
    assert [limits.overdue(seconds, 2.0) for seconds in (97.0, 98.0)] == [None, "budget"]
    assert [limits.overdue(seconds, 60.0) for seconds in (94.0, 95.0)] == [None, "budget"]


def test_why_a_worker_was_ended_stands_however_long_it_takes_to_die(tmp_path: Path) -> None:
    money = MoneySpec(usd_per_second=Decimal("0.01"), max_usd=Decimal("1.00"), reserve_seconds=40.0)
    moments, record = iter((0.0, 85.0, 85.5)), Record(tmp_path / "events.jsonl")
    supervisor = Supervisor(job(tmp_path, money), record, -1, print, lambda: None, "user", clock=lambda: next(moments))
    sleeper = subprocess.Popen(["sleep", "600"], start_new_session=True)
    for _ in range(2):  # the first look comes after a long pause, and does not wait for another one
        supervisor._look_at_the_clock(Worker(sleeper, -1, tmp_path / "worker.log", 0))
        assert supervisor.killed_for == "budget"
    assert sleeper.wait() == -signal.SIGKILL
    record.close()


def test_a_pace_is_that_of_the_slowest(tmp_path: Path) -> None:
    pace = Pace()
    assert (pace.reserve_seconds, pace.silence_seconds("train"), pace.silence_seconds("save")) == (0.0, 600.0, 7200.0)
    pace.hear(events.ModelReady(parameters=10**9, trainable_parameters=10**9, total_steps=100), now=50.0)
    assert pace.silence_seconds("train") == 600.0  # the first checkpoint of 12 GB fits in it
    shape = {"total_steps": 100, "epoch": 0.1, "loss": 1.0, "learning_rate": 1e-4}
    pace.hear(events.Step(step=10, seconds_per_step=4.0, **shape), now=90.0)
    pace.hear(events.Step(step=20, seconds_per_step=3.0, **shape), now=120.0)
    pace.hear(events.Evaluated(step=22, loss=1.0, rows=9), now=158.0)
    pace.hear(events.Checkpoint(step=22, path="/c", seconds=20.0), now=178.0)
    assert (pace.step, pace.evaluation, pace.save) == (4.0, 30.0, 20.0)
    assert pace.reserve_seconds == 68.0
    pace.hear(events.Step(step=30, seconds_per_step=90.0, **shape), now=900.0)
    assert (pace.silence_seconds("train"), pace.silence_seconds("data")) == (1800.0, 7200.0)
    pace.hear(events.ModelReady(parameters=7 * 10**9, trainable_parameters=7 * 10**9, total_steps=100), now=901.0)
    assert pace.silence_seconds("train") == 4200.0


def test_the_timeout_counts_this_attempt_alone(tmp_path: Path) -> None:
    money = MoneySpec(usd_per_second=Decimal("0.01"), reserve_seconds=10.0)
    limits = Limits(job(tmp_path, money, timeout_seconds=100.0), spent_before=Decimal(50))
    assert [limits.due(seconds) for seconds in (89.0, 90.0)] == [None, "timeout"]


def test_the_first_reason_to_stop_stands(tmp_path: Path) -> None:
    assert stopping.requested(tmp_path) is None
    stopping.request(tmp_path, "budget")
    stopping.request(tmp_path, "user")
    assert stopping.requested(tmp_path) == "budget"
    (tmp_path / STOP).write_text("")
    assert stopping.requested(tmp_path) == "user"
    stopping.clear(tmp_path)
    assert stopping.requested(tmp_path) is None


def test_several_may_ask_for_a_stop_at_once(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    def ask(folder: Path) -> None:
        barrier.wait()
        stopping.request(folder, "user")

    with ThreadPoolExecutor(8) as askers:
        for number in range(100):
            (folder := tmp_path / str(number)).mkdir()
            for asked in [askers.submit(ask, folder) for _ in range(8)]:
                asked.result()
            assert [path.name for path in folder.iterdir()] == [STOP]


@pytest.mark.parametrize(
    ("code", "tail", "oom_kills", "kind", "words"),
    [
        (-9, (), 0, "killed", "the worker was killed (SIGKILL) in stage `train`"),
        (-9, (), 1, "out_of_memory", "the machine's memory is used up"),
        (1, ("torch.OutOfMemoryError: CUDA out of memory.",), 0, "out_of_memory", "the GPU ran out of memory"),
        (-11, (), 0, "error", "ended by SIGSEGV"),
        (-15, (), 0, "killed", "ended by SIGTERM"),
        (1, ("Boom",), 0, "error", "exit code 1"),
        (0, (), 0, "error", "without a word"),
    ],
)
def test_a_death_is_put_in_words(code: int, tail: tuple[str, ...], oom_kills: int, kind: str, words: str) -> None:
    said = death.explain(code, "train", tail, oom_kills, gpus=1)
    assert (said.failure, said.stage, said.tail) == (kind, "train", tail)
    assert words in said.message
    assert said.help


def test_the_tail_of_a_long_log_is_short(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert death.read_tail(log)[-1] == "line 99999"
    assert len(death.read_tail(log)) == death.TAIL_LINES
    assert death.read_tail(log, begin=log.stat().st_size) == ()


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError(28, "No space left on device", "/c/x"), "disk", "can't write /c/x: the disk is full"),
        (OSError(30, "Read-only file system", "/c/x"), "disk", "can't write /c/x: it is read-only"),
        (PermissionError(13, "Permission denied", "/c/x"), "disk", "can't write /c/x: permission denied"),
        (RuntimeError("PytorchStreamWriter failed writing file data/2"), "disk", "the disk is full"),
        (
            OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0"),
            "out_of_memory",
            "it wanted 2.50 GiB",
        ),
        (MemoryError(), "out_of_memory", "the machine ran out of memory"),
        (ModuleNotFoundError("No module named 'wandb'", name="wandb"), "package", "`wandb` is missing"),
        (ImportError("needs it: `pip install liger-kernel`"), "package", "liger-kernel"),
        (ValueError("odd"), "error", "ValueError: odd"),
    ],
)
def test_an_exception_is_put_in_words(error: Exception, kind: str, words: str) -> None:
    failure = failures.translate(error)
    assert failure.kind == kind
    assert words in failure.message
    assert failure.help
