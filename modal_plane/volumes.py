"""Volumes v1 and v2: named folders below the plane's own, with Modal's upload, listing and read protocols.

The committed folder is plain files, so a test may look into `plane.volume(name)` with its own eyes.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from grpclib import Status
from modal_proto import api_pb2

from . import processes
from .state import Task, World, find, new_id, refuse
from .storage import ContentStore, file_url
from .wire import Caller
from .workcopy import WorkingCopy

BLOCK_BYTES = 8 * 1024 * 1024  # modal._utils.blob_utils.BLOCK_SIZE
CREATES = (api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING, api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS)


@dataclass
class Volume:
    id: str
    name: str
    version: int
    folder: Path
    created_at: float = field(default_factory=time.time)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def path(self, inside: str) -> Path:
        parts = [part for part in PurePosixPath(inside).parts if part not in ("/", ".")]
        if ".." in parts:
            refuse(Status.INVALID_ARGUMENT, f"'{inside}' leaves the volume")
        return self.folder.joinpath(*parts)

    def metadata(self) -> api_pb2.VolumeMetadata:
        created = api_pb2.CreationInfo(created_at=self.created_at)
        return api_pb2.VolumeMetadata(version=self.version, name=self.name, creation_info=created)  # type: ignore[arg-type]


class Volumes:
    def __init__(self, world: World, blocks: ContentStore) -> None:
        self.world, self.blocks = world, blocks
        self.root = world.folder / "volumes"
        self.root.mkdir(parents=True, exist_ok=True)
        self.volumes: dict[str, Volume] = {}
        for folder in sorted(self.root.iterdir()):
            self.add(folder.name, 2)

    def named(self, name: str) -> Volume | None:
        return next((each for each in self.volumes.values() if each.name == name), None)

    def folder(self, volume_id: str) -> Path:
        return find(self.volumes, volume_id, "Volume").folder

    def working_copy(self, volume_id: str, task: Task, folder: Path) -> WorkingCopy:
        """The copy of that Volume for one container; made once."""
        if volume_id not in task.volumes:
            task.volumes[volume_id] = WorkingCopy(self.folder(volume_id), folder)
        copy: WorkingCopy = task.volumes[volume_id]
        return copy

    async def release(self, task: Task) -> None:
        """Let a commit under way end before the container's folder goes; later ones are refused."""
        for volume_id in list(task.volumes):
            async with self.volumes[volume_id].lock:
                del task.volumes[volume_id]

    async def VolumeGetOrCreate(
        self, request: api_pb2.VolumeGetOrCreateRequest, caller: Caller
    ) -> api_pb2.VolumeGetOrCreateResponse:
        kind, volume = request.object_creation_type, self.named(request.deployment_name)
        if kind == api_pb2.OBJECT_CREATION_TYPE_EPHEMERAL:
            volume = self.add(new_id("ephemeral"), request.version)
        elif volume and kind == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            refuse(Status.ALREADY_EXISTS, f"Volume '{request.deployment_name}' already exists")
        elif not volume:
            if kind not in CREATES:
                refuse(
                    Status.NOT_FOUND,
                    f"Volume '{request.deployment_name}' not found in environment '{request.environment_name}'",
                )
            volume = self.add(request.deployment_name, request.version)
        version: Any = volume.version
        return api_pb2.VolumeGetOrCreateResponse(volume_id=volume.id, version=version, metadata=volume.metadata())

    async def VolumeGetById(
        self, request: api_pb2.VolumeGetByIdRequest, caller: Caller
    ) -> api_pb2.VolumeGetByIdResponse:
        volume = find(self.volumes, request.volume_id, "Volume")
        return api_pb2.VolumeGetByIdResponse(volume_id=volume.id, metadata=volume.metadata())

    async def VolumeList(self, request: api_pb2.VolumeListRequest, caller: Caller) -> api_pb2.VolumeListResponse:
        items = [
            api_pb2.VolumeListItem(
                label=each.name, volume_id=each.id, created_at=each.created_at, metadata=each.metadata()
            )
            for each in self.volumes.values()
        ]
        return api_pb2.VolumeListResponse(items=items, environment_name=self.world.settings.environment)

    async def VolumeHeartbeat(self, request: api_pb2.VolumeHeartbeatRequest, caller: Caller) -> None:
        return None

    async def VolumeCommit(self, request: api_pb2.VolumeCommitRequest, caller: Caller) -> api_pb2.VolumeCommitResponse:
        await asyncio.sleep(self.world.settings.commit_delay_seconds)
        async with find(self.volumes, request.volume_id, "Volume").lock:
            await asyncio.to_thread(self._copy_of(request.volume_id, caller).commit)
        return api_pb2.VolumeCommitResponse(skip_reload=True)

    async def VolumeReload(self, request: api_pb2.VolumeReloadRequest, caller: Caller) -> None:
        """Refused while the container has files of the Volume open, as the service does."""
        async with find(self.volumes, request.volume_id, "Volume").lock:
            copy = self._copy_of(request.volume_id, caller)
            assert caller.task is not None
            if await asyncio.to_thread(copy.has_open_files, processes.of_task(caller.task.id)):
                refuse(Status.FAILED_PRECONDITION, "there are open files preventing the operation")
            await asyncio.to_thread(copy.reload)

    async def VolumePutFiles(self, request: api_pb2.VolumePutFilesRequest, caller: Caller) -> None:
        """v1: the contents came before, by `MountPutFile`."""
        volume = find(self.volumes, request.volume_id, "Volume")
        self._check_overwrite(
            volume, [file.filename for file in request.files], request.disallow_overwrite_existing_files
        )
        for file in request.files:
            _write(volume.path(file.filename), [self.blocks.path(file.sha256_hex)], file.mode)

    async def VolumePutFiles2(
        self, request: api_pb2.VolumePutFiles2Request, caller: Caller
    ) -> api_pb2.VolumePutFiles2Response:
        """v2: the first round names the missing blocks, the second, after their PUT, makes the files."""
        volume = find(self.volumes, request.volume_id, "Volume")
        self._check_overwrite(volume, [file.path for file in request.files], request.disallow_overwrite_existing_files)
        base = self.world.http_url(caller.task)
        missing = [
            api_pb2.VolumePutFiles2Response.MissingBlock(
                file_index=number, block_index=index, put_url=f"{base}/block/{block.contents_sha256.hex()}"
            )
            for number, file in enumerate(request.files)
            for index, block in enumerate(file.blocks)
            if not self.blocks.has(block.contents_sha256.hex())
        ]
        if not missing:
            for file in request.files:
                blocks = [self.blocks.path(block.contents_sha256.hex()) for block in file.blocks]
                await asyncio.to_thread(_write, volume.path(file.path), blocks, file.mode, file.size)
        return api_pb2.VolumePutFiles2Response(missing_blocks=missing)

    async def VolumeListFiles(
        self, request: api_pb2.VolumeListFilesRequest, caller: Caller
    ) -> AsyncIterator[api_pb2.VolumeListFilesResponse]:
        yield api_pb2.VolumeListFilesResponse(entries=self._entries(request.volume_id, request.path, request.recursive))

    async def VolumeListFiles2(
        self, request: api_pb2.VolumeListFiles2Request, caller: Caller
    ) -> AsyncIterator[api_pb2.VolumeListFiles2Response]:
        yield api_pb2.VolumeListFiles2Response(
            entries=self._entries(request.volume_id, request.path, request.recursive)
        )

    async def VolumeGetFile2(
        self, request: api_pb2.VolumeGetFile2Request, caller: Caller
    ) -> api_pb2.VolumeGetFile2Response:
        volume = find(self.volumes, request.volume_id, "Volume")
        path = volume.path(request.path)
        if not path.is_file():
            refuse(Status.NOT_FOUND, f"No such file: '{request.path}'")
        size = path.stat().st_size
        start = request.start
        end = min(size, start + request.len) if request.len else size
        inside = path.relative_to(volume.folder).as_posix()
        base, urls, at = self.world.http_url(caller.task), [], start
        while at < end:
            stop = min(end, (at // BLOCK_BYTES + 1) * BLOCK_BYTES)
            urls.append(file_url(base, volume.id, inside, at, stop - at))
            at = stop
        return api_pb2.VolumeGetFile2Response(get_urls=urls, size=size, start=start, len=end - start)

    async def VolumeRemoveFile(self, request: api_pb2.VolumeRemoveFileRequest, caller: Caller) -> None:
        self._remove(request.volume_id, request.path, request.recursive)

    async def VolumeRemoveFile2(self, request: api_pb2.VolumeRemoveFile2Request, caller: Caller) -> None:
        self._remove(request.volume_id, request.path, request.recursive)

    async def VolumeDelete(self, request: api_pb2.VolumeDeleteRequest, caller: Caller) -> None:
        volume = find(self.volumes, request.volume_id, "Volume")
        await asyncio.to_thread(_remove_tree, volume.folder)
        del self.volumes[volume.id]

    def add(self, name: str, version: int) -> Volume:
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        volume = Volume(new_id("vo"), name, version or api_pb2.VOLUME_FS_VERSION_V1, folder)
        self.volumes[volume.id] = volume
        return volume

    def _copy_of(self, volume_id: str, caller: Caller) -> WorkingCopy:
        copy: WorkingCopy | None = caller.task.volumes.get(volume_id) if caller.task else None
        if copy is None:
            refuse(
                Status.NOT_FOUND, f"volume '{volume_id}' is not mounted here; commit and reload work in its containers"
            )
        return copy

    def _check_overwrite(self, volume: Volume, paths: list[str], is_forbidden: bool) -> None:
        there = [path for path in paths if is_forbidden and volume.path(path).exists()]
        if there:
            refuse(Status.ALREADY_EXISTS, f"{there[0]}: already exists")

    def _entries(self, volume_id: str, path: str, recursive: bool) -> list[api_pb2.FileEntry]:
        volume = find(self.volumes, volume_id, "Volume")
        top = volume.path(path)
        if not top.exists():
            refuse(Status.NOT_FOUND, f"No such file or directory: '{path}'")
        found = [top] if top.is_file() else sorted(top.rglob("*") if recursive else top.iterdir())
        return [_entry(each, each.relative_to(volume.folder).as_posix()) for each in found]

    def _remove(self, volume_id: str, path: str, recursive: bool) -> None:
        target = find(self.volumes, volume_id, "Volume").path(path)
        if not target.exists():
            refuse(Status.NOT_FOUND, f"No such file or directory: '{path}'")
        if target.is_dir() and not recursive:
            refuse(Status.INVALID_ARGUMENT, f"'{path}' is a directory")
        _remove_tree(target)


def _entry(path: Path, name: str) -> api_pb2.FileEntry:
    stat = path.lstat()
    kind = api_pb2.FileEntry.DIRECTORY if path.is_dir() else api_pb2.FileEntry.FILE
    return api_pb2.FileEntry(path=name, type=kind, mtime=int(stat.st_mtime), size=0 if path.is_dir() else stat.st_size)


def _write(target: Path, blocks: list[Path], mode: int, size: int | None = None) -> None:
    """Blocks come without the zeros at their ends; `size` is that of the whole file, where it came in such blocks."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.upload")
    with beside.open("wb") as file:
        for number, block in enumerate(blocks):
            if size is not None:
                file.seek(number * BLOCK_BYTES)
            file.write(block.read_bytes())
        if size is not None:
            file.truncate(size)
    beside.chmod(mode & 0o777 or 0o644)
    beside.replace(target)


def _remove_tree(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for inside in path.iterdir():
            _remove_tree(inside)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
