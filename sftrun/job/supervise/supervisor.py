"""One attempt, watched: the loop that `entry` runs.

Each event of the worker is stamped, kept, then passed on; between them the loop looks at the clock.  Whatever happens,
exactly one of finished, stopped and failed ends the record.
"""

import contextlib
import os
import selectors
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType

from sftrun.contract import events, stopping
from sftrun.contract.events import AnyEvent, Failed, Finished, Note, Stage, Stopped, StopReason
from sftrun.contract.jobspec import JobSpec
from sftrun.disk import files
from sftrun.errors import SftrunError
from sftrun.job.failures import translate
from sftrun.job.output import finished_before, require_writable
from sftrun.job.supervise import checkpoints, death, process
from sftrun.job.supervise.limits import Limits
from sftrun.job.supervise.pace import Pace
from sftrun.job.supervise.process import Worker
from sftrun.job.supervise.record import DURABLE, Record, parse_line, spent

TICK_SECONDS = 0.5
GRACE_SECONDS = 60.0  # for a worker that has said its last word and does not end
PEER_SECONDS = 5.0  # a process that lost another machine often fails before that one's own word is here
EXIT_CODES = {"finished": 0, "failed": 3, "stopped": 4}
Peers = Callable[[float], Failed | None]


def alone(wait_seconds: float) -> Failed | None:
    """The word of other machines, where there are none."""
    return None


