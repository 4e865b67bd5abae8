"""What a script asks of Modal: GPU, time, Volumes, Secrets, and the packages of its image."""

import re
from typing import Any

from sftrun.recipe.foreign.draft import Draft
from sftrun.recipe.foreign.script.calls import Script
from sftrun.recipe.foreign.script.follow import Call, Unknown
from sftrun.recipe.foreign.script.script_file import ScriptFile

# what the engine's locked image has, or needs not
_LOCKED = {
    *("torch", "transformers", "trl", "peft", "datasets", "accelerate", "bitsandbytes", "unsloth", "unsloth-zoo"),
    *("huggingface-hub", "hf-transfer", "safetensors", "tokenizers", "sentencepiece", "protobuf", "numpy", "xformers"),
    *(
        "torchvision",
        "torchaudio",
        "flash-attn",
        "triton",
        "modal",
        "hf-xet",
        "liger-kernel",
        "pyyaml",
        "scipy",
        "ninja",
    ),
    *("packaging", "wheel", "einops", "psutil", "pandas", "tqdm", "cut-cross-entropy", "setuptools", "fastapi"),
}


def carry(draft: Draft, file: ScriptFile) -> dict[str, str]:
    """All of it.  Answers with the mounts: path -> name of the Volume."""
    values = file.values
    _gpu(draft, values.get("gpu"))
    retries = values.get("retries")
    if isinstance(retries, Call):
        retries = retries.named.get("max_retries", retries.positional[0] if retries.positional else None)
    if isinstance(retries, int):
        draft.put(("retries",), "compute.retries", retries)
    if isinstance(values.get("memory"), int | list):
        memory = values["memory"]
        draft.put(("memory",), "compute.memory", memory[0] if isinstance(memory, list) else memory)
    _secrets(draft, values.get("secrets"))
    _image(draft, file)
    return _volumes(draft, values.get("volumes"))


def _gpu(draft: Draft, gpu: Any) -> None:
    names = gpu if isinstance(gpu, list) else [gpu]
    made = [_gpu_name(one) for one in names if one is not None]
    if made and all(made):
        draft.put(("gpu",), "compute.gpu", made if len(made) > 1 else made[0])
    elif made:
        draft.same(("gpu",), "…", "it can't be followed, and is to be filled in")


def _gpu_name(gpu: Any) -> str | None:
    """`"A100-80GB:2"`, or the older `modal.gpu.A100(size="80GB", count=2)`."""
    if isinstance(gpu, str):
        return gpu.upper() if gpu.lower() != "any" else None
    if isinstance(gpu, Call):
        size, count = gpu.named.get("size", ""), gpu.named.get("count", 1)
        return f"{gpu.name}{f'-{size}' if size else ''}{f':{count}' if count != 1 else ''}".upper()
    return None


def _volumes(draft: Draft, volumes: Any) -> dict[str, str]:
    mounts: dict[str, str] = {}
    for mount, volume in volumes.items() if isinstance(volumes, dict) else ():
        name = volume.positional[0] if isinstance(volume, Call) and volume.positional else None
        if isinstance(mount, str) and isinstance(name, str) and not isinstance(name, Unknown):
            mounts[mount] = name
        else:
            draft.same(("volumes",), str(mount), "its name can't be followed, and is to be filled in")
    if mounts:
        draft.set("volumes", mounts, "volumes")
    elif volumes is not None and "volumes" not in draft.used:
        draft.same(("volumes",), "…", "their names can't be followed, and are to be filled in")
    return mounts


def _secrets(draft: Draft, secrets: Any) -> None:
    names: list[str] = []
    for one in secrets if isinstance(secrets, list) else ():
        name = one.positional[0] if isinstance(one, Call) and one.positional else None
        if isinstance(name, str) and one.name == "from_name":
            names.append(name)
        else:
            draft.same(("secrets",), "…", "a Secret without a name; make one, and name it in `secrets`")
    if names:
        draft.set("secrets", names, "secrets")
    elif secrets is not None and "secrets" not in draft.used:
        draft.same(("secrets",), "…", "its name can't be followed, and is to be filled in")


def _image(draft: Draft, file: ScriptFile) -> None:
    """Packages that the engine's image lacks, and environment variables."""
    packages: list[str] = []
    for found in file.script.calls("pip_install", "uv_pip_install"):
        for one in found.call.positional:
            packages += (
                [one]
                if isinstance(one, str)
                else [name for name in one if isinstance(name, str)]
                if isinstance(one, list)
                else []
            )
    more = [one for one in packages if _bare(one) not in _LOCKED and "git+" not in one and not one.startswith("-")]
    if more:
        draft.values["compute.image.pip"] = list(dict.fromkeys(more))
    system = [
        one for found in file.script.calls("apt_install") for one in found.call.positional if isinstance(one, str)
    ]
    useful = [one for one in system if one not in ("git", "build-essential", "curl", "wget", "clang")]
    if useful:
        draft.values["compute.image.apt"] = useful
    if packages:
        draft.remarks.append("the engine's image has its own locked versions of the training libraries")


def _bare(package: str) -> str:
    return re.split(r"[\[<>=!~ @;]", package, maxsplit=1)[0].strip().lower().replace("_", "-")


def here(script: Script, source: dict[str, Any]) -> dict[str, Any]:
    """A file that the image gets from this machine, where it is on this machine."""
    path = source.get("path")
    for found in script.calls("add_local_dir", "add_local_file", "copy_local_file", "copy_local_dir", "from_local_dir"):
        local, remote = (*found.call.positional, None, None)[:2]
        remote = remote or found.call.named.get("remote_path")
        if isinstance(path, str) and isinstance(local, str) and isinstance(remote, str) and path.startswith(remote):
            return {**source, "path": local.rstrip("/") + path[len(remote) :] if path != remote else local}
    return source
