"""Modal's gRPC service on sockets: every RPC passes here once for token, faults, idempotency and the record.

A service is any object whose methods carry the names of RPCs; a coroutine answers a unary call, an async
generator a streaming one.  RPCs without a method answer UNIMPLEMENTED and are noted in `missing`.
"""

import asyncio
import inspect
import time
import traceback
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

from grpclib import GRPCError, Status
from grpclib.const import Cardinality, Handler
from grpclib.protocol import H2Protocol
from grpclib.server import Server
from modal_proto.api_grpc import ModalClientBase

from .faults import Fault, HttpFault
from .state import Task, World, refuse

# A retry asks these anew; all others run to their end even if the wire is cut, and a retry gets the same reply.
LONG_POLLS = {"FunctionGetOutputs", "FunctionGetInputs", "ContainerHeartbeat", "QueueGet", "QueueNextItems"}
REMEMBERED_REPLIES = 4096


@dataclass
class Rpc:
    """One call as it came in; `task_id` is empty when a client made it."""

    name: str
    request: Any
    task_id: str
    at: float = field(default_factory=time.time)
    status: Status = Status.OK


@dataclass(frozen=True)
class Caller:
    """Who asks.  A container is known by its own socket, for its requests do not carry its id."""

    task: Task | None
    metadata: Mapping[str, str]


class Servable:
    """What grpclib wants: a mapping from the path of an RPC to its handler."""

    def __init__(self, mapping: Mapping[str, Handler]) -> None:
        self._mapping = mapping

    def __mapping__(self) -> Mapping[str, Handler]:
        return self._mapping


class Listener(Server):
    """grpclib's server, which leaves open connections to whoever is at their other end: this one ends them."""

    def __init__(self, service: Servable) -> None:
        super().__init__([service])
        self._protocols: WeakSet[H2Protocol] = WeakSet()

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self._protocols.add(protocol)
        return protocol

    async def end(self) -> None:
        """Refuse, hang up, and wait until all sockets are closed and all that was asked has been given up."""
        self.close()
        open_ones = [transport for each in self._protocols if (transport := _transport(each))]
        for transport in open_ones:
            transport.abort()
        await self.wait_closed()
        while any(transport.get_extra_info("socket").fileno() != -1 for transport in open_ones):
            await asyncio.sleep(0)


def _transport(protocol: H2Protocol) -> asyncio.Transport | None:
    """None before the connection and after it."""
    return getattr(getattr(protocol, "connection", None), "_transport", None)


class Router:
    def __init__(self, world: World, services: Sequence[object], token: tuple[str, str]) -> None:
        self.world, self.token = world, token
        self.calls: list[Rpc] = []
        self.missing: set[str] = set()
        self.faults: list[Fault | HttpFault] = []
        self._methods = {name: getattr(each, name) for each in services for name in dir(each) if name[0].isupper()}
        self._replies: OrderedDict[tuple[str, str], asyncio.Task[Any]] = OrderedDict()
        self._signatures = _signatures()

    def servable(self, task: Task | None) -> Servable:
        """The service as `task` sees it, or a client if that is None."""
        return Servable({path: self._handler(path, known, task) for path, known in self._signatures.items()})

    def _handler(self, path: str, known: Handler, task: Task | None) -> Handler:
        name = path.rsplit("/", 1)[1]

        async def answer(stream: Any) -> None:
            request = await stream.recv_message()
            caller = Caller(task, {key: str(value) for key, value in (stream.metadata or {}).items()})
            rpc = Rpc(name, request, task.id if task else "")
            self.calls.append(rpc)
            try:
                await self._answer(stream, rpc, caller, known)
            except GRPCError as error:
                rpc.status = error.status
                raise
            except Exception as error:
                self.world.bugs.append(f"{name}: {traceback.format_exc()}")
                raise GRPCError(Status.INTERNAL, f"a bug of the plane: {error!r}") from error

        return Handler(answer, known.cardinality, known.request_type, known.reply_type)

    async def _answer(self, stream: Any, rpc: Rpc, caller: Caller, known: Handler) -> None:
        self._authenticate(caller)
        self._fail(rpc.name, caller, after=False)
        method = self._methods.get(rpc.name)
        if method is None:
            self.missing.add(rpc.name)
            refuse(Status.UNIMPLEMENTED, f"the plane has no {rpc.name}")
        if known.cardinality is Cardinality.UNARY_STREAM:
            async for message in method(rpc.request, caller):
                await stream.send_message(message)
            return
        reply = await self._once(rpc.name, caller, lambda: method(rpc.request, caller))
        self._fail(rpc.name, caller, after=True)
        await stream.send_message(known.reply_type() if reply is None else reply)

    def _authenticate(self, caller: Caller) -> None:
        given = caller.metadata.get("x-modal-token-id"), caller.metadata.get("x-modal-token-secret")
        if caller.task is None and given != self.token:
            refuse(Status.UNAUTHENTICATED, "Token validation failed")

    def _fail(self, name: str, caller: Caller, *, after: bool) -> None:
        side = "container" if caller.task else "client"
        for fault in list(self.faults):
            if isinstance(fault, Fault) and fault.take(name, side, after=after):  # type: ignore[arg-type]
                refuse(fault.status, fault.message)

    async def _once(self, name: str, caller: Caller, run: Callable[[], Awaitable[Any]]) -> Any:
        """The reply of the first attempt, for each that carries the same idempotency key."""
        if name in LONG_POLLS:
            return await run()
        key = (name, caller.metadata.get("x-idempotency-key") or f"no key {time.monotonic_ns()}")
        if key not in self._replies:
            self._replies[key] = asyncio.ensure_future(_coroutine(run))
            while len(self._replies) > REMEMBERED_REPLIES:
                self._replies.popitem(last=False)
        try:
            return await asyncio.shield(self._replies[key])
        except Exception:
            self._replies.pop(key, None)
            raise

    async def close(self) -> None:
        for reply in self._replies.values():
            reply.cancel()
        await asyncio.gather(*self._replies.values(), return_exceptions=True)


async def _coroutine(run: Callable[[], Awaitable[Any]]) -> Any:
    return await run()


def _signatures() -> Mapping[str, Handler]:
    """Path, cardinality and message types of each RPC, taken from the generated abstract base."""
    names = [name for name, _ in inspect.getmembers(ModalClientBase, inspect.isfunction)]
    blanks = {name: lambda self, stream: None for name in names if name != "__mapping__"}
    mapping: Mapping[str, Handler] = type("Everything", (ModalClientBase,), blanks)().__mapping__()
    return mapping
