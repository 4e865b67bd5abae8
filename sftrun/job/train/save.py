"""The output folder, whole or not at all: written beside, flushed, then swapped in by renaming."""

import json
import shutil
from itertools import chain, count
from pathlib import Path
from typing import Any

from sftrun.contract import output_marker
from sftrun.contract.events import Finished
from sftrun.contract.jobspec import JobSpec, ModelSpec
from sftrun.contract.output_marker import MARKER, OutputMarker
from sftrun.disk import files, outside
from sftrun.job.train import generation
from sftrun.job.train.samples import Rows

ADAPTER_CONFIG = "adapter_config.json"
CARD = """---
base_model: {base}
library_name: {library}
tags: [sftrun, sft{lora}]
---
# {name}

{what} of `{base}`, trained for {step} steps (mean training loss {loss:.4f}) by sftrun, run `{run_id}`.

```python
{code}
```
"""
CODE_ADAPTER = """from peft import AutoPeftModelForCausalLM

model = AutoPeftModelForCausalLM.from_pretrained("PATH")"""
CODE_ADAPTER_OF_FOLDER = """from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("FOLDER OF THE BASE")
model = PeftModel.from_pretrained(base, "PATH")"""
RESIZE = "\nbase.resize_token_embeddings({})\nmodel = PeftModel"
CODE_MODEL = """from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("PATH")"""


def save(
    spec: JobSpec, model: Any, tokenizer: Any, marker: OutputMarker, weights: dict[str, Any] | None = None
) -> str | None:
    """Write adapter (or model), tokenizer, ends, card and marker; returns where what stood there was moved, if foreign.

    `weights`: those that were trained, where the model holds but a share of each.
    """
    output = Path(spec.output_dir)
    partial = output.with_name(f"{output.name}.partial-{spec.run_id}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    # the rows of added tokens are of the adapter; the whole embedding is not
    apart: dict[str, Any] = {"save_embedding_layers": False} if spec.lora is not None and spec.lora.added_tokens else {}
    model.save_pretrained(str(partial), state_dict=weights, **apart)
    _name_base(partial / ADAPTER_CONFIG, marker.base_model)
    _without_padding(tokenizer).save_pretrained(str(partial))
    generation.save(generation.config(model, tokenizer, marker.ends), partial)
    rows = model.get_input_embeddings().weight.shape[0] if apart else None
    (partial / "README.md").write_text(card(marker, rows))
    (partial / MARKER).write_text(marker.model_dump_json(indent=1) + "\n")
    files.flush_tree(partial)
    return _swap(partial, output, spec.run_id)


def _name_base(config: Path, base: str) -> None:
    """The base as the recipe names it: its place on this machine means nothing on another."""
    if config.exists():
        told = outside.read_object(config) | {"base_model_name_or_path": base}
        config.write_text(json.dumps(told, indent=2, sort_keys=True))


def _without_padding(tokenizer: Any) -> Any:
    """As it was loaded: what answers were filled up with would be saved with it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_padding()
        backend.no_truncation()
    return tokenizer


def card(marker: OutputMarker, rows: int | None = None) -> str:
    """The model card: what it is, and how to load it; `rows` of its embedding, where tokens were added."""
    return CARD.format(
        base=marker.base_model,
        library="peft" if marker.adapter else "transformers",
        lora=", lora" if marker.adapter else "",
        name=marker.name,
        what="A LoRA adapter" if marker.adapter else "A fine-tuned model",
        step=marker.step if marker.saved_step is None else marker.saved_step,
        loss=marker.train_loss,
        run_id=marker.run_id,
        code=_code(marker) if rows is None else _code(marker).replace("\nmodel = PeftModel", RESIZE.format(rows), 1),
    )


def _code(marker: OutputMarker) -> str:
    """The Hub's models have a slash in their names."""
    if not marker.adapter:
        return CODE_MODEL
    return CODE_ADAPTER if "/" in marker.base_model else CODE_ADAPTER_OF_FOLDER


def _base_name(model: ModelSpec) -> str:
    """As the recipe names it; of a folder its last part."""
    name = model.name_or_path
    return Path(name).name if Path(name).is_absolute() else name


def marker(spec: JobSpec, rows: Rows, end: Finished) -> OutputMarker:
    """What `sftrun.json` says of a run that ended so."""
    return OutputMarker(
        run_id=spec.run_id,
        name=spec.name,
        base_model=_base_name(spec.model),
        revision=spec.model.revision,
        adapter=spec.lora is not None,
        format=rows.format,
        are_conversations=rows.are_conversations,
        ends=rows.ends,
        system=rows.system,
        step=end.step,
        saved_step=end.saved_step,
        train_loss=end.train_loss,
        memory_gb=end.memory_gb,
    )


def _swap(partial: Path, output: Path, run_id: str) -> str | None:
    """Put the new folder in the old one's place.  One of ours is dropped; anybody else's is kept beside."""
    old = _aside(output, run_id)
    is_foreign = output.exists() and output_marker.read(output) is None and any(output.iterdir())
    files.put_folder(partial, output, old)
    if is_foreign:
        return str(old)
    shutil.rmtree(old, ignore_errors=True)
    return None


def _aside(output: Path, run_id: str) -> Path:
    """A name beside it for what stands there.  What a killed attempt has put aside goes only if it is ours."""
    names = chain([f"{output.name}.before-{run_id}"], (f"{output.name}.before-{run_id}-{n}" for n in count(2)))
    for old in map(output.with_name, names):
        if output_marker.read(old) is not None:
            shutil.rmtree(old, ignore_errors=True)
        if not old.exists():
            return old
    raise AssertionError
