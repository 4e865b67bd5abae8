"""What the plane knows: plain data, touched only on the plane's own event loop.

Handlers and scheduler share one `World`.  Whoever changes something that another may wait for rings the bell.
"""

import asyncio
import itertools
import secrets
import string
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .settings import Settings

T = TypeVar("T")
STDOUT, STDERR, SYSTEM = api_pb2.FILE_DESCRIPTOR_STDOUT, api_pb2.FILE_DESCRIPTOR_STDERR, api_pb2.FILE_DESCRIPTOR_INFO


def new_id(prefix: str) -> str:
    """An id in Modal's own shape; its command line recognises `ap-` plus 22 letters and digits."""
    return f"{prefix}-" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(22))


def refuse(status: Status, message: str) -> NoReturn:
    raise GRPCError(status, message)


def find(things: dict[str, T], key: str, what: str) -> T:
    """The thing of that id, or NOT_FOUND as the service says it."""
    if key not in things:
        refuse(Status.NOT_FOUND, f"{what} '{key}' not found")
    return things[key]


class Bell:
    """Wakes all who wait.

    On 3.11 a waiter that a cut connection cancels breaks the lock of `asyncio.Condition`, and `asyncio.wait_for`
    swallows a cancellation that comes as the bell rings: who waits that way waits on when the plane ends.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def until(self, ready: Callable[[], T | None], seconds: float) -> T | None:
        """The first true value of `ready`, or None when the time is over."""
        deadline = time.monotonic() + seconds
        while not (value := ready()):
            event, left = self._event, deadline - time.monotonic()
            if left <= 0:
                return None
            try:
                async with asyncio.timeout(left):
                    await event.wait()
            except TimeoutError:
                return ready() or None
        return value

    async def rung(self, seconds: float) -> None:
        """The next ring, or that much later."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()


@dataclass
class App:
    id: str
    description: str
    state: int
    tags: dict[str, str]
    environment: str = "main"
    name: str = ""
    created_at: float = field(default_factory=time.time)
    seen_at: float = field(default_factory=time.monotonic)
    stopped_at: float = 0.0
    is_disconnected: bool = False
    function_ids: dict[str, str] = field(default_factory=dict)
    detached: bool = False

    @property
    def is_stopped(self) -> bool:
        return self.state == api_pb2.APP_STATE_STOPPED


@dataclass
class Image:
    id: str
    definition: api_pb2.Image
    log: list[str]
    started_at: float
    seconds: float
    failure: str = ""
    task_id: str = field(default_factory=lambda: new_id("ta"))

    @property
    def is_built(self) -> bool:
        return time.time() >= self.started_at + self.seconds


@dataclass
class Function:
    """A function as created; `ranked` holds one definition for each GPU of the preference list, best first."""

    id: str
    app_id: str
    name: str
    metadata: api_pb2.FunctionHandleMetadata
    ranked: list[api_pb2.Function] = field(default_factory=list)

    @property
    def definition(self) -> api_pb2.Function:
        return self.ranked[0]


@dataclass(eq=False)
class Call:
    id: str
    function: Function
    invocation_type: int
    parent_input_id: str
    inputs: list["Input"] = field(default_factory=list)
    data_out: list[api_pb2.DataChunk] = field(default_factory=list)
    created_at: float = field(default_factory=time.time)
    is_expired: bool = False

    @property
    def is_done(self) -> bool:
        return all(entry.is_done for entry in self.inputs)


@dataclass(eq=False)
class Input:
    """One input; a retry or a preemption moves it to other tasks, its id stays."""

    id: str
    idx: int
    call: Call
    payload: api_pb2.FunctionInput
    retry_count: int = 0
    crashes: int = 0
    not_before: float = 0.0
    queued_at: float = field(default_factory=time.monotonic)
    started_at: float = 0.0
    tasks: list["Task"] = field(default_factory=list)
    last_task_id: str = ""
    loss: tuple[str, int] | None = None
    output: api_pb2.FunctionGetOutputsItem | None = None

    @property
    def is_done(self) -> bool:
        return self.output is not None


@dataclass(eq=False)
class Task:
    """One container from the decision to start it to its end."""

    id: str
    app: App
    function: Function
    definition: api_pb2.Function
    holding: Input | None
    gpu: str = ""
    gpu_count: int = 0
    rank: int = 0
    cluster_id: str = ""
    enqueued_at: float = field(default_factory=time.time)
    started_at: float = 0.0
    finished_at: float = 0.0
    ending: str = ""
    exit_code: int | None = None
    has_fetched: bool = False
    has_answered: bool = False
    is_stopping: bool = False
    is_idle: bool = False
    is_polling: bool = False
    seen_at: float = 0.0  # monotonic; 0 before its first heartbeat
    cancelling: set[str] = field(default_factory=set)
    failure: api_pb2.GenericResult | None = None
    cluster_ip: str = ""
    pid: int = 0
    volumes: dict[str, Any] = field(default_factory=dict)

    @property
    def is_alive(self) -> bool:
        return not self.finished_at

    @property
    def current_call(self) -> Call | None:
        """The call that waits for this container; None when it has its answer, or waits for another container."""
        entry = self.holding
        return entry.call if entry and not entry.is_done and self in entry.tasks else None

    @property
    def seconds(self) -> float:
        """What is billed: from the start of the container to its end, or to now."""
        return (self.finished_at or time.time()) - self.started_at if self.started_at else 0.0


@dataclass(frozen=True)
class LogLine:
    number: int
    app_id: str
    text: str
    source: int
    at_ns: int
    function_id: str = ""
    call_id: str = ""
    input_id: str = ""
    task_id: str = ""


class World:
    """All state of one plane."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self.bell = Bell()
        self.bugs: list[str] = []
        self.apps: dict[str, App] = {}
        self.images: dict[str, Image] = {}
        self.functions: dict[str, Function] = {}
        self.calls: dict[str, Call] = {}
        self.inputs: dict[str, Input] = {}
        self.tasks: dict[str, Task] = {}
        self.logs: list[LogLine] = []
        self.direct_http_url = ""
        self.client_http_url = ""
        self._numbers = itertools.count(1)

    def log(self, text: str, source: int, *, app_id: str, task: Task | None = None, task_id: str = "") -> None:
        entry = task.holding if task else None
        self.logs.append(
            LogLine(
                number=next(self._numbers), app_id=app_id, text=text, source=source, at_ns=time.time_ns(),
                function_id=task.function.id if task else "", task_id=task.id if task else task_id,
                call_id=entry.call.id if entry else "", input_id=entry.id if entry else "",
            )
        )  # fmt: skip
        self.bell.ring()

    def http_url(self, task: Task | None) -> str:
        """A container does not lose its storage when a test cuts the client's wire."""
        return self.direct_http_url if task else self.client_http_url

    def running_tasks(self) -> list[Task]:
        return [task for task in self.tasks.values() if task.is_alive]

    def unfinished_calls(self, app_id: str) -> list[Call]:
        return [call for call in self.calls.values() if call.function.app_id == app_id and not call.is_done]
