"""Dicts and Queues: what client and container share while a run goes on."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from grpclib import Status
from modal_proto import api_pb2

from .state import World, find, new_id, refuse
from .wire import Caller

QUEUE_LIMIT = 5000  # items in a partition
CREATE_IF_MISSING, EPHEMERAL = api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING, api_pb2.OBJECT_CREATION_TYPE_EPHEMERAL


@dataclass
class NamedDict:
    id: str
    name: str
    values: dict[bytes, bytes] = field(default_factory=dict)


@dataclass
class NamedQueue:
    id: str
    name: str
    partitions: dict[bytes, list[tuple[int, bytes]]] = field(default_factory=dict)
    count: int = 0


class Dicts:
    def __init__(self, world: World) -> None:
        self.world = world
        self.dicts: dict[str, NamedDict] = {}

    async def DictGetOrCreate(
        self, request: api_pb2.DictGetOrCreateRequest, caller: Caller
    ) -> api_pb2.DictGetOrCreateResponse:
        named = next(
            (each for each in self.dicts.values() if request.deployment_name and each.name == request.deployment_name),
            None,
        )
        if named is None:
            if request.object_creation_type not in (CREATE_IF_MISSING, EPHEMERAL):
                refuse(
                    Status.NOT_FOUND,
                    f"Dict '{request.deployment_name}' not found in environment '{request.environment_name}'",
                )
            named = NamedDict(new_id("di"), request.deployment_name)
            self.dicts[named.id] = named
        named.values.update({entry.key: entry.value for entry in request.data})
        return api_pb2.DictGetOrCreateResponse(dict_id=named.id, metadata=api_pb2.DictMetadata(name=named.name))

    async def DictGetById(self, request: api_pb2.DictGetByIdRequest, caller: Caller) -> api_pb2.DictGetByIdResponse:
        named = find(self.dicts, request.dict_id, "Dict")
        return api_pb2.DictGetByIdResponse(dict_id=named.id, metadata=api_pb2.DictMetadata(name=named.name))

    async def DictHeartbeat(self, request: object, caller: Caller) -> None:
        return None

    async def DictGet(self, request: api_pb2.DictGetRequest, caller: Caller) -> api_pb2.DictGetResponse:
        value = self._values(request.dict_id).get(request.key)
        return api_pb2.DictGetResponse(found=value is not None, value=value)

    async def DictPop(self, request: api_pb2.DictPopRequest, caller: Caller) -> api_pb2.DictPopResponse:
        value = self._values(request.dict_id).pop(request.key, None)
        return api_pb2.DictPopResponse(found=value is not None, value=value)

    async def DictContains(self, request: api_pb2.DictContainsRequest, caller: Caller) -> api_pb2.DictContainsResponse:
        return api_pb2.DictContainsResponse(found=request.key in self._values(request.dict_id))

    async def DictUpdate(self, request: api_pb2.DictUpdateRequest, caller: Caller) -> api_pb2.DictUpdateResponse:
        """`if_not_exists` is what `put(skip_if_exists=True)` sends: the lock of a run rests on it."""
        values, created = self._values(request.dict_id), False
        for entry in request.updates:
            if not (request.if_not_exists and entry.key in values):
                values[entry.key], created = entry.value, True
        return api_pb2.DictUpdateResponse(created=created)

    async def DictLen(self, request: api_pb2.DictLenRequest, caller: Caller) -> api_pb2.DictLenResponse:
        return api_pb2.DictLenResponse(len=len(self._values(request.dict_id)))

    async def DictContents(
        self, request: api_pb2.DictContentsRequest, caller: Caller
    ) -> AsyncIterator[api_pb2.DictEntry]:
        for key, value in list(self._values(request.dict_id).items()):
            yield api_pb2.DictEntry(key=key if request.keys else b"", value=value if request.values else b"")

    async def DictClear(self, request: api_pb2.DictClearRequest, caller: Caller) -> None:
        self._values(request.dict_id).clear()

    async def DictDelete(self, request: api_pb2.DictDeleteRequest, caller: Caller) -> None:
        find(self.dicts, request.dict_id, "Dict")
        del self.dicts[request.dict_id]

    def _values(self, dict_id: str) -> dict[bytes, bytes]:
        return find(self.dicts, dict_id, "Dict").values


class Queues:
    def __init__(self, world: World) -> None:
        self.world = world
        self.queues: dict[str, NamedQueue] = {}

    async def QueueGetOrCreate(
        self, request: api_pb2.QueueGetOrCreateRequest, caller: Caller
    ) -> api_pb2.QueueGetOrCreateResponse:
        named = next(
            (each for each in self.queues.values() if request.deployment_name and each.name == request.deployment_name),
            None,
        )
        if named is None:
            if request.object_creation_type not in (CREATE_IF_MISSING, EPHEMERAL):
                refuse(
                    Status.NOT_FOUND,
                    f"Queue '{request.deployment_name}' not found in environment '{request.environment_name}'",
                )
            named = NamedQueue(new_id("qu"), request.deployment_name)
            self.queues[named.id] = named
        return api_pb2.QueueGetOrCreateResponse(queue_id=named.id, metadata=api_pb2.QueueMetadata(name=named.name))

    async def QueueHeartbeat(self, request: object, caller: Caller) -> None:
        return None

    async def QueuePut(self, request: api_pb2.QueuePutRequest, caller: Caller) -> None:
        queue = find(self.queues, request.queue_id, "Queue")
        items = queue.partitions.setdefault(request.partition_key, [])
        if len(items) + len(request.values) > QUEUE_LIMIT:
            refuse(Status.RESOURCE_EXHAUSTED, f"partition holds {len(items)} of at most {QUEUE_LIMIT} items")
        for value in request.values:
            queue.count += 1
            items.append((queue.count, value))
        self.world.bell.ring()

    async def QueueGet(self, request: api_pb2.QueueGetRequest, caller: Caller) -> api_pb2.QueueGetResponse:
        queue, key = find(self.queues, request.queue_id, "Queue"), request.partition_key
        await self.world.bell.until(lambda: queue.partitions.get(key), request.timeout)
        items = queue.partitions.get(key, [])
        taken, queue.partitions[key] = items[: request.n_values or 1], items[request.n_values or 1 :]
        return api_pb2.QueueGetResponse(values=[value for _, value in taken])

    async def QueueNextItems(
        self, request: api_pb2.QueueNextItemsRequest, caller: Caller
    ) -> api_pb2.QueueNextItemsResponse:
        queue, after = find(self.queues, request.queue_id, "Queue"), int(request.last_entry_id or 0)

        def newer() -> list[tuple[int, bytes]]:
            return [item for item in queue.partitions.get(request.partition_key, []) if item[0] > after]

        found = await self.world.bell.until(newer, request.item_poll_timeout) or []
        items = [api_pb2.QueueItem(value=value, entry_id=str(number)) for number, value in found]
        return api_pb2.QueueNextItemsResponse(items=items)

    async def QueueLen(self, request: api_pb2.QueueLenRequest, caller: Caller) -> api_pb2.QueueLenResponse:
        partitions = find(self.queues, request.queue_id, "Queue").partitions
        chosen = partitions.values() if request.total else [partitions.get(request.partition_key, [])]
        return api_pb2.QueueLenResponse(len=sum(len(items) for items in chosen))

    async def QueueClear(self, request: api_pb2.QueueClearRequest, caller: Caller) -> None:
        queue = find(self.queues, request.queue_id, "Queue")
        for key in list(queue.partitions):
            if request.all_partitions or key == request.partition_key:
                del queue.partitions[key]
