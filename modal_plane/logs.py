"""Logs of Apps and calls: streamed as they come, counted and fetched afterwards."""

import math
import time
from collections import Counter
from collections.abc import AsyncIterator

from modal_proto import api_pb2

from .state import STDERR, STDOUT, SYSTEM, LogLine, World
from .wire import Caller

STREAM_SECONDS = 55.0
BATCH_LINES = 200


class Logs:
    def __init__(self, world: World) -> None:
        self.world = world

    async def AppGetLogs(
        self, request: api_pb2.AppGetLogsRequest, caller: Caller
    ) -> AsyncIterator[api_pb2.TaskLogsBatch]:
        """Lines after `last_entry_id` until the timeout, or until the App has stopped and all is said."""
        deadline = time.monotonic() + min(request.timeout or STREAM_SECONDS, STREAM_SECONDS)
        said = self._start(request.last_entry_id)
        while True:
            new, said = self.world.logs[said:], len(self.world.logs)
            for line in new:
                if _matches(line, request, request.file_descriptor):
                    yield _batch([line])
            if self._is_over(request.app_id) and said == len(self.world.logs):
                yield api_pb2.TaskLogsBatch(app_done=True, entry_id=str(said))
                return
            if time.monotonic() >= deadline:
                return
            if said == len(self.world.logs):
                await self.world.bell.rung(deadline - time.monotonic())

    async def AppCountLogs(self, request: api_pb2.AppCountLogsRequest, caller: Caller) -> api_pb2.AppCountLogsResponse:
        width = request.bucket_secs or 60
        counts: dict[int, Counter[int]] = {kind: Counter() for kind in (STDOUT, STDERR, SYSTEM)}
        for line in self._between(request):
            counts[line.source][math.floor(line.at_ns / 1e9 / width) * width] += 1
        first = math.floor(request.since.ToNanoseconds() / 1e9 / width) * width
        last = math.floor(request.until.ToNanoseconds() / 1e9 / width) * width
        buckets = [_bucket(at, counts) for at in range(first, last + 1, width)]
        return api_pb2.AppCountLogsResponse(app_id=request.app_id, buckets=buckets)

    async def AppFetchLogs(self, request: api_pb2.AppFetchLogsRequest, caller: Caller) -> api_pb2.AppFetchLogsResponse:
        lines = self._between(request)[-(request.limit or 5000) :]
        groups = [lines[at : at + BATCH_LINES] for at in range(0, len(lines), BATCH_LINES)]
        return api_pb2.AppFetchLogsResponse(batches=[batch for group in groups for batch in _by_task(group)])

    def _start(self, last_entry_id: str) -> int:
        if last_entry_id:
            return int(last_entry_id)
        return 0 if self.world.settings.replays_logs else len(self.world.logs)

    def _is_over(self, app_id: str) -> bool:
        app = self.world.apps.get(app_id)
        return app is not None and app.is_stopped and not any(task.app is app for task in self.world.running_tasks())

    def _between(self, request: api_pb2.AppFetchLogsRequest | api_pb2.AppCountLogsRequest) -> list[LogLine]:
        since, until = request.since.ToNanoseconds(), request.until.ToNanoseconds() or 1 << 62
        return [
            line for line in self.world.logs if since <= line.at_ns < until and _matches(line, request, request.source)
        ]


def _matches(
    line: LogLine,
    request: api_pb2.AppGetLogsRequest | api_pb2.AppFetchLogsRequest | api_pb2.AppCountLogsRequest,
    source: int,
) -> bool:
    wanted = (
        (request.app_id, line.app_id),
        (request.function_id, line.function_id),
        (request.function_call_id, line.call_id),
        (request.task_id, line.task_id),
    )
    return (
        all(not asked or asked == has for asked, has in wanted)
        and (not source or source == line.source)
        and request.search_text in line.text
    )


def _batch(lines: list[LogLine]) -> api_pb2.TaskLogsBatch:
    items = [
        api_pb2.TaskLogs(
            data=line.text,
            timestamp=line.at_ns / 1e9,
            timestamp_ns=line.at_ns,
            file_descriptor=line.source,  # type: ignore[arg-type]
            function_call_id=line.call_id,
            input_id=line.input_id,
            container_id=line.task_id,
        )
        for line in lines
    ]
    last = lines[-1]
    return api_pb2.TaskLogsBatch(
        items=items,
        entry_id=str(last.number),
        task_id=last.task_id,
        function_id=last.function_id,
        input_id=last.input_id,
    )


def _by_task(lines: list[LogLine]) -> list[api_pb2.TaskLogsBatch]:
    batches: list[list[LogLine]] = []
    for line in lines:
        if batches and batches[-1][-1].task_id == line.task_id:
            batches[-1].append(line)
        else:
            batches.append([line])
    return [_batch(each) for each in batches]


def _bucket(at: int, counts: dict[int, Counter[int]]) -> api_pb2.AppCountLogsResponse.LogBucket:
    bucket = api_pb2.AppCountLogsResponse.LogBucket(
        stdout_logs=counts[STDOUT][at], stderr_logs=counts[STDERR][at], system_logs=counts[SYSTEM][at]
    )
    bucket.bucket_start_at.FromSeconds(at)
    return bucket
