"""Workspace, environment and Apps: who one is, which Apps there are, and when they stop.

[model] A detached App that its client has left lives until its last call ends; an ephemeral one stops with its client.
"""

import time

from grpclib import Status
from modal_proto import api_pb2

from .scheduler import Scheduler
from .state import App, World, find, new_id, refuse
from .wire import Caller

DETACHED, DEPLOYED, STOPPED = api_pb2.APP_STATE_DETACHED, api_pb2.APP_STATE_DEPLOYED, api_pb2.APP_STATE_STOPPED


class Workspace:
    def __init__(self, world: World) -> None:
        self.world = world

    async def ClientHello(self, request: object, caller: Caller) -> api_pb2.ClientHelloResponse:
        return api_pb2.ClientHelloResponse(image_builder_version=self.world.settings.image_builder_version)

    async def WorkspaceNameLookup(self, request: object, caller: Caller) -> api_pb2.WorkspaceNameLookupResponse:
        name = self.world.settings.workspace
        return api_pb2.WorkspaceNameLookupResponse(workspace_name=name, username=name)

    async def EnvironmentList(self, request: object, caller: Caller) -> api_pb2.EnvironmentListResponse:
        return api_pb2.EnvironmentListResponse(
            items=[api_pb2.EnvironmentListItem(name=self.world.settings.environment)]
        )

    async def EnvironmentGetOrCreate(
        self, request: api_pb2.EnvironmentGetOrCreateRequest, caller: Caller
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        name = request.deployment_name or self.world.settings.environment
        if name != self.world.settings.environment:
            refuse(Status.NOT_FOUND, f"Environment '{name}' not found")
        version = self.world.settings.image_builder_version
        metadata = api_pb2.EnvironmentMetadata(
            name=name, settings=api_pb2.EnvironmentSettings(image_builder_version=version)
        )
        return api_pb2.EnvironmentGetOrCreateResponse(environment_id="en-" + name, metadata=metadata)


class Apps:
    def __init__(self, world: World, scheduler: Scheduler) -> None:
        self.world, self.scheduler = world, scheduler

    async def AppCreate(self, request: api_pb2.AppCreateRequest, caller: Caller) -> api_pb2.AppCreateResponse:
        app = App(new_id("ap"), request.description, request.app_state, dict(request.tags))
        app.detached = request.app_state == DETACHED
        self.world.apps[app.id] = app
        url = self._url(app)
        return api_pb2.AppCreateResponse(app_id=app.id, app_page_url=url, app_logs_url=f"{url}/logs")

    async def AppPublish(self, request: api_pb2.AppPublishRequest, caller: Caller) -> api_pb2.AppPublishResponse:
        app = find(self.world.apps, request.app_id, "App")
        app.function_ids = dict(request.function_ids)
        app.tags = dict(request.tags) or app.tags
        app.state = request.app_state or app.state
        if app.state == DEPLOYED:
            app.name = request.name or app.name
        return api_pb2.AppPublishResponse(url=self._url(app), deployed_at=time.time())

    async def AppHeartbeat(self, request: api_pb2.AppHeartbeatRequest, caller: Caller) -> None:
        app = find(self.world.apps, request.app_id, "App")
        if app.is_stopped:
            refuse(Status.FAILED_PRECONDITION, f"App '{app.id}' is stopped")
        app.seen_at = time.monotonic()

    async def AppClientDisconnect(self, request: api_pb2.AppClientDisconnectRequest, caller: Caller) -> None:
        app = find(self.world.apps, request.app_id, "App")
        app.is_disconnected = True
        if app.state == DEPLOYED or app.is_stopped:
            return
        if not app.detached:
            self.scheduler.stop_app(app)
            return
        app.state = api_pb2.APP_STATE_DETACHED_DISCONNECTED
        if self.world.settings.keeps_only_last_call:
            spawned = [call for call in self.world.unfinished_calls(app.id) if not call.parent_input_id]
            for call in spawned[:-1]:
                self.scheduler.cancel(call, terminate=True)
        self.scheduler.stop_app_if_done(app)

    async def AppStop(self, request: api_pb2.AppStopRequest, caller: Caller) -> None:
        self.scheduler.stop_app(find(self.world.apps, request.app_id, "App"))

    async def AppSetTags(self, request: api_pb2.AppSetTagsRequest, caller: Caller) -> None:
        find(self.world.apps, request.app_id, "App").tags = dict(request.tags)

    async def AppGetTags(self, request: api_pb2.AppGetTagsRequest, caller: Caller) -> api_pb2.AppGetTagsResponse:
        return api_pb2.AppGetTagsResponse(tags=find(self.world.apps, request.app_id, "App").tags)

    async def AppGetLayout(self, request: api_pb2.AppGetLayoutRequest, caller: Caller) -> api_pb2.AppGetLayoutResponse:
        return api_pb2.AppGetLayoutResponse(app_layout=layout(self.world, find(self.world.apps, request.app_id, "App")))

    async def AppGetByDeploymentName(
        self, request: api_pb2.AppGetByDeploymentNameRequest, caller: Caller
    ) -> api_pb2.AppGetByDeploymentNameResponse:
        app = self.deployed(request.name)
        return api_pb2.AppGetByDeploymentNameResponse(app_id=app.id if app else "")

    async def AppGetOrCreate(
        self, request: api_pb2.AppGetOrCreateRequest, caller: Caller
    ) -> api_pb2.AppGetOrCreateResponse:
        app = self.deployed(request.app_name)
        if app is None:
            if request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
                refuse(Status.NOT_FOUND, f"App '{request.app_name}' not found")
            app = App(new_id("ap"), request.app_name, DEPLOYED, {}, name=request.app_name)
            self.world.apps[app.id] = app
        return api_pb2.AppGetOrCreateResponse(app_id=app.id, handle_metadata=self._handle(app))

    async def AppGetLifecycle(
        self, request: api_pb2.AppGetLifecycleRequest, caller: Caller
    ) -> api_pb2.AppGetLifecycleResponse:
        return api_pb2.AppGetLifecycleResponse(lifecycle=self._lifecycle(find(self.world.apps, request.app_id, "App")))

    async def AppGetInfo(self, request: api_pb2.AppGetInfoRequest, caller: Caller) -> api_pb2.AppGetInfoResponse:
        return api_pb2.AppGetInfoResponse(info=self._handle(find(self.world.apps, request.app_id, "App")))

    async def AppList(self, request: api_pb2.AppListRequest, caller: Caller) -> api_pb2.AppListResponse:
        return api_pb2.AppListResponse(apps=[self._list_item(app) for app in self.world.apps.values()])

    def deployed(self, name: str) -> App | None:
        apps = [app for app in self.world.apps.values() if app.name == name and app.state == DEPLOYED]
        return apps[-1] if apps else None

    def _url(self, app: App) -> str:
        return f"https://modal.com/apps/{self.world.settings.workspace}/{app.environment}/{app.id}"

    def _lifecycle(self, app: App) -> api_pb2.AppLifecycle:
        return api_pb2.AppLifecycle(
            app_state=app.state,  # type: ignore[arg-type]
            created_at=app.created_at,
            stopped_at=app.stopped_at,
            created_by=self.world.settings.workspace,
        )

    def _handle(self, app: App) -> api_pb2.AppHandleMetadata:
        return api_pb2.AppHandleMetadata(
            app_id=app.id,
            description=app.description,
            environment_name=app.environment,
            lifecycle=self._lifecycle(app),
            functions=app.function_ids,
        )

    def _list_item(self, app: App) -> api_pb2.AppListResponse.AppListItem:
        running = [task for task in self.world.running_tasks() if task.app is app]
        return api_pb2.AppListResponse.AppListItem(
            app_id=app.id,
            description=app.description,
            state=app.state,  # type: ignore[arg-type]
            created_at=app.created_at,
            stopped_at=app.stopped_at,
            n_running_tasks=len(running),
            name=app.name,
        )


def layout(world: World, app: App) -> api_pb2.AppLayout:
    """The functions of an App, as clients and containers look them up by name."""
    mine = [function for function in world.functions.values() if function.app_id == app.id]
    objects = [api_pb2.Object(object_id=each.id, function_handle_metadata=each.metadata) for each in mine]
    return api_pb2.AppLayout(objects=objects, function_ids={each.name: each.id for each in mine})
