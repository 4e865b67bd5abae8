"""What a step's plan is made from, as plain values: settings with what was chosen of them, the model, the machine."""

from typing import NamedTuple

from sftrun.contract.choices import Attention
from sftrun.contract.jobspec import LoraSpec, ModelSpec, QuantizationSpec, TrainerSpec
from sftrun.contract.stepplan import Place


class Model(NamedTuple):
    """Of a model's facts what decides how it is computed; the usual, where a fact is not known.

    `head_dim`: of attention.  `caps_scores`: attention's are capped.  `drops_attention`: it has dropout.
    `scales_logits`: something stands between logits and loss.  `balances_experts`: a router's loss is added.
    `has_biases`: some layer has one.  `keeps_rows_apart`: kernels under which rows of one sequence do not see each
    other.  `has_sdpa`: torch's attention computes it.
    """

    head_dim: int | None = None
    vocab_size: int | None = None
    caps_scores: bool = False
    drops_attention: bool = False
    scales_logits: bool = False
    balances_experts: bool = False
    head_has_bias: bool = False
    has_biases: bool = True
    keeps_rows_apart: frozenset[Attention] = frozenset(("eager", "sdpa", "varlen"))
    has_sdpa: bool = True


class Machine(NamedTuple):
    """What the job will find: a process for each GPU, or one without; bfloat16 is Ampere's and later GPUs'."""

    processes: int = 1
    has_gpu: bool = False
    has_bf16: bool = True


class Settings(NamedTuple):
    """Sections of the job, and what was chosen with a reason; the rest of a step's plan follows from them."""

    model: ModelSpec
    trainer: TrainerSpec
    quantization: QuantizationSpec | None = None
    lora: LoraSpec | None = None
    attention: Attention = "sdpa"
    compiled: bool = False
    checkpointed: bool = False
    dequantized: bool = False
    cuda_graphs: bool = False
    liger: bool = False
    sharded: bool = False
    preparing: Place = "job"
