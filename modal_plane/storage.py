"""Blobs, blocks and files over HTTP: what Modal keeps in object storage beside its gRPC service.

Arguments above 8 KiB, uploads to Volumes and reads from them never travel in an RPC, so without this no real
recipe would start.
"""

import base64
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

from aiohttp import web
from grpclib import Status
from modal_proto import api_pb2

from .faults import Fault, HttpFault
from .state import World, new_id, refuse
from .wire import Caller

Faults = Callable[[], list[Fault | HttpFault]]


class ContentStore:
    """Bytes by their SHA-256, shared by mounts and Volumes as in the service: known content goes up once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, sha256_hex: str) -> bool:
        return self.path(sha256_hex).exists()

    def path(self, sha256_hex: str) -> Path:
        return self.folder / sha256_hex

    def put(self, data: bytes, sha256_hex: str) -> None:
        if hashlib.sha256(data).hexdigest() != sha256_hex:
            refuse(Status.INVALID_ARGUMENT, f"content does not match its checksum {sha256_hex}")
        self.path(sha256_hex).write_bytes(data)


class Blobs:
    """`BlobCreate`, `BlobGet` and the folder behind them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.folder = world.folder / "blobs"
        self.folder.mkdir(parents=True, exist_ok=True)

    def read(self, blob_id: str) -> bytes:
        path = self.folder / blob_id
        return path.read_bytes() if path.exists() else refuse(Status.NOT_FOUND, f"blob '{blob_id}' not found")

    async def BlobCreate(self, request: api_pb2.BlobCreateRequest, caller: Caller) -> api_pb2.BlobCreateResponse:
        blob_id = new_id("bl")
        urls = api_pb2.UploadUrlList(items=[f"{self.world.http_url(caller.task)}/blob/{blob_id}"])
        return api_pb2.BlobCreateResponse(blob_id=blob_id, blob_ids=[blob_id], upload_urls=urls)

    async def BlobGet(self, request: api_pb2.BlobGetRequest, caller: Caller) -> api_pb2.BlobGetResponse:
        return api_pb2.BlobGetResponse(download_url=f"{self.world.http_url(caller.task)}/blob/{request.blob_id}")


class Site:
    """The HTTP side; `faults` answers 5xx where a test wants it."""

    def __init__(
        self, world: World, blobs: Blobs, blocks: ContentStore, volume_root: Callable[[str], Path], faults: Faults
    ):
        self.world, self.blobs, self.blocks, self._volume_root, self._faults = world, blobs, blocks, volume_root, faults
        self._runner: web.AppRunner | None = None

    async def open(self) -> int:
        app = web.Application(client_max_size=1 << 40)
        app.router.add_put("/blob/{id}", self._guard("blob", self._put_blob))
        app.router.add_get("/blob/{id}", self._guard("blob", self._get_blob))
        app.router.add_put("/block/{sha256}", self._guard("block", self._put_block))
        app.router.add_get("/file/{volume}/{path:.*}", self._guard("file", self._get_file))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def close(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    def _guard(
        self, kind: str, handle: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def guarded(request: web.Request) -> web.Response:
            for fault in self._faults():
                if isinstance(fault, HttpFault) and fault.take(kind, request.method):
                    await request.read()
                    return web.Response(status=fault.status, text="injected fault")
            return await handle(request)

        return guarded

    async def _put_blob(self, request: web.Request) -> web.Response:
        data = await request.read()
        (self.blobs.folder / request.match_info["id"]).write_bytes(data)
        # the client compares this with the MD5 of what it sent
        return web.Response(headers={"ETag": f'"{hashlib.md5(data).hexdigest()}"'})

    async def _get_blob(self, request: web.Request) -> web.Response:
        path = self.blobs.folder / request.match_info["id"]
        return web.Response(body=path.read_bytes()) if path.exists() else web.Response(status=404)

    async def _put_block(self, request: web.Request) -> web.Response:
        sha256_hex, data = request.match_info["sha256"], await request.read()
        if hashlib.sha256(data).hexdigest() != sha256_hex:
            return web.Response(status=400, text="checksum mismatch")
        self.blocks.path(sha256_hex).write_bytes(data)
        return web.Response(body=base64.b64encode(sha256_hex.encode()))

    async def _get_file(self, request: web.Request) -> web.Response:
        path = self._volume_root(request.match_info["volume"]) / request.match_info["path"]
        start, length = int(request.query["start"]), int(request.query["len"])
        if not path.is_file():
            return web.Response(status=404)
        with path.open("rb") as file:
            file.seek(start)
            return web.Response(body=file.read(length))


def file_url(base: str, volume_id: str, path: str, start: int, length: int) -> str:
    return f"{base}/file/{volume_id}/{quote(path)}?start={start}&len={length}"
