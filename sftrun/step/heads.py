"""Who makes logits and loss: TRL, or the job's own head (`job.fast.head`), and whether logits are made once."""

from typing import Final

from sftrun.contract.jobspec import LoraSpec
from sftrun.contract.stepplan import Head
from sftrun.step.given import Machine, Model, Settings

ALIGNED: Final = 8  # 16 bytes of logits
NAME: Final = "lm_head"


def is_aligned(vocabulary: int) -> bool:
    """Whether rows of logits as wide as the vocabulary begin where products are fast."""
    return vocabulary % ALIGNED == 0


def trains_head(lora: LoraSpec | None) -> bool:
    """Whether the output head's weights are trained: all, by `modules_to_save`, as the embedding, or some rows."""
    return (
        lora is None
        or lora.ensure_weight_tying
        or lora.added_tokens > 0
        or any(name.rpartition(".")[2] == NAME for name in lora.modules_to_save)
    )


def head(given: Settings, model: Model, machine: Machine) -> Head:
    """`learnt` where the loss is the plain one, `frozen` where its kernels fit besides."""
    extra = given.trainer.extra
    is_other = extra.get("loss_type", "nll") != "nll" or bool(extra.get("label_smoothing_factor"))
    balances = model.balances_experts and extra.get("router_aux_loss_coef") != 0
    if not given.trainer.library.runs_our_step or model.scales_logits or is_other or balances:
        return "trl"
    return "frozen" if machine.has_gpu and _fits_kernels(given, model) else "learnt"


def _fits_kernels(given: Settings, model: Model) -> bool:
    """A frozen head in bfloat16: in fp16 its gradients, which no loss scaler has scaled yet, would vanish."""
    in_bfloat16 = given.model.dtype == "bfloat16" and not given.trainer.fp16
    is_plain = not model.head_has_bias and (model.vocab_size is None or is_aligned(model.vocab_size))
    return in_bfloat16 and is_plain and not trains_head(given.lora)
