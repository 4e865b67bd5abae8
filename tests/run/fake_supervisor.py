"""A supervisor that trains nothing and speaks the real one's files: lock, events, stop, log, checkpoints, output.

    python fake_supervisor.py JOB.json

`trainer.max_steps` is the length; FAKE_STEP_SECONDS how long a step takes; FAKE_FAIL_AT the step at which it fails;
FAKE_DIE=1 makes it end before it begins; FAKE_HOLD_AT the step at which it waits for `record_dir/go` (or a stop).
"""

import contextlib
import fcntl
import getpass
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from sftrun.contract import events
from sftrun.contract.output_marker import MARKER, OutputMarker

job = json.loads(Path(sys.argv[1]).read_text())
record = Path(job["record_dir"])
output = Path(job["output_dir"])
checkpoints = Path(job["checkpoints_dir"])
total = job["trainer"]["max_steps"]
pause = float(os.environ.get("FAKE_STEP_SECONDS", "0.01"))
signals: list[int] = []


def main() -> int:
    if os.environ.get("FAKE_DIE"):
        sys.exit("no module named torch")
    signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    lock = os.open(record / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 6
    who = {"pid": os.getpid(), "host": socket.gethostname(), "user": getpass.getuser(), "since": time.time()}
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(who).encode(), 0)
    return attempt()


def attempt() -> int:
    past = [json.loads(line) for line in lines()]
    seq = max((e["seq"] for e in past), default=0)
    attempts = sum(e["kind"] == "started" for e in past)
    first = max((e["step"] for e in past if e["kind"] == "checkpoint"), default=0)
    log = (record / "worker.log").open("a")
    with (record / "events.jsonl").open("a") as file:

        def say(event: events.Event) -> None:
            nonlocal seq
            seq += 1
            file.write(events.dump(event.model_copy(update={"seq": seq, "at": time.time()})) + "\n")
            file.flush()

        say(
            events.Started(
                run_id=job["run_id"],
                attempt=attempts + 1,
                host="here",
                pid=os.getpid(),
                device="cpu",
                gpu_count=0,
                resumed_from=first or None,
            )
        )
        say(events.Stage(name="data"))
        say(events.DataReady(format="text", rows=40, eval_rows=4, tokens=400, learnt_tokens=200))
        say(events.Stage(name="model"))
        say(events.ModelReady(parameters=1000, trainable_parameters=125, total_steps=total, first_step=first))
        say(events.Stage(name="samples_before"))
        say(events.Sample(when="before", index=0, prompt="hello", text="before \x1b[31mred"))
        say(events.Stage(name="train"))
        for step in range(first + 1, total + 1):
            time.sleep(pause)
            print(f"worker at step {step}", file=log, flush=True)
            loss = 3.0 / step**0.5
            say(
                events.Step(
                    step=step,
                    total_steps=total,
                    epoch=step / total,
                    loss=loss,
                    learning_rate=1e-3,
                    tokens_per_second=1234.5,
                    seconds_per_step=pause,
                    memory_gb=0.5,
                )
            )
            while str(step) == os.environ.get("FAKE_HOLD_AT") and not is_released():
                time.sleep(0.01)
            if len(signals) > 1:
                say(events.Stopped(reason="user", step=first))
                return 4
            stop = signals or (record / "stop").exists()
            if stop or step % job["trainer"]["save_steps"] == 0:
                (checkpoints / f"checkpoint-{step}").mkdir(parents=True, exist_ok=True)
                say(events.Checkpoint(step=step, path=str(checkpoints / f"checkpoint-{step}"), seconds=0.01))
            if stop:
                say(events.Stopped(reason="user", step=step, checkpoint=str(checkpoints / f"checkpoint-{step}")))
                return 4
            if str(step) == os.environ.get("FAKE_FAIL_AT"):
                say(events.Failed(failure="out_of_memory", stage="train", message="CUDA is out", help="buy more"))
                return 3
        say(events.Evaluated(step=total, loss=0.5, rows=4))
        say(events.Stage(name="samples_after"))
        say(events.Sample(when="after", index=0, prompt="hello", text="after"))
        say(events.Stage(name="save"))
        output.mkdir(parents=True, exist_ok=True)
        (output / "adapter_model.safetensors").write_bytes(b"weights")
        (output / MARKER).write_text(marker().model_dump_json())
        say(events.Finished(step=total, train_loss=0.7, output_dir=str(output), memory_gb=0.6))
    return 0


def marker() -> OutputMarker:
    told = {"name": job["name"], "base_model": job["model"]["name_or_path"], "revision": None, "adapter": True}
    return OutputMarker(run_id=job["run_id"], format="text", step=1, train_loss=0.7, memory_gb=0.6, **told)


def is_released() -> bool:
    return bool(signals) or (record / "stop").exists() or (record / "go").exists()


def lines() -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return (record / "events.jsonl").read_text().splitlines()
    return []


sys.exit(main())
