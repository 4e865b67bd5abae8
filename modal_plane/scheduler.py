"""Decides when a container starts, for which input, on which GPU, and what its end means.

[model] Preempted inputs start again without counting; a crash counts towards `crash_limit`, which a deployed App
does not have; errors and timeouts follow the function's own retry policy.
"""

import asyncio
import time
from typing import Protocol

from modal_proto import api_pb2

from .state import SYSTEM, App, Call, Input, Task, World, new_id

Result = api_pb2.GenericResult
TICK_SECONDS = 0.1


class Launcher(Protocol):
    """Runs the process of a task; `run` returns its exit code."""

    async def run(self, task: Task) -> int: ...
    def interrupt(self, task: Task) -> None: ...
    def kill(self, task: Task) -> None: ...


class Scheduler:
    def __init__(self, world: World, launcher: Launcher) -> None:
        self.world, self.launcher = world, launcher
        self.queue: list[Input] = []
        self._runs: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()

    async def serve(self) -> None:
        looked_at = time.monotonic()
        while True:
            self._forgive(time.monotonic() - looked_at - TICK_SECONDS)
            looked_at = time.monotonic()
            self._end_what_fell_silent()
            for entry in list(self.queue):
                self._start(entry)
            await self.world.bell.rung(TICK_SECONDS)

    async def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        while running := self.world.running_tasks():
            for task in running:
                self.launcher.kill(task)
            await asyncio.wait(self._runs, timeout=1.0)

    # -- inputs ---------------------------------------------------------------------------------------------------

    def enqueue(self, entry: Input, delay_seconds: float = 0.0) -> None:
        entry.tasks, entry.loss = [], None
        entry.queued_at = time.monotonic()
        entry.not_before = entry.queued_at + delay_seconds
        self.queue.append(entry)
        self.world.bell.ring()

    def take(self, task: Task) -> Input | None:
        """Another input for a container that may serve several."""
        if task.definition.single_use_containers or task.definition.max_inputs == 1:
            return None
        for entry in self.queue:
            if entry.call.function is task.function and entry.not_before <= time.monotonic():
                self.queue.remove(entry)
                entry.tasks = [task]
                return entry
        return None

    def begin(self, entry: Input, task: Task) -> None:
        """The container has fetched its input: from here the function's timeout runs."""
        task.holding, task.has_fetched, task.has_answered = entry, True, False
        if task.rank == 0:
            entry.last_task_id = task.id
            entry.started_at = time.time()
            loop = asyncio.get_running_loop()
            self._timers.add(loop.call_later(task.definition.timeout_secs or 300, self._time_out, entry, task))

    def complete(self, entry: Input, result: Result, data_format: int, task: Task) -> None:
        """An output of the function itself; an error may be tried again."""
        retryable = result.status in (Result.GENERIC_STATUS_FAILURE, Result.GENERIC_STATUS_TIMEOUT)
        policy = task.definition.retry_policy
        if retryable and not task.failure and entry.retry_count < policy.retries and not entry.is_done:
            delay = policy.initial_delay_ms * (policy.backoff_coefficient or 1.0) ** entry.retry_count
            entry.retry_count += 1
            self.enqueue(entry, min(delay, policy.max_delay_ms or delay) / 1000)
        else:
            self._finish(entry, result, data_format)

    def cancel(self, call: Call, *, terminate: bool) -> None:
        for entry in call.inputs:
            working = [task for task in entry.tasks if task.is_alive and task.has_fetched and not task.ending]
            if entry.is_done:
                continue
            if working and not terminate:
                for task in working:
                    task.cancelling.add(entry.id)
                continue
            tasks = list(entry.tasks)
            self._finish(entry, Result(status=Result.GENERIC_STATUS_TERMINATED))
            for task in tasks:
                self.end(task, "cancelled")
        self.world.bell.ring()

    def expire(self, call: Call) -> None:
        """As after seven days: the result is gone."""
        call.is_expired = True
        self.world.bell.ring()

    # -- apps and tasks -------------------------------------------------------------------------------------------

    def stop_app(self, app: App) -> None:
        app.state, app.stopped_at = api_pb2.APP_STATE_STOPPED, app.stopped_at or time.time()
        for call in self.world.unfinished_calls(app.id):
            self.cancel(call, terminate=True)
        for task in self.world.running_tasks():
            if task.app is app:
                task.is_stopping = True
        self.world.bell.ring()

    def stop_app_if_done(self, app: App) -> None:
        if app.detached and app.is_disconnected and not app.is_stopped and not self.world.unfinished_calls(app.id):
            self.stop_app(app)

    def end(self, task: Task, why: str) -> None:
        """Kill the container with all its children; `why` decides what becomes of its input."""
        if task.is_alive:
            task.ending = task.ending or why
            self.launcher.kill(task)

    def preempt(self, task: Task, grace_seconds: float) -> None:
        """SIGINT, and SIGKILL when the grace is over; the input starts again elsewhere."""
        task.ending = task.ending or "preempted"
        self._say(task, f"Container {task.id} is being preempted.\n")
        if grace_seconds > 0:
            self.launcher.interrupt(task)
        timer = asyncio.get_running_loop().call_later(grace_seconds, self.launcher.kill, task)
        self._timers.add(timer)

    def _start(self, entry: Input) -> None:
        function, now = entry.call.function, time.monotonic()
        up = [task for task in self.world.running_tasks() if task.function is function]
        idle = any(task.is_idle and task.has_fetched for task in up)
        is_full = 0 < function.definition.concurrency_limit <= len(up)
        chosen = self._choose(entry) if entry.not_before <= now and not idle and not is_full else None
        if chosen is None:
            return
        self.queue.remove(entry)
        size, cluster_id = max(1, chosen._experimental_group_size), new_id("cu")
        asked = chosen.resources.gpu_config
        for rank in range(size):
            task = Task(new_id("ta"), self.world.apps[function.app_id], function, chosen, entry)
            task.gpu = self.world.settings.gpu_served.get(asked.gpu_type, asked.gpu_type)
            task.gpu_count, task.rank = (asked.count or 1) if task.gpu else 0, rank
            task.cluster_id = cluster_id if size > 1 else ""
            entry.tasks.append(task)
            self.world.tasks[task.id] = task
        for task in entry.tasks:
            run = asyncio.ensure_future(self._run(task))
            self._runs.add(run)
            run.add_done_callback(self._runs.discard)

    def _choose(self, entry: Input) -> api_pb2.Function | None:
        """The first of the preference list that is to be had now."""
        settings, waited = self.world.settings, time.monotonic() - entry.queued_at
        in_use = sum(task.gpu_count for task in self.world.running_tasks())
        for definition in entry.call.function.ranked:
            gpu = definition.resources.gpu_config
            has_quota = (
                not gpu.gpu_type or settings.gpu_quota is None or in_use + (gpu.count or 1) <= settings.gpu_quota
            )
            if has_quota and waited >= settings.gpu_delay_seconds.get(gpu.gpu_type.rstrip("!+"), 0.0):
                return definition
        return None

    async def _run(self, task: Task) -> None:
        try:
            task.exit_code = await self.launcher.run(task)
        except Exception as error:
            self.world.bugs.append(f"container {task.id} did not start: {error!r}")
            task.exit_code = 127
        task.finished_at = time.time()
        entry = task.holding
        if entry and not entry.is_done and task in entry.tasks:
            self._left(entry, task)
        self.stop_app_if_done(task.app)
        self.world.bell.ring()

    def _left(self, entry: Input, task: Task) -> None:
        """A container ended under its input.  Of a cluster all must have ended before the loss of one means anything.

        One that has answered is no loss, yet it may be the last to end.
        """
        if not task.has_answered:
            entry.loss = entry.loss or (task.ending, task.exit_code or 0)
        if entry.loss is None:
            return
        peers = [each for each in entry.tasks if each.is_alive]
        for peer in peers:
            self.end(peer, "peer lost")
        if not peers:
            self._judge(entry, task)

    def _judge(self, entry: Input, task: Task) -> None:
        why, code = entry.loss or ("", 0)
        if "preempted" in (why, *(each.ending for each in entry.tasks)):
            self.enqueue(entry)
        elif why == "timed out":
            text = f"Task's current input {entry.id} hit its timeout of {task.definition.timeout_secs}s"
            self.complete(entry, Result(status=Result.GENERIC_STATUS_TIMEOUT, exception=text), 0, task)
        elif why in ("cancelled", "stopped"):
            self._finish(entry, Result(status=Result.GENERIC_STATUS_TERMINATED))
        elif task.failure:
            self._finish(entry, task.failure)
        else:
            self._crashed(entry, task, "ran out of memory" if why == "out of memory" else f"exited with code {code}")

    def _crashed(self, entry: Input, task: Task, how: str) -> None:
        entry.crashes += 1
        self._say(task, f"Container {task.id} {how}.\n")
        if task.app.state != api_pb2.APP_STATE_DEPLOYED and entry.crashes >= self.world.settings.crash_limit:
            text = f"Container {how} {entry.crashes} times; giving up on input {entry.id}"
            self._finish(entry, Result(status=Result.GENERIC_STATUS_FAILURE, exception=text))
        else:
            self.enqueue(entry)

    def _finish(self, entry: Input, result: Result, data_format: int = 0) -> None:
        if entry.is_done:
            return
        if entry in self.queue:
            self.queue.remove(entry)
        entry.output = api_pb2.FunctionGetOutputsItem(
            result=result, idx=entry.idx, input_id=entry.id, data_format=data_format,  # type: ignore[arg-type]
            task_id=entry.last_task_id, input_started_at=entry.started_at, output_created_at=time.time(),
            retry_count=entry.retry_count,
        )  # fmt: skip
        self.stop_app_if_done(self.world.apps[entry.call.function.app_id])
        self.world.bell.ring()

    def _time_out(self, entry: Input, task: Task) -> None:
        if task in entry.tasks and task.holding is entry and not entry.is_done:
            self.end(task, "timed out")

    def _end_what_fell_silent(self) -> None:
        late = time.monotonic() - self.world.settings.heartbeat_timeout_seconds
        for task in self.world.running_tasks():
            if task.seen_at and task.seen_at + self.world.settings.heartbeat_interval_seconds < late:
                self.end(task, "silent")
        for app in self.world.apps.values():
            if not app.is_disconnected and app.seen_at < late:
                self._lose_client(app)

    def _forgive(self, late_seconds: float) -> None:
        """Whoever could not be heard while this process itself stood still."""
        if late_seconds > 10 * TICK_SECONDS:
            for task in self.world.running_tasks():
                task.seen_at += late_seconds if task.seen_at else 0.0
            for app in self.world.apps.values():
                app.seen_at += late_seconds

    def _lose_client(self, app: App) -> None:
        """As if it had disconnected: an ephemeral App ends, a detached one when its calls have."""
        if app.state == api_pb2.APP_STATE_EPHEMERAL:
            self.stop_app(app)
        elif app.state == api_pb2.APP_STATE_DETACHED:
            app.is_disconnected, app.state = True, api_pb2.APP_STATE_DETACHED_DISCONNECTED
            self.stop_app_if_done(app)

    def _say(self, task: Task, text: str) -> None:
        self.world.log(text, SYSTEM, app_id=task.app.id, task=task)
