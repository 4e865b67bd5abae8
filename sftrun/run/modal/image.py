"""The image of an engine: CUDA's base, the engine's lock through uv, the recipe's additions, our package last.

Versions are the lock's own, so that what runs there is what was tested; the package itself is mounted, not built in, so
that a new sftrun does not build a new image.

A build is heard line by line: its log goes into a file, and of one that fails the key is named that brought the fault.
Modal shows a build on the terminal or not at all; what comes between is private (two names), so a client without them
builds in silence and the log is fetched afterwards.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import modal

from sftrun import __file__ as package_file
from sftrun.contract import engines
from sftrun.contract.choices import TRACKERS, EngineName
from sftrun.errors import RemoteError
from sftrun.facts import locks
from sftrun.plan.types import Plan
from sftrun.recipe.models import Image
from sftrun.run.modal.wire_errors import redacted
from sftrun.units import age

CUDA_BASE = "nvidia/cuda:13.0.1-devel-ubuntu24.04"  # devel: compiled layers need ptxas and headers
PYTHON = "3.11"
CACHE_MOUNT = "/sftrun"
_SHOWN_LINES = 5
_SEARCHED_LINES = 40
Say = Callable[[str], None]


def image(engine: EngineName, additions: Image, *, gpu: bool, trackers: Sequence[str] = ()) -> modal.Image:
    """The recipe's image, with its trackers; without a GPU on a slim base."""
    base = (
        modal.Image.from_registry(CUDA_BASE, add_python=PYTHON).entrypoint([])
        if gpu
        else modal.Image.debian_slim(python_version=PYTHON)
    )
    pinned = [*_pins(engine), *(TRACKERS[name] for name in trackers)]  # at once, so that none moves the other
    built = base.apt_install("build-essential", *additions.apt).uv_pip_install(*pinned)
    if additions.pip:
        built = built.uv_pip_install(*additions.pip)
    built = built.env({"HF_HOME": f"{CACHE_MOUNT}/huggingface", "HF_XET_HIGH_PERFORMANCE": "1", **additions.env})
    return with_package(built)


def with_package(built: modal.Image) -> modal.Image:
    """Our package with its data files (the embedded model), at the container's working folder."""
    folder = Path(package_file).parent
    return built.add_local_dir(str(folder), "/root/sftrun", ignore=["**/__pycache__", "**/*.pyc"])


def _pins(engine: EngineName) -> list[str]:
    return [f"{name}=={version}" for name, version in sorted(locks.read(engines.engine(engine).lock).items())]


class BuildLog:
    """Lines into a file as they come; the first one is said."""

    def __init__(self, path: Path, say: Say) -> None:
        self._path, self._say = path, say
        self.began: float | None = None
        self.seconds = 0.0

    def write(self, text: str) -> None:
        if self.began is None:
            self.began = time.monotonic()
            self._say(f"building the image; its log is `{self._path}`")
        with self._path.open("a", encoding="utf-8") as file:
            file.write(redacted(text))
        self.seconds = time.monotonic() - self.began

    def tail(self, count: int = _SHOWN_LINES) -> list[str]:
        if not self._path.exists():
            return []
        lines = self._path.read_text(errors="replace").splitlines()
        return [line.rstrip() for line in lines if line.strip()][-count:]


@contextmanager
def heard(path: Path, plan: Plan, recipe_text: str, say: Say) -> Iterator[BuildLog]:
    """While inside, builds are heard; a build that fails becomes our words."""
    path.unlink(missing_ok=True)
    log = BuildLog(path, say)
    try:
        with _bridge(log):
            yield log
    except modal.exception.ImageBuildError as error:
        if not log.tail():
            log.write(_fetched(error.image_id))
        raise failure(log.tail(_SEARCHED_LINES), plan, recipe_text, path) from error
    if log.began is not None:
        say(f"the image was built in {age(log.seconds)}")


def failure(lines: list[str], plan: Plan, recipe_text: str, path: Path) -> RemoteError:
    """The last lines of the log, and the line of the recipe that brought the package."""
    shown = "".join(f"\n  | {line}" for line in lines[-_SHOWN_LINES:])
    return RemoteError(
        f"the image could not be built{shown}", help=f"{culprit(lines, plan, recipe_text)}; all of the log: {path}"
    )


def culprit(lines: list[str], plan: Plan, recipe_text: str) -> str:
    """Which key to change: the last of the recipe's packages that the log names, else the engine's lock."""
    text = "\n".join(lines).lower()
    additions = plan.recipe.compute.image
    named = [("pip", each) for each in additions.pip] + [("apt", each) for each in additions.apt]
    for kind, package in reversed(named):
        if re.search(rf"(?<![\w-]){re.escape(_name(package).lower())}(?![\w-])", text):
            return f"change `{package}` under `compute.image.{kind}`{_line(recipe_text, package)}"
    if named:
        return "look at `compute.image` of the recipe"
    return f"it is the lock of the engine `{plan.trainer.engine}`: run it again, or open an issue with the log"


def _name(requirement: str) -> str:
    return re.split(r"[\s\[<>=!~;@]", requirement, maxsplit=1)[0]


def _line(text: str, package: str) -> str:
    found = next((number for number, line in enumerate(text.splitlines(), 1) if package in line), None)
    return f" (line {found} of the recipe)" if found else ""


def _fetched(image_id: str) -> str:
    with suppress(Exception):  # a log that can't be had must not hide the failure
        return "\n".join(entry.message.rstrip("\n") for entry in modal.Image.from_id(image_id).logs.tail()) + "\n"
    return "no log was kept\n"


@contextmanager
def _bridge(log: BuildLog) -> Iterator[None]:
    """Put our ear where Modal's own output would be; nothing where this client has no such place."""
    try:
        from modal._output.manager import DisabledOutputManager, OutputManager
    except ImportError:
        yield
        return

    class Ear(DisabledOutputManager):
        async def put_streaming_log(self, log_entry: Any, prefix: str = "") -> None:
            with suppress(OSError):
                log.write(log_entry.data)

    before = OutputManager.get()
    OutputManager._set(Ear())
    try:
        yield
    finally:
        OutputManager._set(before)
