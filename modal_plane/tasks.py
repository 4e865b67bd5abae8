"""What a container asks: its inputs, its heartbeats, its outputs, its place in a cluster."""

import time

from modal_proto import api_pb2

from .scheduler import Scheduler
from .state import Input, Task, World
from .wire import Caller

CLUSTER_WAIT_SECONDS = 600.0


class Tasks:
    """RPCs that reach the plane through a container's own socket, so `caller.task` is set."""

    def __init__(self, world: World, scheduler: Scheduler) -> None:
        self.world, self.scheduler = world, scheduler

    async def ContainerHello(self, request: object, caller: Caller) -> None:
        return None

    async def ContainerHeartbeat(
        self, request: api_pb2.ContainerHeartbeatRequest, caller: Caller
    ) -> api_pb2.ContainerHeartbeatResponse:
        """A long poll as long as the client allows: between two heartbeats it would not hear of a cancellation."""
        task = _task(caller)
        task.seen_at = time.monotonic()
        await self.world.bell.until(lambda: task.cancelling, self.world.settings.heartbeat_interval_seconds)
        task.seen_at = time.monotonic()
        if not task.cancelling:
            return api_pb2.ContainerHeartbeatResponse()
        ids, task.cancelling = sorted(task.cancelling), set()
        return api_pb2.ContainerHeartbeatResponse(cancel_input_event=api_pb2.CancelInputEvent(input_ids=ids))

    async def FunctionGetInputs(
        self, request: api_pb2.FunctionGetInputsRequest, caller: Caller
    ) -> api_pb2.FunctionGetInputsResponse:
        task = _task(caller)
        task.is_idle = True
        try:
            entry = await self.world.bell.until(lambda: self._next(task), self.world.settings.idle_seconds)
        finally:
            task.is_idle = False
        if entry is None:
            return api_pb2.FunctionGetInputsResponse(inputs=[api_pb2.FunctionGetInputsItem(kill_switch=True)])
        self.scheduler.begin(entry, task)
        item = api_pb2.FunctionGetInputsItem(
            input_id=entry.id,
            input=entry.payload,
            function_call_id=entry.call.id,
            function_call_invocation_type=entry.call.invocation_type,  # type: ignore[arg-type]
            retry_count=entry.retry_count,
            function_map_idx=entry.idx,
        )
        return api_pb2.FunctionGetInputsResponse(inputs=[item])

    async def FunctionPutOutputs(self, request: api_pb2.FunctionPutOutputsRequest, caller: Caller) -> None:
        task = _task(caller)
        for item in request.outputs:
            entry = self.world.inputs.get(item.input_id)
            is_current = entry and task in entry.tasks and item.retry_count == entry.retry_count
            task.has_answered = True
            if entry and is_current and task.rank == 0:
                self.scheduler.complete(entry, item.result, item.data_format, task)

    async def TaskResult(self, request: api_pb2.TaskResultRequest, caller: Caller) -> None:
        """A container that could not even start: its module does not import."""
        _task(caller).failure = request.result

    async def ContainerStop(
        self, request: api_pb2.ContainerStopRequest, caller: Caller
    ) -> api_pb2.ContainerStopResponse:
        task = self.world.tasks.get(request.task_id) or caller.task
        if task:
            task.is_stopping = True
            if not request.graceful:
                self.scheduler.end(task, "stopped")
        return api_pb2.ContainerStopResponse()

    async def TaskClusterHello(
        self, request: api_pb2.TaskClusterHelloRequest, caller: Caller
    ) -> api_pb2.TaskClusterHelloResponse:
        """Waits until all of the cluster have said hello, then tells each its rank and all addresses."""
        task = _task(caller)
        task.cluster_ip = request.container_ip
        size = task.definition._experimental_group_size

        def complete() -> list[Task] | None:
            peers = [
                each for each in self.world.running_tasks() if each.cluster_id == task.cluster_id and each.cluster_ip
            ]
            return sorted(peers, key=lambda each: each.rank) if len(peers) == size else None

        self.world.bell.ring()
        peers = await self.world.bell.until(complete, CLUSTER_WAIT_SECONDS) or [task]
        return api_pb2.TaskClusterHelloResponse(
            cluster_id=task.cluster_id,
            cluster_rank=task.rank,
            container_ips=[each.cluster_ip for each in peers],
            container_ipv4_ips=["127.0.0.1" for _ in peers],
        )

    async def FunctionGetDynamicConcurrency(
        self, request: api_pb2.FunctionGetDynamicConcurrencyRequest, caller: Caller
    ) -> api_pb2.FunctionGetDynamicConcurrencyResponse:
        return api_pb2.FunctionGetDynamicConcurrencyResponse(concurrency=request.target_concurrency)

    def _next(self, task: Task) -> Input | None:
        """The input that this container was started for, then any other of its function."""
        if task.ending or task.is_stopping or not task.is_alive:
            return None
        if not task.has_fetched:
            return task.holding if task.holding and not task.holding.is_done else None
        return self.scheduler.take(task)


def _task(caller: Caller) -> Task:
    assert caller.task is not None, "asked by a client what only containers ask"
    return caller.task
