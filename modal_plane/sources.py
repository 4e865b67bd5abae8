"""What a container is given besides Volumes: mounts (source code) and Secrets."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from grpclib import Status
from modal_proto import api_pb2

from .state import World, find, new_id, refuse
from .storage import Blobs, ContentStore
from .wire import Caller


@dataclass
class Secret:
    id: str
    name: str
    values: dict[str, str] = field(repr=False)

    def metadata(self) -> api_pb2.SecretMetadata:
        return api_pb2.SecretMetadata(name=self.name, keys=sorted(self.values))


class Mounts:
    def __init__(self, world: World, blobs: Blobs, contents: ContentStore) -> None:
        self.world, self.blobs, self.contents = world, blobs, contents
        self.mounts: dict[str, list[api_pb2.MountFile]] = {}

    def materialise(self, mount_ids: Iterable[str], root: Path) -> None:
        """Lay the files of those mounts out below `root`; what was not mounted is not there."""
        for mount_id in mount_ids:
            for file in self.mounts.get(mount_id, ()):
                target = root / file.filename.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.contents.path(file.sha256_hex), target)
                os.chmod(target, file.mode & 0o777 or 0o644)

    async def MountBatchedCheckExistence(
        self, request: api_pb2.MountBatchedCheckExistenceRequest, caller: Caller
    ) -> api_pb2.MountBatchedCheckExistenceResponse:
        missing = [each for each in request.sha256_hex_hashes if not self.contents.has(each)]
        return api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    async def MountPutFile(self, request: api_pb2.MountPutFileRequest, caller: Caller) -> api_pb2.MountPutFileResponse:
        kind = request.WhichOneof("data_oneof")
        if kind is not None:
            data = request.data if kind == "data" else self.blobs.read(request.data_blob_id)
            self.contents.put(data, request.sha256_hex)
        return api_pb2.MountPutFileResponse(exists=self.contents.has(request.sha256_hex))

    async def MountGetOrCreate(
        self, request: api_pb2.MountGetOrCreateRequest, caller: Caller
    ) -> api_pb2.MountGetOrCreateResponse:
        """Named mounts are Modal's own (its client, a Python for images); empty here, the interpreter has both."""
        mount_id = new_id("mo")
        self.mounts[mount_id] = list(request.files)
        lost = [file.filename for file in request.files if not self.contents.has(file.sha256_hex)]
        if lost:
            refuse(Status.FAILED_PRECONDITION, f"{lost[0]} was not uploaded")
        return api_pb2.MountGetOrCreateResponse(mount_id=mount_id, handle_metadata=api_pb2.MountHandleMetadata())


class Secrets:
    def __init__(self, world: World) -> None:
        self.world = world
        self.secrets: dict[str, Secret] = {}

    def add(self, name: str, values: dict[str, str]) -> Secret:
        secret = Secret(new_id("st"), name, dict(values))
        self.secrets[secret.id] = secret
        return secret

    def environment(self, secret_ids: Iterable[str]) -> dict[str, str]:
        return {key: value for each in secret_ids for key, value in find(self.secrets, each, "Secret").values.items()}

    async def SecretGetOrCreate(
        self, request: api_pb2.SecretGetOrCreateRequest, caller: Caller
    ) -> api_pb2.SecretGetOrCreateResponse:
        kind = request.object_creation_type
        named = next(
            (
                each
                for each in self.secrets.values()
                if request.deployment_name and each.name == request.deployment_name
            ),
            None,
        )
        if kind != api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
            if named and kind == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
                refuse(Status.ALREADY_EXISTS, f"Secret '{request.deployment_name}' already exists")
            if named and kind == api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS:
                named.values = dict(request.env_dict)
            named = named or self.add(request.deployment_name, dict(request.env_dict))
        if not named:
            refuse(
                Status.NOT_FOUND,
                f"Secret '{request.deployment_name}' not found in environment '{self.world.settings.environment}'",
            )
        lacking = [key for key in request.required_keys if key not in named.values]
        if lacking:
            refuse(Status.NOT_FOUND, f"Secret is missing key(s): {', '.join(lacking)}")
        return api_pb2.SecretGetOrCreateResponse(secret_id=named.id, metadata=named.metadata())

    async def SecretGetInfo(
        self, request: api_pb2.SecretGetInfoRequest, caller: Caller
    ) -> api_pb2.SecretGetInfoResponse:
        return api_pb2.SecretGetInfoResponse(metadata=find(self.secrets, request.secret_id, "Secret").metadata())
