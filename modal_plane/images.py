"""Images: build commands are recorded and 'built' by telling their log; nothing is installed.

What an image really holds is the interpreter that the plane starts containers with (`python=`).
"""

import asyncio
import shlex
import time
from collections.abc import AsyncIterator, Iterator

from modal_proto import api_pb2

from .state import STDOUT, SYSTEM, App, Image, World, find, new_id
from .wire import Caller

SUCCESS, FAILURE = api_pb2.GenericResult.GENERIC_STATUS_SUCCESS, api_pb2.GenericResult.GENERIC_STATUS_FAILURE


class Images:
    def __init__(self, world: World) -> None:
        self.world = world
        self._by_definition: dict[bytes, Image] = {}
        self._builder = App(new_id("ap"), "image builder", api_pb2.APP_STATE_DEPLOYED, {})

    def forget(self) -> None:
        """Empty the cache: the next run builds again."""
        self._by_definition.clear()

    def commands(self, image_id: str) -> list[str]:
        """All Dockerfile lines of an image, its bases' first."""
        definition = find(self.world.images, image_id, "Image").definition
        below = [line for base in definition.base_images if base.image_id for line in self.commands(base.image_id)]
        return below + list(definition.dockerfile_commands)

    def environment(self, image_id: str) -> dict[str, str]:
        """Its `ENV` lines."""
        return dict(pair for line in self.commands(image_id) for pair in _env_pairs(line)) if image_id else {}

    async def ImageGetOrCreate(
        self, request: api_pb2.ImageGetOrCreateRequest, caller: Caller
    ) -> api_pb2.ImageGetOrCreateResponse:
        """A reply without `result.status` makes the client join the build; one with it says the image is cached."""
        key = request.image.SerializeToString(deterministic=True)
        known = self._by_definition.get(key)
        if known is None or known.failure or request.force_build or request.ignore_cache:
            self._by_definition[key] = known = self._begin(request.image)
            return api_pb2.ImageGetOrCreateResponse(image_id=known.id)
        if not known.is_built:
            return api_pb2.ImageGetOrCreateResponse(image_id=known.id)
        return api_pb2.ImageGetOrCreateResponse(image_id=known.id, result=_result(known), metadata=self._metadata())

    async def ImageJoinStreaming(
        self, request: api_pb2.ImageJoinStreamingRequest, caller: Caller
    ) -> AsyncIterator[api_pb2.ImageJoinStreamingResponse]:
        image = find(self.world.images, request.image_id, "Image")
        deadline = time.time() + (request.timeout or 55.0)
        for number in range(int(request.last_entry_id or 0), len(image.log)):
            due = image.started_at + image.seconds * number / len(image.log)
            await asyncio.sleep(max(0.0, min(due, deadline) - time.time()))
            if due > deadline:
                return
            entry = api_pb2.TaskLogs(data=image.log[number], timestamp=time.time(), file_descriptor=STDOUT)
            yield api_pb2.ImageJoinStreamingResponse(task_logs=[entry], entry_id=str(number + 1))
        await asyncio.sleep(max(0.0, min(image.started_at + image.seconds, deadline) - time.time()))
        if image.is_built:
            yield api_pb2.ImageJoinStreamingResponse(result=_result(image), metadata=self._metadata(), eof=True)

    async def ImageFromId(self, request: api_pb2.ImageFromIdRequest, caller: Caller) -> api_pb2.ImageFromIdResponse:
        image = find(self.world.images, request.image_id, "Image")
        return api_pb2.ImageFromIdResponse(image_id=image.id, metadata=self._metadata())

    async def ImageBuildChainGet(
        self, request: api_pb2.ImageBuildChainGetRequest, caller: Caller
    ) -> api_pb2.ImageBuildChainGetResponse:
        """Where `image.logs` finds the log of each layer: in the builder's App, by task."""
        steps = [self._step(image) for image in self._chain(find(self.world.images, request.image_id, "Image"))]
        return api_pb2.ImageBuildChainGetResponse(build_steps=steps)

    def _begin(self, definition: api_pb2.Image) -> Image:
        settings, image_id = self.world.settings, new_id("im")
        lines = [f"Building image {image_id}\n"]
        failure = ""
        for number, command in enumerate(definition.dockerfile_commands, 1):
            lines.append(f"=> Step {number}: {command}\n")
            failure = next((last for part, last in settings.build_failures.items() if part in command), "")
            if failure:
                lines += [f"{failure}\n", f'Terminating task due to error: failed to run builder command "{command}"\n']
                break
        lines += [f"{line}\n" for line in settings.build_log]
        image = Image(image_id, definition, lines, time.time(), settings.build_seconds, failure)
        self.world.images[image_id] = image
        for line in lines:
            self._log(image, line, STDOUT)
        self._log(image, "Image build failed.\n" if failure else f"Built image {image_id}\n", SYSTEM)
        return image

    def _log(self, image: Image, line: str, source: int) -> None:
        self.world.log(line, source, app_id=self._builder.id, task_id=image.task_id)

    def _chain(self, image: Image) -> list[Image]:
        bases = [self.world.images[base.image_id] for base in image.definition.base_images if base.image_id]
        return [each for base in bases for each in self._chain(base)] + [image]

    def _step(self, image: Image) -> api_pb2.ImageBuildStep:
        step = api_pb2.ImageBuildStep(image_id=image.id, builder_app_id=self._builder.id, builder_task_id=image.task_id)
        step.started_at.FromMilliseconds(int(image.started_at * 1000) - 1)
        step.finished_at.FromMilliseconds(int((image.started_at + max(image.seconds, 1.0)) * 1000))
        return step

    def _metadata(self) -> api_pb2.ImageMetadata:
        return api_pb2.ImageMetadata(
            python_version_info="3.11.9", image_builder_version=self.world.settings.image_builder_version
        )


def _result(image: Image) -> api_pb2.GenericResult:
    return (
        api_pb2.GenericResult(status=FAILURE, exception="") if image.failure else api_pb2.GenericResult(status=SUCCESS)
    )


def _env_pairs(command: str) -> Iterator[tuple[str, str]]:
    word, _, rest = command.partition(" ")
    if word.upper() == "ENV":
        for pair in shlex.split(rest):
            key, _, value = pair.partition("=")
            yield key, value
