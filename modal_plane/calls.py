"""Function calls as a client sees them: spawn, wait, look, cancel."""

import time
from collections.abc import AsyncIterator

from grpclib import Status
from modal_proto import api_pb2

from .scheduler import Scheduler
from .state import Call, Input, World, find, new_id, refuse
from .wire import Caller

LONGEST_POLL_SECONDS = 55.0
STATUS_FIELDS = {
    api_pb2.GenericResult.GENERIC_STATUS_SUCCESS: "succeeded_inputs",
    api_pb2.GenericResult.GENERIC_STATUS_FAILURE: "failed_inputs",
    api_pb2.GenericResult.GENERIC_STATUS_TIMEOUT: "timeout_inputs",
    api_pb2.GenericResult.GENERIC_STATUS_TERMINATED: "cancelled_inputs",
}


class Calls:
    def __init__(self, world: World, scheduler: Scheduler) -> None:
        self.world, self.scheduler = world, scheduler

    async def FunctionMap(self, request: api_pb2.FunctionMapRequest, caller: Caller) -> api_pb2.FunctionMapResponse:
        function = find(self.world.functions, request.function_id, "Function")
        app = self.world.apps[function.app_id]
        if app.is_stopped:
            refuse(Status.FAILED_PRECONDITION, f"App '{app.id}' is stopped")
        call = Call(new_id("fc"), function, request.function_call_invocation_type, request.parent_input_id)
        self.world.calls[call.id] = call
        put = self._put(call, list(request.pipelined_inputs))
        return api_pb2.FunctionMapResponse(
            function_call_id=call.id,
            pipelined_inputs=put,
            function_call_jwt=call.id,
            retry_policy=function.definition.retry_policy,
            max_inputs_outstanding=1000,
        )

    async def FunctionPutInputs(
        self, request: api_pb2.FunctionPutInputsRequest, caller: Caller
    ) -> api_pb2.FunctionPutInputsResponse:
        call = self._call(request.function_call_id)
        return api_pb2.FunctionPutInputsResponse(inputs=self._put(call, list(request.inputs)))

    async def FunctionGetOutputs(
        self, request: api_pb2.FunctionGetOutputsRequest, caller: Caller
    ) -> api_pb2.FunctionGetOutputsResponse:
        """Waits for an output in the asked range; an expired call has neither outputs nor unfinished inputs."""
        call = self._call(request.function_call_id)

        def outputs() -> list[api_pb2.FunctionGetOutputsItem]:
            asked = (
                each for each in call.inputs if request.start_idx <= each.idx <= request.end_idx and not call.is_expired
            )
            return [each.output for each in asked if each.output is not None]

        found = await self.world.bell.until(outputs, min(max(request.timeout, 0.0), LONGEST_POLL_SECONDS)) or []
        unfinished = sum(1 for each in call.inputs if not each.is_done and not call.is_expired)
        return api_pb2.FunctionGetOutputsResponse(
            outputs=found, idxs=[each.idx for each in found], num_unfinished_inputs=unfinished, last_entry_id="0-0"
        )

    async def FunctionCallGetInfo(
        self, request: api_pb2.FunctionCallGetInfoRequest, caller: Caller
    ) -> api_pb2.FunctionCallGetInfoResponse:
        call = self._call(request.function_call_id)
        info = api_pb2.FunctionCallInfo(
            function_call_id=call.id, created_at=call.created_at, total_inputs=len(call.inputs)
        )
        for entry in call.inputs:
            field = "pending_inputs" if entry.output is None else STATUS_FIELDS[entry.output.result.status]
            getattr(info, field).total += 1
        return api_pb2.FunctionCallGetInfoResponse(info=info)

    async def FunctionCallFromId(
        self, request: api_pb2.FunctionCallFromIdRequest, caller: Caller
    ) -> api_pb2.FunctionCallFromIdResponse:
        call = self._call(request.function_call_id)
        metadata = api_pb2.FunctionCallHandleMetadata(app_id=call.function.app_id, function_id=call.function.id)
        return api_pb2.FunctionCallFromIdResponse(
            function_call_id=call.id, num_inputs=len(call.inputs), metadata=metadata
        )

    async def FunctionGetCallGraph(
        self, request: api_pb2.FunctionGetCallGraphRequest, caller: Caller
    ) -> api_pb2.FunctionGetCallGraphResponse:
        calls = self._family(self._call(request.function_call_id))
        inputs = [
            api_pb2.InputCallGraphInfo(
                input_id=entry.id,
                status=entry.output.result.status if entry.output else 0,  # type: ignore[arg-type]
                function_call_id=call.id,
                task_id=entry.last_task_id,
            )
            for call in calls
            for entry in call.inputs
        ]
        infos = [
            api_pb2.FunctionCallCallGraphInfo(
                function_call_id=call.id,
                parent_input_id=call.parent_input_id,
                function_name=call.function.name,
                module_name=call.function.definition.module_name,
            )
            for call in calls
        ]
        return api_pb2.FunctionGetCallGraphResponse(inputs=inputs, function_calls=infos)

    async def FunctionCallCancel(self, request: api_pb2.FunctionCallCancelRequest, caller: Caller) -> None:
        self.scheduler.cancel(self._call(request.function_call_id), terminate=request.terminate_containers)

    async def FunctionCallPutDataOut(self, request: api_pb2.FunctionCallPutDataRequest, caller: Caller) -> None:
        """Outputs of a generator, from its container."""
        self._call(request.function_call_id).data_out.extend(request.data_chunks)
        self.world.bell.ring()

    async def FunctionCallGetDataOut(
        self, request: api_pb2.FunctionCallGetDataRequest, caller: Caller
    ) -> AsyncIterator[api_pb2.DataChunk]:
        call, last = self._call(request.function_call_id), request.last_index
        deadline = time.monotonic() + LONGEST_POLL_SECONDS
        while time.monotonic() < deadline:
            chunks = [chunk for chunk in call.data_out if chunk.index > last]
            for chunk in chunks:
                yield chunk
                last = chunk.index
            if call.is_done and not chunks:
                return
            if not chunks:
                await self.world.bell.rung(deadline - time.monotonic())

    def _call(self, call_id: str) -> Call:
        return find(self.world.calls, call_id, "FunctionCall")

    def _put(
        self, call: Call, items: list[api_pb2.FunctionPutInputsItem]
    ) -> list[api_pb2.FunctionPutInputsResponseItem]:
        entries = [Input(new_id("in"), item.idx, call, item.input) for item in items]
        for entry in entries:
            call.inputs.append(entry)
            self.world.inputs[entry.id] = entry
            self.scheduler.enqueue(entry)
        return [
            api_pb2.FunctionPutInputsResponseItem(idx=entry.idx, input_id=entry.id, input_jwt=entry.id)
            for entry in entries
        ]

    def _family(self, call: Call) -> list[Call]:
        """The call, what called it, and all that these called."""
        while call.parent_input_id in self.world.inputs:
            call = self.world.inputs[call.parent_input_id].call
        family, pending = [], [call]
        while pending:
            family.append(pending.pop())
            ids = {entry.id for entry in family[-1].inputs}
            pending += [each for each in self.world.calls.values() if each.parent_input_id in ids]
        return family