class Supervisor:
    """State of one attempt.  `run` returns the exit code."""

    def __init__(
        self,
        spec: JobSpec,
        record: Record,
        lock: int,
        emit: Callable[[str], None],
        commit: Callable[[], None],
        stop_reason: StopReason,
        peers: Peers = alone,
        ready: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec, self.record, self.lock, self.emit, self.commit = spec, record, lock, emit, commit
        self.stop_reason, self.peers, self.ready, self.clock = stop_reason, peers, ready, clock
        self.began = clock()
        past = record.past
        self.limits = Limits(spec, spent(past, spec.money))
        self.stage: events.StageName = "start"
        self.step = past.checkpoint.step if past.checkpoint else 0
        self.checkpoint = past.checkpoint.path if past.checkpoint else None
        self.last: AnyEvent | None = None
        self.killed_for: StopReason | None = None
        self.pace = Pace()
        self.looked_at = self.heard_at = self.began
        self.silent_for = 0.0
        self.signals = 0
        self.worker: Worker | None = None

    def run(self) -> int:
        """Start, watch, explain.  Never raises for what the worker or the disk does."""
        try:
            self._greet()
            if not self._settled_before() and not self._is_blocked() and self._has_sound_checkpoints():
                self._attempt()
        except OSError as error:
            return self._lost_the_disk(error)
        assert self.last is not None
        return EXIT_CODES[self.last.kind]

    def _greet(self) -> None:
        if torn := self.record.past.torn_bytes:
            self._keep(Note(level="warning", message=f"the last line of events.jsonl was torn: {torn} bytes cut away"))
        self._keep(Stage(name="start", detail="loading the libraries"))

    def _settled_before(self) -> bool:
        """Whether nothing is left to do: the adapter stands, or the money is gone."""
        past, reason = self.record.past, self.limits.due(0.0)
        done = finished_before(self.spec) if past.reached_save else None
        if done is not None and (reason or past.is_evaluated or self.spec.evaluation is None):
            self._end(done)
        elif reason:
            self._end(Stopped(reason=reason, step=self.step, checkpoint=self.checkpoint))
        return self.last is not None

    def _is_blocked(self) -> bool:
        """Whether a folder can't be written: better said now than after hours of training."""
        try:
            require_writable(self.spec)
        except OSError as error:
            failure = translate(error)
            self._end(Failed(failure="disk", stage="start", message=failure.message, help=failure.help))
        return self._ended()

    def _has_sound_checkpoints(self) -> bool:
        """Drop those that are not what was written: the worker goes on from the newest that stands."""
        try:
            found = checkpoints.find(self.spec.checkpoints_dir, self.spec.run_id, by_content=True)
        except SftrunError as error:
            self._end(Failed(failure="error", stage="start", message=error.message, help=error.help))
            return False
        for path, why in found.torn:
            self._keep(Note(level="warning", message=f"{path.name} is dropped: {why}"))
            checkpoints.discard(path)
        self.step, self.checkpoint = found.step, str(found.newest) if found.newest else None
        self.ready()
        return True

    def _attempt(self) -> None:
        job_file = Path(self.spec.record_dir) / "job.json"
        files.write(job_file, self.spec.model_dump_json(indent=1), durable=False)
        oom_before = death.count_oom_kills()
        with self._signals() as wake:
            worker = self.worker = process.start(self.spec, job_file, self.lock, self._deadline())
            try:
                self._watch(worker, wake)
            finally:
                code = worker.end(GRACE_SECONDS)
                os.close(worker.events)
        if not self._ended():
            self._explain(worker, code, death.count_oom_kills() - oom_before)

    def _deadline(self) -> float | None:
        """When the worker has to stop by itself, should this process be stopped; by the clock that both have."""
        left = self.limits.seconds_left()
        return None if left is None or self.clock is not time.monotonic else self.began + left

    def _watch(self, worker: Worker, wake: int) -> None:
        """Relay events until the worker is gone; the clock is looked at twice a second."""
        selector, buffer, ended_at = selectors.DefaultSelector(), bytearray(), None
        os.set_blocking(worker.events, False)
        selector.register(worker.events, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        with selector:
            while True:
                gone = worker.process.poll() is not None
                selector.select(0 if gone else TICK_SECONDS)
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 64)
                closed = self._drain(worker.events, buffer)
                if gone or closed:
                    return self._wait(worker)
                self._listen_to_peers(worker)
                self._look_at_the_clock(worker)
                ended_at = ended_at or (self.clock() if self._ended() else None)
                if ended_at is not None and self.clock() - ended_at > GRACE_SECONDS:
                    return None
                if not self._ended() and self._is_stalled():
                    stack = death.where(worker.process.pid, worker.log, worker.log_begin)
                    return self._end(death.stalled(stack, self.stage, self.silent_for))

    def _drain(self, source: int, buffer: bytearray) -> bool:
        """Take what is in the pipe; True at its end."""
        while True:
            try:
                data = os.read(source, 65_536)
            except BlockingIOError:
                return False
            self.heard_at = self.clock()
            buffer += data
            *lines, rest = bytes(buffer).split(b"\n") if data else [bytes(buffer)]
            buffer[:] = rest
            for line in lines:
                if (event := parse_line(line)) is not None and not self._ended():
                    self._take(event)
            if not data:
                return True

    def _wait(self, worker: Worker) -> None:
        """The pipe's end and the process's come apart: a worker that closed it has a moment left."""
        with contextlib.suppress(Exception):
            worker.process.wait(GRACE_SECONDS)

    def _take(self, event: AnyEvent) -> None:
        self.pace.hear(event, self.clock())
        match event:
            case events.Started():
                event = event.model_copy(update={"attempt": self.record.past.attempts + 1})
                self.limits = replace(self.limits, device=event.device)
            case Stage():
                self.stage = event.name
            case events.Step():
                self.step = event.step
            case events.Checkpoint():
                self.step, self.checkpoint = event.step, event.path
        if isinstance(event, Finished | Stopped | Failed):
            self._end(event)
        else:
            self._keep(event)

    def _end(self, event: Finished | Stopped | Failed) -> None:
        if isinstance(event, Failed) and self._is_by_a_taken_machine(event):
            event = Stopped(reason="preempted", step=self.step, checkpoint=self.checkpoint)
        if isinstance(event, Failed) and event.failure == "error":
            event = self.peers(PEER_SECONDS) or event
        if isinstance(event, Failed) and event.failure == "error" and not event.tail and self.worker is not None:
            event = event.model_copy(update={"tail": death.read_tail(self.worker.log, self.worker.log_begin)})
        self._keep(event.model_copy(update={"spent_usd": self.limits.spent(self._elapsed())}))

    def _is_by_a_taken_machine(self, event: Failed) -> bool:
        """Whether one of several machines, that had said so, was gone before all of them could save."""
        is_lost = self.spec.nodes > 1 and event.failure in ("error", "killed")
        return is_lost and stopping.requested(self.spec.record_dir) == "preempted"

    def _keep(self, event: AnyEvent) -> None:
        event, line = self.record.append(event, time.time())
        self.last = event if isinstance(event, Finished | Stopped | Failed) else None
        if isinstance(event, DURABLE):
            self.commit()
        self.emit(line)

    def _ended(self) -> bool:
        return self.last is not None

    def _elapsed(self) -> float:
        return self.clock() - self.began

    def _listen_to_peers(self, worker: Worker) -> None:
        if not self._ended() and (failed := self.peers(0.0)) is not None:
            self._end(failed)
            worker.kill()

    def _look_at_the_clock(self, worker: Worker) -> None:
        elapsed = self._elapsed()
        lap, self.looked_at = self.began + elapsed - self.looked_at, self.began + elapsed
        if self.signals:
            stopping.request(self.spec.record_dir, self.stop_reason)
        elif reason := self.limits.due(elapsed, self.pace.reserve_seconds):
            stopping.request(self.spec.record_dir, reason)
        # stands once it is there: after a shorter lap the worker, not dead yet, would not be overdue any more
        self.killed_for = self.killed_for or self._is_too_late(elapsed, lap)
        if self.killed_for:
            worker.kill()

    def _is_too_late(self, elapsed: float, lap: float) -> StopReason | None:
        """Why the worker has to end at once."""
        return self.stop_reason if self.signals > 1 else self.limits.overdue(elapsed, 2 * max(lap, TICK_SECONDS))

    def _is_stalled(self) -> bool:
        self.silent_for = self.clock() - self.heard_at
        return self.silent_for > self.pace.silence_seconds(self.stage)

    def _explain(self, worker: Worker, code: int, oom_kills: int) -> None:
        if self.killed_for:
            return self._end(Stopped(reason=self.killed_for, step=self.step, checkpoint=self.checkpoint))
        tail = death.read_tail(worker.log, worker.log_begin)
        return self._end(death.explain(code, self.stage, tail, oom_kills, self.spec.gpu_count))

    def _lost_the_disk(self, error: OSError) -> int:
        """An event could not be kept, so the run can't go on; said where it still can be."""
        free = shutil.disk_usage(self.spec.record_dir).free
        message = f"can't write {error.filename or self.record.path}: {error.strerror} ({free / 1e9:.1f} GB free)"
        event = Failed(failure="disk", stage=self.stage, message=message, help="make room there and run it again")
        try:
            self._end(event)
        except OSError:
            self.emit(events.dump(event.model_copy(update={"at": time.time(), "seq": self.record.seq + 1})))
        return EXIT_CODES["failed"]

    @contextlib.contextmanager
    def _signals(self) -> Iterator[int]:
        """SIGINT and SIGTERM counted, waking the loop through the descriptor; only a main thread may do so."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        if threading.current_thread() is not threading.main_thread():
            yield reading
        else:
            before = [(number, signal.signal(number, self._count)) for number in (signal.SIGINT, signal.SIGTERM)]
            woken = signal.set_wakeup_fd(writing)
            try:
                yield reading
            finally:
                signal.set_wakeup_fd(woken)
                for number, handler in before:
                    signal.signal(number, handler)
        os.close(reading)
        os.close(writing)

    def _count(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1
