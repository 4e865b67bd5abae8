"""The image of an engine: CUDA's base, the engine's lock through uv, the recipe's additions, our package last.

Versions are the lock's own, so that what runs there is what was tested; the package itself is mounted, not built in, so
that a new sftrun does not build a new image.
"""

from pathlib import Path

import modal

from sftrun import __file__ as package_file
from sftrun.contract import engines
from sftrun.contract.choices import EngineName
from sftrun.facts import locks
from sftrun.recipe.models import Image

CUDA_BASE = "nvidia/cuda:13.0.1-devel-ubuntu24.04"  # devel: compiled layers need ptxas and headers
PYTHON = "3.11"
CACHE_MOUNT = "/sftrun"


def image(engine: EngineName, additions: Image, *, gpu: bool) -> modal.Image:
    """The recipe's image; without a GPU on a slim base."""
    base = (
        modal.Image.from_registry(CUDA_BASE, add_python=PYTHON).entrypoint([])
        if gpu
        else modal.Image.debian_slim(python_version=PYTHON)
    )
    built = base.apt_install("build-essential", *additions.apt).uv_pip_install(*_pins(engine))
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
