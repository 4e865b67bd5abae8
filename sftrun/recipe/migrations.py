"""Version 0 (the flat form) -> version 1, as edits of the text: comments, order, quotes and values stay.

The flat form is what people wrote before there were sections: every setting a key at top level, under the names of
hand-written training scripts.  Each entry (its comment lines, its key, its value) moves as it stands, two blanks to
the right, below the section that it belongs to; a section stands where its first entry stood.
"""

import re
from dataclasses import dataclass, field

from sftrun.errors import SftrunError
from sftrun.recipe.read.nodes import MapNode, Node, ScalarNode
from sftrun.recipe.read.reading import values_of
from sftrun.recipe.read.source import parse

# flat key -> dotted key of version 1
FLAT: dict[str, str] = {
    "model_name": "model.name_or_path",
    "model_revision": "model.revision",
    "dtype": "model.dtype",
    "attn_implementation": "model.attn_implementation",
    "trust_remote_code": "model.trust_remote_code",
    "load_in_4bit": "quantization.load_in_4bit",
    "load_in_8bit": "quantization.load_in_8bit",
    "bnb_4bit_quant_type": "quantization.bnb_4bit_quant_type",
    "use_double_quant": "quantization.bnb_4bit_use_double_quant",
    "lora_r": "lora.r",
    "lora_alpha": "lora.lora_alpha",
    "lora_dropout": "lora.lora_dropout",
    "lora_bias": "lora.bias",
    "target_modules": "lora.target_modules",
    "train_file": "dataset.train",
    "eval_file": "dataset.eval",
    "val_size": "dataset.eval_fraction",
    "data_format": "dataset.format",
    "prompt_template": "dataset.instruction_template",
    "engine": "trainer.engine",
    "epochs": "trainer.num_train_epochs",
    "max_steps": "trainer.max_steps",
    "max_seq_length": "trainer.max_length",
    "packing": "trainer.packing",
    "batch_size": "trainer.per_device_train_batch_size",
    "eval_batch_size": "trainer.per_device_eval_batch_size",
    "gradient_accumulation_steps": "trainer.gradient_accumulation_steps",
    "learning_rate": "trainer.learning_rate",
    "lr_scheduler": "trainer.lr_scheduler_type",
    "warmup_steps": "trainer.warmup_steps",
    "warmup_ratio": "trainer.warmup_ratio",
    "weight_decay": "trainer.weight_decay",
    "max_grad_norm": "trainer.max_grad_norm",
    "optimizer": "trainer.optim",
    "gradient_checkpointing": "trainer.gradient_checkpointing",
    "bf16": "trainer.bf16",
    "fp16": "trainer.fp16",
    "logging_steps": "trainer.logging_steps",
    "eval_steps": "trainer.eval_steps",
    "save_steps": "trainer.save_steps",
    "save_total_limit": "trainer.save_total_limit",
    "seed": "trainer.seed",
    "report_to": "trainer.report_to",
    "executor": "compute.executor",
    "gpu": "compute.gpu",
    "timeout": "compute.timeout",
    "cpu": "compute.cpu",
    "memory": "compute.memory",
    "retries": "compute.retries",
    "output_dir": "output.dir",
    "sample_prompts": "samples.prompts",
    "max_new_tokens": "samples.max_new_tokens",
    "max_usd": "budget.max_usd",
}
# words that version 1 spells otherwise
_WORDS = {"data_format": {"alpaca": "instruction", "chat": "messages", "sharegpt": "messages", "raw": "text"}}
_LINES = re.compile("[^\n\r]*(?:\r\n|\n|\r|$)")


@dataclass
class _Entry:
    """A key at top level with its lines; comments directly above belong to it."""

    key: str
    lines: list[str]
    # index of the key's own line
    at: int = 0


@dataclass
class _Section:
    name: str
    entries: list[_Entry] = field(default_factory=list)


