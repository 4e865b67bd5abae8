"""What is tried on one tiny model: does it build, count, train, keep rows apart, come back as it was saved.

A trial returns nothing, or raises; what it raises is the fault that the table keeps.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, AutoModelForCausalLM, BitsAndBytesConfig

from sftrun.errors import Problem
from sftrun.facts.model.lookup import model_facts
from sftrun.facts.values import ModelFacts
from sftrun.job.fast import attention
from sftrun.plan.check.model_kind import in_place_of_all
from sftrun.plan.targets import reach
from sftrun.recipe.models import Lora
from sftrun.step.configurations import balances_experts
from tools.small_configs import WORDS, small

SAME: Final = 1e-5  # of the largest logit
RANK: Final = 4
ATTENTIONS: Final = ("eager", "sdpa", "varlen")


Targets = Literal["all-linear"] | tuple[str, ...]


class Fault(Exception):
    """A trial's own finding."""


class Tried:
    """One model type under trial: its tiny model on disk, in float32, and what sftrun says of it."""

    def __init__(self, model_type: str, folder: Path) -> None:
        torch.manual_seed(0)
        self.model_type, self.folder = model_type, folder
        config = small(model_type)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        _spread(model)
        model.save_pretrained(folder)
        self.name = type(model).__name__
        _logits(model, torch.arange(3, 9))
        generator = torch.Generator().manual_seed(1)
        self.rows = [torch.randint(3, WORDS - 8, (length,), generator=generator) for length in (11, 7, 14)]

    def load(self, **options: Any) -> Any:
        """The model as the job loads it."""
        return AutoModelForCausalLM.from_pretrained(self.folder, **{"dtype": torch.float32} | options).eval()

    def facts(self) -> ModelFacts:
        found = model_facts(str(self.folder), None, self.folder, offline=True)
        if isinstance(found, Problem):
            raise Fault(found.message)
        return found

    def targets(self) -> Targets:
        """`all-linear`, or what PEFT takes in its place."""
        try:
            get_peft_model(self.load(), _lora("all-linear"))
        except ValueError:
            return in_place_of_all(self.facts(), refused=True)
        return "all-linear"


def faults(model_type: str) -> tuple[str, dict[str, str]]:
    """(class, trial -> what was found): nothing of a trial that went well."""
    attention.register()
    AttentionInterface.register(attention.NAME, _by_bounds)
    AttentionMaskInterface.register(attention.NAME, lambda *_, **__: None)
    with tempfile.TemporaryDirectory() as folder:
        try:
            tried = Tried(model_type, Path(folder))
        except Exception as error:
            return "", {"builds": said(error)}
        return tried.name, dict(_found(tried))


def said(error: Exception) -> str:
    """One line of what went wrong."""
    text = " ".join(str(error).split())
    return text[:200] if isinstance(error, Fault) else f"{type(error).__name__}: {text[:160]}"


def _found(tried: Tried) -> Iterator[tuple[str, str]]:
    for name, trial in TRIALS.items():
        try:
            trial(tried)
        except Exception as error:
            yield name, said(error)


def _loads(tried: Tried) -> None:
    tried.load()


def _is_causal(tried: Tried) -> None:
    """What comes later changes nothing of what was said before."""
    model, row = tried.load(), tried.rows[0]
    other = row.clone()
    other[-1] = row[-1] + 1
    _require_same(_logits(model, row)[:-1], _logits(model, other)[:-1], "words are read before they come")


def _counts(tried: Tried) -> None:
    _require_equal(tried.facts().parameters, sum(p.numel() for p in tried.load().parameters()))


def _counts_lora(tried: Tried) -> None:
    targets = tried.targets()
    model = get_peft_model(tried.load(), _lora(targets))
    theirs = sum(p.numel() for p in model.parameters() if p.requires_grad)
    _require_equal(reach(Lora(r=RANK, target_modules=targets), tried.facts()).trainable_parameters, theirs)


def _takes_all_linear(tried: Tried) -> None:
    get_peft_model(tried.load(), _lora("all-linear"))


def _trains_in_full(tried: Tried) -> None:
    model = tried.load()
    _step(tried, model)


def _trains_named(tried: Tried) -> None:
    """Adapters on what `validate` names in place of all layers, where those fail."""
    _adapted(tried)


def _trains_lora(tried: Tried) -> None:
    model = get_peft_model(tried.load(), _lora(tried.targets()))
    _step(tried, model)


def _comes_back(tried: Tried) -> None:
    """A trained adapter, saved and put on the base again, answers as it did."""
    model = _adapted(tried)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        again = PeftModel.from_pretrained(tried.load(), folder).eval()
    _require_same(_logits(model.eval(), tried.rows[0]), _logits(again, tried.rows[0]), "the adapter comes back changed")


def _trains_nf4(tried: Tried) -> None:
    bits = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    _adapted(tried, quantization_config=bits, device_map={"": "cpu"})


def _pads(tried: Tried) -> None:
    """A row with padding behind it is answered as it is alone."""
    model, rows = tried.load(), tried.rows
    batch = _padded(rows)
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    for row, found in zip(rows, logits, strict=True):
        _require_same(_logits(model, row), found[: len(row)], "padding changes what is said of a row")


def _adds_balance(tried: Tried) -> None:
    """Where TRL adds a router's loss, the model gives one."""
    if balances_experts(tried.model_type):
        found = tried.load()(**_padded(tried.rows), output_router_logits=True, use_cache=False)
        if not torch.is_tensor(getattr(found, "aux_loss", None)):
            raise Fault("it gives no router's loss")


