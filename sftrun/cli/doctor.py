"""`sftrun doctor`: what this machine can run, what is missing, and the command that mends it.

It looks without importing torch (half a minute on a cold disk): packages by their metadata, GPUs by `nvidia-smi`.
"""

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import click

from sftrun.cli.options import format_option
from sftrun.run.folders import ledger_folder
from sftrun.run.local import INSTALL, PACKAGES

_LOW_DISK_BYTES = 10e9


@dataclass(frozen=True)
class Finding:
    """One thing looked at.  `mend` is the command that puts it right; empty if there is nothing to mend."""

    about: str
    ok: bool
    said: str
    mend: str = ""


@click.command()
@format_option()
def command(form: str) -> int:
    """Say what this machine can run, what is missing, and the command that mends it.

    The exit status is 0 where recipes can be run here or on Modal, and 1 where neither can be.

    \b
    Examples:
      sftrun doctor
      sftrun doctor --format json
    """
    found = [finding for look in LOOKS for finding in look()]
    by_name = {finding.about: finding.ok for finding in found}
    can_run = {"here": by_name["packages"] and by_name["python"], "modal": by_name["modal"]}
    if form == "json":
        click.echo(json.dumps({"can_run": can_run, "findings": [asdict(f) for f in found]}, indent=2))
    else:
        _print(found, can_run)
    return 0 if any(can_run.values()) else 1


def _print(found: list[Finding], can_run: dict[str, bool]) -> None:
    width = max(len(finding.about) for finding in found)
    for finding in found:
        click.echo(f"{'✓' if finding.ok else '✗'} {finding.about:{width}}  {finding.said}")
        if finding.mend:
            click.echo(f"  {'':{width}}  → {finding.mend}")
    where = [name for name, can in (("on this machine", can_run["here"]), ("on Modal", can_run["modal"])) if can]
    click.echo(f"\nrecipes can run {' and '.join(where)}" if where else "\nrecipes can't run from here yet")


def _python() -> Iterator[Finding]:
    ok = sys.version_info >= (3, 11)
    yield Finding("python", ok, platform.python_version(), "" if ok else "install Python 3.11 or newer")


def _packages() -> Iterator[Finding]:
    versions = {name: _version(name) for name in (*PACKAGES, "bitsandbytes")}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        yield Finding("packages", False, f"missing for running here: {', '.join(missing)}", INSTALL)
    else:
        yield Finding("packages", True, ", ".join(f"{name} {version}" for name, version in versions.items()))


def _gpus() -> Iterator[Finding]:
    from sftrun.facts.machine import machine

    here = machine()
    if here.gpu_count:
        size = f"{here.gpu_memory_gb:.0f} GB each" + ("" if here.has_bf16 else ", no bfloat16")
        yield Finding("gpu", True, f"{here.gpu_count} × {here.gpu_name}, {size}")
    else:
        yield Finding("gpu", True, "none: small models train on the CPU (`compute.gpu: none`)")
    yield from _driver()
    yield Finding("cpu", True, f"{here.cpu_cores} cores, {here.memory_gb:.0f} GB memory")


def _driver() -> Iterator[Finding]:
    """Whether the driver is there and new enough for torch, and torch is one that uses it."""
    from sftrun.facts import locks
    from sftrun.facts.gpus import drivers

    found = drivers.driver()
    if found is None:
        return
    if found.fault:
        yield Finding("driver", False, found.fault, "reinstall NVIDIA's driver, then reboot")
        return
    locked = locks.read("trl")["torch"]
    cuda = drivers.torch_cuda()
    if cuda == "":
        said = f"{found.version}; the installed torch is built for the CPU and leaves {found.gpus[0]} alone"
        yield Finding("driver", False, said, f"pip install --force-reinstall torch=={locked}")
        return
    wanted = cuda or drivers.LOCKED_CUDA[locked]
    whose = f"torch's CUDA {wanted}" if cuda else f"CUDA {wanted} of the locked torch {locked}"
    oldest = drivers.oldest_driver(wanted)
    if oldest is not None and found.major < oldest:
        mend = f"sudo apt-get install nvidia-driver-{oldest} && sudo reboot"
        yield Finding("driver", False, f"{found.version} is too old for {whose}, which needs {oldest} or newer", mend)
    else:
        yield Finding("driver", True, f"{found.version}, new enough for {whose}")


def _ledger() -> Iterator[Finding]:
    folder = ledger_folder()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        yield Finding("ledger", False, f"`{existing}` can't be written", "export SFTRUN_HOME=~/.sftrun")
        return
    free = shutil.disk_usage(existing).free
    low = "; that is little for a model's checkpoints" if free < _LOW_DISK_BYTES else ""
    yield Finding("ledger", True, f"{folder}, {free / 1e9:.0f} GB free{low}")


def _modal() -> Iterator[Finding]:
    if _version("modal") is None:
        yield Finding("modal", False, "the client is not installed", "pip install modal")
    elif has_modal_token():
        yield Finding("modal", True, f"client {_version('modal')}, a token is set")
    else:
        yield Finding("modal", False, "no token", "modal token new")


def _hub() -> Iterator[Finding]:
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    if os.environ.get("HF_TOKEN") or (home / "token").exists():
        yield Finding("hub", True, "a token is set")
    else:
        yield Finding("hub", True, "no token: gated models need one (`hf auth login`)")


def has_modal_token() -> bool:
    """Whether Modal's client will find a token, by its environment or file."""
    return bool(os.environ.get("MODAL_TOKEN_ID")) or _modal_config().exists()


def _modal_config() -> Path:
    return Path(os.environ.get("MODAL_CONFIG_PATH") or Path.home() / ".modal.toml")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (_python, _packages, _gpus, _ledger, _modal, _hub)
