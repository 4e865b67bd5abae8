"""What a hurried user most likely meant by a value, where that is nearly certain: one line that can be typed."""

import json
import re

from sftrun.contract import executors
from sftrun.diagnostics import Path
from sftrun.recipe import known
from sftrun.recipe.read.nodes import ListNode, MapNode, Node, ScalarNode, Source

# a section given as one value -> the key of it that was meant
_SHORT = {("model",): "name_or_path", ("output",): "dir", ("budget",): "max_usd", ("dataset",): "train"}
_FORMATS = {
    "alpaca": "instruction",
    "sharegpt": "messages",
    "chat": "messages",
    "chatml": "messages",
    "chat_template": "messages",
    "conversations": "messages",
    "openai": "messages",
    "completion": "text",
    "pretrain": "text",
    "raw": "text",
}
_SEVERAL = "write a glob for several files: `data/*.jsonl`"


def meant(path: Path, node: Node | None, source: Source) -> str | None:
    """The advice for the value at `path`, or None where the general words are as good."""
    if path == ("volumes",):
        return _volumes(node)
    if isinstance(node, ListNode) and path in (("dataset", "train"), ("dataset", "eval")):
        return _SEVERAL
    if isinstance(node, ListNode) and path == ("samples",):
        return _prompts(node)
    if not isinstance(node, ScalarNode) or node.value is None:
        return None
    if path == ("output",) and isinstance(node.value, str):
        return _output(node.text, source)
    if path in _SHORT:
        return f"write `{path[0]}: {{{_SHORT[path]}: {node.text}}}`"
    return _of_text(path, node.text) if isinstance(node.value, str) else _of_number(path, node.value)


def gpu(text: str) -> str | None:
    """`H100 x 2`, `2xh100`, `NVIDIA H100 80GB` -> the name as Modal has it, with the count."""
    words = re.split(r"[^a-z0-9-]+", re.sub(r"^(\d)\s*x\s*|\s*x\s*(\d)$", r" \1\2 ", text.strip().lower()))
    names = [name for name in known.GPUS if name.lower() in words]
    count = next((word for word in words if re.fullmatch("[1-8]", word)), None)
    return None if len(names) != 1 else f"{names[0]}:{count}" if count else names[0]


def _prompts(node: ListNode) -> str | None:
    texts = [json.dumps(one.text, ensure_ascii=False) for one in node.items if isinstance(one, ScalarNode)]
    return f"write `samples: {{prompts: [{', '.join(texts)}]}}`" if len(texts) == len(node.items) else None


def _output(path: str, source: Source) -> str:
    """The whole of it at once: on Modal a mount above it too."""
    volumes, compute = source.find(("volumes",)), source.find(("compute",))
    said = compute.items if isinstance(compute, MapNode) else {}
    words = {key: node.text for key, node in said.items() if isinstance(node, ScalarNode)}
    place = executors.EXECUTORS.get(words.get("executor", ""))
    mount = next(iter(volumes.items), None) if isinstance(volumes, MapNode) else None
    rents = (place is not None and place.rents) or ("gpu" in words and words["gpu"].lower() not in known.NO_GPU)
    if (place is not None and place.is_here) or not (rents or mount) or (path.startswith("/") and mount):
        return f"write `output: {{dir: {path}}}`"
    inside = "/".join(part for part in path.split("/") if part not in ("", ".", ".."))
    if mount:
        return f"write `output: {{dir: {mount.rstrip('/')}/{inside}}}`"
    below = path if path.startswith("/") and path.count("/") > 1 else f"/outputs/{inside}"
    return f"write `output: {{dir: {below}}}`, and add `volumes: {{/{below.split('/')[1]}: my-volume}}`"


def _volumes(node: Node | None) -> str:
    pair = re.fullmatch(r"([\w.-]+):(/[\w./-]+)", node.text) if isinstance(node, ScalarNode) else None
    return f"write `volumes: {{{pair[2]}: {pair[1]}}}`" if pair else "write `volumes: {/data: my-volume}`"


def _of_text(path: Path, text: str) -> str | None:
    if path == ("compute",):
        key = "executor" if text in executors.EXECUTORS else "gpu"
        return f"write `compute: {{{key}: {gpu(text) or text}}}`"
    if path == ("quantization",) and (bits := re.search("[48]", text)):
        return f"write `quantization: {{load_in_{bits[0]}bit: true}}`"
    if path == ("dataset", "format") and text.lower() in _FORMATS:
        return f"write `format: {_FORMATS[text.lower()]}`"
    if path == ("lora", "init_lora_weights"):
        changes = text.lower().startswith(("pissa", "olora", "corda", "loftq"))
        return f"write `true`: `{text}` would change the base's weights beside the adapter" if changes else None
    if path == ("trainer", "report_to") and re.fullmatch(r"\w+", text):
        return f"write `[{text}]`"
    return None


def _of_number(path: Path, value: object) -> str | None:
    if path == ("lora",) and value is True:
        return "write `lora: {}` for the defaults"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if path == ("dataset", "eval_fraction") and 1 < value < 100:
        return f"write `{value / 100:g}` for {value:g} %"
    if path == ("trainer", "max_steps") and value <= 0:
        return "leave it out; `num_train_epochs` says how long then"
    if path == ("trainer", "warmup_steps") and 0 < value < 1:
        return f"write `warmup_ratio: {value:g}`"
    if path == ("compute", "gpu") and 0 < value <= known.MOST_GPUS:
        return f"write the GPU's name with the count behind it: `L4:{value:g}`"
    return None