def migrate(text: str, file: str) -> str:
    """The text as version 1; the same text if it is that already.  SftrunError where it can't be done."""
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    body = text.removeprefix("\ufeff")
    parsed, _ = parse(body, file)
    if parsed.root is None or any(found.code.startswith("Y") for found in parsed.diagnostics):
        raise SftrunError(f"`{file}` is not sound YAML yet", help=f"see `sftrun validate {file}`")
    version = parsed.root.items.get("version")
    if isinstance(version, ScalarNode) and version.value is not None and version.value != 0:
        if version.value == 1:
            return text
        raise SftrunError(f"`{file}` has version `{version.text}`, which this program doesn't know", help="upgrade it")
    head, entries = _entries(body, parsed.root, file)
    newline = "\r\n" if "\r\n" in body else "\n"
    moved = "".join([*head, *(line for part in _grouped(entries) for line in _written(part, newline))])
    _compare(parsed.root, moved, file)
    return mark + moved


def _entries(text: str, root: MapNode, file: str) -> tuple[list[str], list[_Entry]]:
    lines = [line for line in _LINES.findall(text) if line]
    starts = [(root.keys[key].line - 1, key) for key in root.items]
    if len({start for start, _ in starts}) < len(starts) or any(root.keys[key].column != 1 for _, key in starts):
        raise SftrunError(f"`{file}` has several keys on one line", help="write one key a line, then migrate")
    bounds = [_with_comments(start, lines) for start, _ in starts]
    head = lines[: bounds[0]]
    ends = [*bounds[1:], len(lines)]
    entries = [
        _Entry(key, lines[first:end], start - first)
        for (start, key), first, end in zip(starts, bounds, ends, strict=True)
    ]
    if not any(entry.key == "version" for entry in entries):
        newline = "\r\n" if lines[0].endswith("\r\n") else "\n"
        entries.insert(0, _Entry("version", [f"version: 1{newline}"]))
    return head, entries


def _with_comments(start: int, lines: list[str]) -> int:
    """The first of the comment lines directly above a key; the file's opening comment stays where it is."""
    first = start
    while first > 0 and lines[first - 1].startswith("#"):
        first -= 1
    return start if first == 0 else first


def _grouped(entries: list[_Entry]) -> list[_Entry | _Section]:
    parts: list[_Entry | _Section] = []
    sections: dict[str, _Section] = {}
    for entry in entries:
        name = FLAT[entry.key].partition(".")[0] if entry.key in FLAT else None
        if name is None:
            parts.append(entry)
            continue
        if name not in sections:
            sections[name] = _Section(name)
            parts.append(sections[name])
        sections[name].entries.append(entry)
    return parts


def _written(part: _Entry | _Section, newline: str) -> list[str]:
    if isinstance(part, _Entry):
        return _renumbered(part) if part.key == "version" else part.lines
    lines = [f"{part.name}:{newline}"]
    for entry in part.entries:
        lines += _indented(entry, newline)
    return lines


def _renumbered(entry: _Entry) -> list[str]:
    lines = list(entry.lines)
    lines[entry.at] = re.sub(r"^(\S+\s*:\s*)[^\s#]+", r"\g<1>1", lines[entry.at], count=1)
    return lines


def _indented(entry: _Entry, newline: str) -> list[str]:
    lines = list(entry.lines)
    name = FLAT[entry.key].rpartition(".")[2]
    lines[entry.at] = _renamed(lines[entry.at], entry.key, name)
    # the last line of a file may have no end of its own
    lines[-1] = lines[-1] if lines[-1].endswith(("\n", "\r")) else lines[-1] + newline
    return ["  " + line if line.strip() else line for line in lines]


def _renamed(line: str, key: str, name: str) -> str:
    line = re.sub(rf"^(['\"]?){re.escape(key)}\1(?=\s*:)", name, line, count=1)
    words = _WORDS.get(key, {})
    pattern = "|".join(map(re.escape, words))
    if not words:
        return line
    return re.sub(rf"(:\s*['\"]?)({pattern})(?=['\"]?\s*(?:#.*)?$)", lambda m: m[1] + words[m[2]], line, count=1)


def _compare(before: MapNode, moved: str, file: str) -> None:
    """Every value stands where it belongs, unchanged: else the text was of a form that was not foreseen."""
    parsed, _ = parse(moved, file)
    for key, node in before.items.items():
        there: Node | None = parsed.root
        for name in FLAT.get(key, key).split("."):
            there = there.items.get(name) if isinstance(there, MapNode) else None
        same = key == "version" or key in _WORDS or (there is not None and values_of(there) == values_of(node))
        if not same:
            raise SftrunError(f"`{key}` of `{file}` can't be moved safely", help="move it by hand, see the docs")