def _apart(name: str) -> Callable[[Tried], None]:
    """Padding-free rows are answered as they are alone."""

    def trial(tried: Tried) -> None:
        model = tried.load(attn_implementation=name)
        if model.config.get_text_config()._attn_implementation != name:
            raise Fault(f"it has no attention `{name}`")
        plain = tried.load() if name == attention.NAME else model  # a kernel must compute what the model's own does
        alone = [_logits(plain, row) for row in tried.rows]
        _require_same(torch.cat(alone), _joined(model, tried.rows, name), "rows see each other")

    return trial


def _runs(name: str) -> Callable[[Tried], None]:
    """Padded rows under an attention that is asked for by name."""

    def trial(tried: Tried) -> None:
        found = tried.load(attn_implementation=name)(**_padded(tried.rows), use_cache=False)
        if not found.loss.isfinite():
            raise Fault(f"the loss is {found.loss}")

    return trial


TRIALS: Final[dict[str, Callable[[Tried], None]]] = {
    "loads": _loads,
    "causal": _is_causal,
    "counts": _counts,
    "all-linear": _takes_all_linear,
    "counts-lora": _counts_lora,
    "full": _trains_in_full,
    "lora": _trains_lora,
    "lora-named": _trains_named,
    "comes-back": _comes_back,
    "padded": _pads,
    "router": _adds_balance,
    "nf4": _trains_nf4,
    **{f"runs-{name}": _runs(name) for name in ("eager", "sdpa")},
    **{f"apart-{name}": _apart(name) for name in ATTENTIONS},
}


def _spread(model: Any) -> None:
    """Weights so large that every part of the model has its say, and none that begins as nothing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.dim() > 1:
                weight.copy_(noise * weight.shape[-1] ** -0.5)
            else:
                weight.add_(noise * 0.1)


def _lora(targets: Targets) -> LoraConfig:
    named = targets if isinstance(targets, str) else list(targets)
    return LoraConfig(r=RANK, lora_alpha=8, target_modules=named, task_type="CAUSAL_LM")


def _logits(model: Any, row: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=row[None], use_cache=False).logits[0]
    return found


def _joined(model: Any, rows: Sequence[Tensor], name: str) -> Tensor:
    positions = torch.cat([torch.arange(len(row)) for row in rows])[None]
    inputs: dict[str, Any] = {"input_ids": torch.cat(list(rows))[None], "position_ids": positions}
    if name == attention.NAME:
        attention.check(model.config)
        bounds, longest = attention.batch_bounds(positions)
        inputs |= {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest}
        inputs["attention_mask"] = attention.bounds_known(bounds.device)
    with torch.no_grad():
        found: Tensor = model(**inputs, use_cache=False).logits[0]
    return found


def _by_bounds(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """What `varlen` computes on a GPU: rows by their bounds, and no mask is looked at."""
    bounds, window = options.get("cu_seq_lens_q"), options.get("sliding_window")
    if any(options.get(name) is not None for name in ("softcap", "s_aux")):
        raise Fault("its scores are capped, or have sinks")
    if bounds is None:
        raise Fault("its layers are not told where rows begin")
    if query.shape[-1] != value.shape[-1] or query.shape[-1] % 8:
        raise Fault("its heads have sizes that the kernel has not")
    groups = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(groups, 1) for states in (key, value))
    rows = [_row(query, key, value, begin, end, window, options) for begin, end in _spans(bounds)]
    return torch.cat(rows, 2).transpose(1, 2).contiguous(), None


def _spans(bounds: Tensor) -> Iterator[tuple[int, int]]:
    ends = bounds.tolist()
    return ((begin, end) for begin, end in itertools.pairwise(ends) if end > begin)


def _row(
    query: Tensor, key: Tensor, value: Tensor, begin: int, end: int, window: int | None, options: dict[str, Any]
) -> Tensor:
    q, k, v = (states[:, :, begin:end] for states in (query, key, value))
    sees = torch.ones(end - begin, end - begin, dtype=torch.bool).tril()
    if window is not None:
        sees = sees.triu(1 - window)
    return F.scaled_dot_product_attention(q, k, v, sees, scale=options.get("scaling"))


def _adapted(tried: Tried, **options: Any) -> Any:
    """The model after a step of adapters on all linear layers, or on those that `validate` names in their place."""
    targets, fault = tried.targets(), Exception()
    for named in (targets, in_place_of_all(tried.facts(), refused=targets != "all-linear")):
        model = tried.load(**options)
        for module in model.modules():  # as the job does: a repacked weight has no backward pass
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
        adapted = get_peft_model(model, _lora(named))
        try:
            _step(tried, adapted)
        except Exception as error:
            fault = error
        else:
            return adapted
    raise fault


def _padded(rows: Sequence[Tensor]) -> dict[str, Tensor]:
    ids = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.where(mask == 1, -100)}


def _step(tried: Tried, model: Any) -> None:
    """One step of AdamW: the loss is a number, and something moves."""
    model.train()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    before = [weight.detach().clone() for weight in trained]
    loss = model(**_padded(tried.rows), use_cache=False).loss
    if loss is None or not loss.isfinite():
        raise Fault(f"the loss is {loss}")
    loss.backward()
    optimizer.step()
    if all(torch.equal(old, new) for old, new in zip(before, trained, strict=True)):
        raise Fault("a step moves nothing")


def _require_same(expected: Tensor, found: Tensor, otherwise: str) -> None:
    if not bool((expected - found).abs().max() <= SAME * expected.abs().max()):
        raise Fault(otherwise)


def _require_equal(ours: int, theirs: int) -> None:
    if ours != theirs:
        raise Fault(f"{ours} by sftrun, {theirs} in the model")
