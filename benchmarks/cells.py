"""Cells: one measured configuration each, as JSON, and what the estimator makes of it."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sftrun.contract.jobspec import LoraSpec, ModelSpec, QuantizationSpec, TrainerSpec
from sftrun.contract.stepplan import Layout, StepPlan
from sftrun.facts.gpus import catalog
from sftrun.facts.values import Gpu, Linear, ModelFacts
from sftrun.plan.estimate.setup import Setup
from sftrun.plan.estimate.workload import Batch
from sftrun.step.given import Machine, Model, Settings
from sftrun.step.rules import step_plan

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Shape:
    """A decoder of the Llama family."""

    hidden: int
    inner: int
    layers: int
    heads: int
    key_value_heads: int
    vocab: int
    tied: bool = False

    def facts(self) -> ModelFacts:
        head = self.hidden // self.heads
        keys = self.key_value_heads * head
        wide = {"q_proj": (self.hidden, self.hidden), "k_proj": (self.hidden, keys), "v_proj": (self.hidden, keys)}
        wide |= {"o_proj": (self.hidden, self.hidden), "gate_proj": (self.hidden, self.inner)}
        wide |= {"up_proj": (self.hidden, self.inner), "down_proj": (self.inner, self.hidden)}
        linears = tuple(
            Linear(name=name, in_features=i, out_features=o, count=self.layers) for name, (i, o) in wide.items()
        )
        weights = sum(x.in_features * x.out_features * x.count for x in linears)
        embeddings = self.vocab * self.hidden * (1 if self.tied else 2)
        norms = (2 * self.layers + 1) * self.hidden
        return ModelFacts(
            source="shipped",
            name_or_path="random",
            commit=None,
            architecture="LlamaForCausalLM",
            model_type="llama",
            parameters=weights + embeddings + norms,
            embedding_parameters=embeddings,
            other_parameters=norms,
            linears=linears,
            dtype="bfloat16",
            hidden_size=self.hidden,
            intermediate_size=self.inner,
            layers=self.layers,
            attention_heads=self.heads,
            key_value_heads=self.key_value_heads,
            head_dim=head,
            vocab_size=self.vocab,
            max_positions=8192,
            tie_word_embeddings=self.tied,
        )


# 0.1 to 14 B parameters, with the widths of models that people tune
SHAPES = {
    "tiny": Shape(128, 256, 2, 4, 4, 128),
    "0.1b": Shape(768, 2048, 12, 12, 12, 32000, True),
    "0.5b": Shape(896, 4864, 24, 14, 2, 151936, True),
    "1b": Shape(2048, 8192, 16, 32, 8, 128256, True),
    "1.5b": Shape(1536, 8960, 28, 12, 2, 151936, True),
    "3b": Shape(2048, 11008, 36, 16, 2, 151936, True),
    "phi3-mini": Shape(3072, 8192, 32, 32, 32, 32064),
    "7b": Shape(4096, 11008, 32, 32, 32, 32000),
    "8b": Shape(4096, 14336, 32, 32, 8, 128256),
    "360m": Shape(960, 2560, 32, 15, 5, 49152, True),
    "tinyllama": Shape(2048, 5632, 22, 32, 4, 32000),
    "1.7b": Shape(2048, 8192, 24, 32, 32, 49152, True),
    "llama3-3b": Shape(3072, 8192, 28, 24, 8, 128256, True),
    "qwen-7b": Shape(3584, 18944, 28, 28, 4, 152064),
    "mistral-7b": Shape(4096, 14336, 32, 32, 8, 32768),
    "14b": Shape(5120, 13824, 48, 40, 8, 152064),
}


@dataclass(frozen=True)
class Cell:
    """Settings, and (once measured) the mean micro-batch, the largest one, seconds a step and GB allocated.

    `captured`: shapes with a CUDA graph of their own, each of which holds memory.  `fused`, `logits_once`: whether the
    code had that yet.
    """

    shape: str
    stack: str = "compiled"
    bits: int = 4
    dequantize: bool = False
    checkpointing: bool = False
    layout: Layout = "packed"
    batch: int = 8
    accumulation: int = 1
    max_length: int = 2048
    rank: int = 16
    optim: str = "adamw_torch_fused"
    graphs: bool = False
    gpu: str = "H200"
    fused: bool = True
    logits_once: bool = True
    held_out: bool = False
    rows: float = 0.0
    real_tokens: float = 0.0
    tokens: float = 0.0
    squares: float = 0.0
    largest_tokens: float = 0.0
    largest_squares: float = 0.0
    seconds: float = 0.0
    allocated_gb: float = 0.0
    first_seconds: float = 0.0
    captured: int = 0
    reserved_gb: float = 0.0

    @property
    def name(self) -> str:
        bits = "NF4 once" if self.dequantize else "NF4" if self.bits == 4 else "bf16"
        batch = f"{self.batch}×{self.accumulation}×{self.max_length}"
        how = f"{self.shape} {self.stack} {bits} {self.layout.replace('_', '-')} {batch} r{self.rank}"
        return how + (" ckpt" if self.checkpointing else "") + (" graphs" if self.graphs else "")

    @property
    def group(self) -> tuple[Any, ...]:
        """Cells alike in this share a model, a process and compiled layers."""
        return self.shape, self.stack, self.bits, self.dequantize, self.checkpointing, self.rank

    def setup(self) -> Setup:
        trainer = TrainerSpec(
            engine="unsloth" if self.stack == "unsloth" else "trl",
            max_length=self.max_length,
            packing=self.layout == "packed",
            per_device_train_batch_size=self.batch,
            gradient_accumulation_steps=self.accumulation,
            optim=self.optim,
        )
        model, facts = ModelSpec(name_or_path="random"), SHAPES[self.shape].facts()
        quantization = QuantizationSpec(load_in_4bit=True) if self.bits == 4 else None
        lora = LoraSpec(r=self.rank, lora_alpha=16.0, target_modules=TARGETS)
        return Setup(facts, model, trainer, quantization, lora, self._step(model, trainer, quantization, lora))

    def _step(
        self, model: ModelSpec, trainer: TrainerSpec, quantization: QuantizationSpec | None, lora: LoraSpec
    ) -> StepPlan:
        """As today's plan would have it, but for what the code had not yet and how its rows lay."""
        given = Settings(
            model=model,
            trainer=trainer,
            quantization=quantization,
            lora=lora,
            attention="sdpa" if self.stack in ("eager", "unsloth") else "varlen" if self.fused else "flash_attention_2",
            compiled=self.stack == "compiled",
            checkpointed=self.checkpointing,
            dequantized=self.dequantize,
            cuda_graphs=self.graphs,
            liger=self.stack == "liger",
        )
        planned = step_plan(given, Model(vocab_size=SHAPES[self.shape].vocab), Machine(has_gpu=True))
        head = planned.head if self.logits_once else "learnt"
        fused = planned.fused_lora and self.fused
        return planned.model_copy(update={"layout": self.layout, "fused_lora": fused, "head": head})

    def measured_batch(self) -> Batch:
        return Batch(
            layout=self.layout,
            rows=self.rows,
            real_tokens=self.real_tokens,
            tokens=self.tokens,
            squares=self.squares,
            largest_tokens=self.largest_tokens,
            largest_squares=self.largest_squares,
        )


def gpu_of(name: str) -> Gpu:
    """The catalog's GPU."""
    found = catalog.find(catalog.shipped(), name)
    if found is None:
        raise SystemExit(f"no GPU {name} in the catalog")
    return found


def read(path: Path) -> tuple[Cell, ...]:
    known = {field.name for field in fields(Cell)}
    if not path.is_file():
        raise SystemExit(f"there is no file {path}")
    entries: list[dict[str, Any]] = json.loads(path.read_text())
    return tuple(Cell(**{k: v for k, v in entry.items() if k in known}) for entry in entries)


def write(path: Path, cells: Iterable[Cell]) -> None:
    path.write_text("[\n" + ",\n".join("  " + json.dumps(asdict(cell)) for cell in cells) + "\n]\n")
