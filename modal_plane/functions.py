"""Functions: created by an App, looked up by name when deployed, re-bound with other options."""

from grpclib import Status
from modal_proto import api_pb2

from .apps import Apps
from .scheduler import Scheduler
from .state import Function, World, find, new_id, refuse
from .wire import Caller

# What `Function.with_options` may replace one to one.
OPTIONS = ("timeout_secs", "concurrency_limit", "task_idle_timeout_secs", "cloud_provider_str")


class Functions:
    def __init__(self, world: World, apps: Apps, scheduler: Scheduler) -> None:
        self.world, self.apps, self.scheduler = world, apps, scheduler

    async def FunctionPrecreate(
        self, request: api_pb2.FunctionPrecreateRequest, caller: Caller
    ) -> api_pb2.FunctionPrecreateResponse:
        app = find(self.world.apps, request.app_id, "App")
        function_id = request.existing_function_id or new_id("fu")
        metadata = api_pb2.FunctionHandleMetadata(
            function_name=request.function_name,
            function_type=request.function_type,
            definition_id=new_id("de"),
            function_schema=request.function_schema,
            supported_input_formats=request.supported_input_formats,
            supported_output_formats=request.supported_output_formats,
            app_id=app.id,
        )
        ranked = self.world.functions[function_id].ranked if function_id in self.world.functions else []
        self.world.functions[function_id] = Function(function_id, app.id, request.function_name, metadata, ranked)
        return api_pb2.FunctionPrecreateResponse(function_id=function_id, handle_metadata=metadata)

    async def FunctionCreate(
        self, request: api_pb2.FunctionCreateRequest, caller: Caller
    ) -> api_pb2.FunctionCreateResponse:
        """A list of GPUs comes as `function_data` with one definition for each, anything else as `function`."""
        function = find(self.world.functions, request.existing_function_id, "Function")
        if request.HasField("function_data"):
            by_rank = sorted(request.function_data.ranked_functions, key=lambda each: each.rank)
            function.ranked = [each.function for each in by_rank]
        else:
            function.ranked = [request.function]
        self._check(function)
        return api_pb2.FunctionCreateResponse(
            function_id=function.id, function_data=_data(function), handle_metadata=function.metadata
        )

    async def FunctionGet(self, request: api_pb2.FunctionGetRequest, caller: Caller) -> api_pb2.FunctionGetResponse:
        app = self.apps.deployed(request.app_name)
        if app is None or request.object_tag not in app.function_ids:
            refuse(Status.NOT_FOUND, f"Function '{request.object_tag}' of App '{request.app_name}' not found")
        function = self.world.functions[app.function_ids[request.object_tag]]
        return api_pb2.FunctionGetResponse(
            function_id=function.id, handle_metadata=function.metadata, function=_data(function)
        )

    async def FunctionGetById(
        self, request: api_pb2.FunctionGetByIdRequest, caller: Caller
    ) -> api_pb2.FunctionGetByIdResponse:
        function = find(self.world.functions, request.function_id, "Function")
        return api_pb2.FunctionGetByIdResponse(function=_data(function), handle_metadata=function.metadata)

    async def FunctionBindParams(
        self, request: api_pb2.FunctionBindParamsRequest, caller: Caller
    ) -> api_pb2.FunctionBindParamsResponse:
        base = find(self.world.functions, request.function_id, "Function")
        definition = api_pb2.Function()
        definition.CopyFrom(base.definition)
        _apply(definition, request.function_options)
        bound = Function(new_id("fu"), base.app_id, base.name, base.metadata, [definition])
        self.world.functions[bound.id] = bound
        return api_pb2.FunctionBindParamsResponse(bound_function_id=bound.id, handle_metadata=bound.metadata)

    async def FunctionGetCurrentStats(
        self, request: api_pb2.FunctionGetCurrentStatsRequest, caller: Caller
    ) -> api_pb2.FunctionStats:
        function = find(self.world.functions, request.function_id, "Function")
        tasks = [task for task in self.world.running_tasks() if task.function is function]
        return api_pb2.FunctionStats(
            backlog=sum(1 for entry in self.scheduler.queue if entry.call.function is function),
            num_total_tasks=len(tasks),
            num_running_inputs=sum(1 for task in tasks if task.holding and task.has_fetched),
        )

    def _check(self, function: Function) -> None:
        """What the service refuses and the client lets pass."""
        definition = function.definition
        if not 1 <= definition.timeout_secs <= 86400:
            refuse(
                Status.INVALID_ARGUMENT,
                f"timeout must be between 1 second and 24 hours, not {definition.timeout_secs} s",
            )
        if definition.retry_policy.retries > 10:
            refuse(Status.INVALID_ARGUMENT, f"retries must be at most 10, not {definition.retry_policy.retries}")
        if not self.world.functions or definition.image_id not in self.world.images:
            refuse(Status.NOT_FOUND, f"Image '{definition.image_id}' not found")


def _data(function: Function) -> api_pb2.FunctionData:
    """The echo that the client insists on; without a ranked function it raises ValueError."""
    ranked = [
        api_pb2.FunctionData.RankedFunction(rank=rank, function=each) for rank, each in enumerate(function.ranked)
    ]
    return api_pb2.FunctionData(
        module_name=function.definition.module_name,
        function_name=function.definition.function_name,
        function_type=function.definition.function_type,
        timeout_secs=function.definition.timeout_secs,
        startup_timeout_secs=function.definition.startup_timeout_secs,
        ranked_functions=ranked,
    )


def _apply(definition: api_pb2.Function, options: api_pb2.FunctionOptions) -> None:
    for name in OPTIONS:
        if value := getattr(options, name):
            setattr(definition, name, value)
    if options.HasField("resources"):
        definition.resources.CopyFrom(options.resources)
    if options.HasField("retry_policy"):
        definition.retry_policy.CopyFrom(options.retry_policy)
    if options.replace_volume_mounts:
        del definition.volume_mounts[:]
        definition.volume_mounts.extend(options.volume_mounts)
    if options.replace_secret_ids:
        del definition.secret_ids[:]
        definition.secret_ids.extend(options.secret_ids)
