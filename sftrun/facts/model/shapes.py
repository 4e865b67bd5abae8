"""Names and shapes of tensors + config.json -> ModelFacts.  Pure, and torch is not needed.

Checkpoints keep the names of the library that wrote them; what LoRA sees are the modules that transformers 5 builds
from them: experts stacked in one parameter a layer, routers that are no linear layers, language models one level down
in a vision model.  This page does that translation, so that a target matches here if and only if it matches there.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from math import prod
from typing import Literal, NamedTuple

from sftrun.facts.model.tensor_names import Tensor, expert_stacks, gaps, is_expert, renamed, starred
from sftrun.facts.values import Linear, ModelFacts, OtherModule
from sftrun.step.configurations import drops_attention, is_scaled

Source = Literal["folder", "cache", "hub", "shipped"]
DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
FUSED = frozenset({"qkv_proj", "gate_up_proj", "query_key_value", "Wqkv", "W_pack", "c_attn", "qkv", "qkv_attn"})
# transformers' Conv1D keeps (in, out) where nn.Linear keeps (out, in)
TRANSPOSED = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer"})

_EMBEDDINGS = frozenset(
    (
        "embed_tokens",
        "embed_tokens_per_layer",
        "wte",
        "wpe",
        "word_embeddings",
        "embed_in",
        "tok_embeddings",
        "tokens_embed",
        "positions_embed",
        "embeddings",
        "embed_positions",
        "token_embedding",
        "position_embedding",
        "bias_values",
        "shared",
    )
)
# by their whole names
_NAMED = {
    "transformer.w": "embedding",
    "reformer.embeddings.position_embeddings.embedding": "embedding",
    "head": "head",
    "lm_head.decoder": "head",
}
_POSITIONS = frozenset({"wpe", "embed_positions", "position_embedding", "positions_embed"})
_HEADS = frozenset({"lm_head", "embed_out"})
_ROUTERS = frozenset({"gate", "router"})
_LINEAR_ROUTERS = frozenset({"aria_text", "jamba", "llama4_text", "phimoe"})  # types whose routers are nn.Linear
_BUFFERS = re.compile(
    r"(inv_freq|masked_bias|(?<!moe_statics)(?<!experts)\.e_score_correction_bias|feed_forward\.expert_bias"
    r"|\.act_fn\.(beta|eps)|\.attn\.bias|layer_scalar|slope_rate|(query|key|diagonal)_decay|balancing_biases"
    r"|encoder_embedding\.global_(mean|invstd)"
    r"|_scale_inv|(weight|input|activation|proj|[kqv])_scale|absmax|quant_map|quant_state.*)$"
)

_BUFFERS_OF = {"hy_v3": ".mlp.expert_bias"}  # what ends so is a parameter in other types


class _Module(NamedTuple):
    """One module, or one stack of experts' matrices: its own parameters by name."""

    path: str
    parameters: Mapping[str, tuple[int, ...]]

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def weight(self) -> tuple[int, ...]:
        return self.parameters.get("weight", ())


def facts(
    tensors: Mapping[str, Tensor],
    config: Mapping[str, object],
    *,
    source: Source,
    name_or_path: str,
    commit: str | None = None,
    content_sha256: str | None = None,
    bytes_on_disk: int = 0,
    has_chat_template: bool | None = None,
    gated: bool = False,
) -> ModelFacts:
    """The architecture that these tensors make under this config; sizes that the config leaves out come from shapes."""
    text = _text_config(config)
    model_type = str(config.get("model_type", "unknown"))
    modules, experts = _modules(tensors, model_type), tuple(expert_stacks(tensors))
    tied = _is_tied(tensors, config, text)
    linears, others = _sort(modules, text, model_type, tied)
    linears = (*linears, *experts)
    embeddings = sum(o.parameters * o.count for o in others if o.kind in ("embedding", "head"))
    weights = sum(x.in_features * x.out_features * x.count for x in linears)
    biases = sum(x.out_features * x.count for x in linears if x.bias)
    rest = sum(o.parameters * o.count for o in others if o.kind not in ("embedding", "head"))
    heads = _integer(text, "num_attention_heads", "n_head") or 1
    hidden = _integer(text, "hidden_size", "n_embd", "d_model") or _vocabulary(others)[1]
    return ModelFacts(
        source=source,
        name_or_path=name_or_path,
        commit=commit,
        content_sha256=content_sha256,
        architecture=_architecture(config),
        model_type=model_type,
        parameters=embeddings + weights + biases + rest,
        embedding_parameters=embeddings,
        other_parameters=biases + rest,
        linears=linears,
        others=others,
        module_names=module_names(linears, others),
        dtype=_dtype(tensors.values()),
        hidden_size=hidden,
        intermediate_size=_integer(text, "intermediate_size", "n_inner", "ffn_dim") or 4 * hidden,
        layers=_integer(text, "num_hidden_layers", "n_layer") or max((x.count for x in linears), default=0),
        attention_heads=heads,
        key_value_heads=_integer(text, "num_key_value_heads") or heads,
        head_dim=_integer(text, "head_dim") or hidden // heads,
        vocab_size=_vocabulary(others)[0],
        max_positions=_integer(text, "max_position_embeddings", "n_positions") or None,
        tie_word_embeddings=tied,
        sliding_window=_window(text),
        softcapping=bool(text.get("attn_logit_softcapping")),
        drops_attention=drops_attention(text.get),
        scaled_logits=is_scaled(text.get),
        experts=_experts(text),
        experts_per_token=_integer(text, "num_experts_per_tok", "moe_topk", "top_k") if _experts(text) else 0,
        has_chat_template=has_chat_template,
        gated=gated,
        bytes_on_disk=bytes_on_disk,
    )


def _text_config(config: Mapping[str, object]) -> Mapping[str, object]:
    inner = config.get("text_config")
    return {**config, **inner} if isinstance(inner, Mapping) else config


def _architecture(config: Mapping[str, object]) -> str:
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else "unknown"


def _integer(config: Mapping[str, object], *keys: str) -> int:
    found = (config.get(key) for key in keys)
    return next((value for value in found if isinstance(value, int) and not isinstance(value, bool)), 0)


def _experts(config: Mapping[str, object]) -> int:
    return _integer(config, "num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")


def _window(config: Mapping[str, object]) -> int | None:
    # Qwen2 states a window and does not use it
    return None if config.get("use_sliding_window") is False else _integer(config, "sliding_window") or None


def _vocabulary(others: Iterable[OtherModule]) -> tuple[int, int]:
    """(tokens, width) of the embedding of tokens, which is the largest there is."""
    words = (o for o in others if o.kind == "embedding" and o.path.rpartition(".")[2] not in _POSITIONS)
    return max((o.shape for o in words if o.shape), default=(0, 0))


def _is_tied(tensors: Mapping[str, Tensor], config: Mapping[str, object], text: Mapping[str, object]) -> bool:
    paths = {name.rpartition(".")[0] for name in tensors}
    stored = any(path.rpartition(".")[2] in _HEADS or _NAMED.get(path) == "head" for path in paths)
    return not stored or config.get("tie_word_embeddings", text.get("tie_word_embeddings")) is True


def _dtype(tensors: Iterable[Tensor]) -> str:
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.dtype] += prod(tensor.shape)
    return DTYPES.get(sizes.most_common(1)[0][0], "other") if sizes else "other"


def _modules(tensors: Mapping[str, Tensor], model_type: str) -> list[_Module]:
    found: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for raw, tensor in tensors.items():
        name = renamed(raw)
        if _BUFFERS.search(name) or name.endswith(_BUFFERS_OF.get(model_type, "\0")) or is_expert(name, tensor):
            continue
        path, _, parameter = name.rpartition(".")
        found[path][parameter] = tensor.shape
    return [_Module(path, parameters) for path, parameters in found.items()]


def _sort(
    modules: Iterable[_Module], config: Mapping[str, object], model_type: str, tied: bool
) -> tuple[tuple[Linear, ...], tuple[OtherModule, ...]]:
    linears: dict[tuple[str, int, int, bool], set[int]] = defaultdict(set)
    others: dict[tuple[str, str, int, int, tuple[int, ...]], set[int]] = defaultdict(set)
    embedding: tuple[int, ...] = ()
    for module in modules:
        path, layer = starred(module.path)
        kind = _kind(module, config)
        if kind == "linear":
            rows, columns = module.weight if model_type not in TRANSPOSED else module.weight[::-1]
            linears[path, columns, rows, "bias" in module.parameters].add(layer)
            continue
        shape = module.weight if kind in ("embedding", "head", "router") else ()
        if kind == "embedding" and module.name not in _POSITIONS:
            embedding = max(embedding, shape)
        if kind == "head" and tied:
            continue
        size = sum(prod(shape) for shape in module.parameters.values())
        biases = sum(prod(shape) for name, shape in module.parameters.items() if name == "bias")
        others[path, kind, size, biases, shape].add(layer)
    if tied and embedding:
        others["lm_head", "head", 0, 0, embedding].add(-1)
    return _linears(linears), _others(others)


def _kind(module: _Module, config: Mapping[str, object]) -> str:
    if len(module.weight) == 2:
        if module.path in _NAMED:
            return _NAMED[module.path]
        if module.name in _EMBEDDINGS:
            return "embedding"
        if module.name in _HEADS:
            return "head"
        experts = _experts(config)
        routes = module.name in _ROUTERS and module.weight[0] in (
            experts,
            experts + _integer(config, "n_shared_experts"),
        )
        routes = routes and config.get("model_type") not in _LINEAR_ROUTERS
        return "router" if routes else "linear"
    return "norm" if "norm" in module.name or "ln_" in module.name else "other"


def _linears(found: Mapping[tuple[str, int, int, bool], set[int]]) -> tuple[Linear, ...]:
    return tuple(
        Linear(
            name=(name := path.rpartition(".")[2]),
            in_features=columns,
            out_features=rows,
            count=len(layers),
            fused=name in FUSED,
            path=path,
            layers=gaps(layers),
            bias=bias,
        )
        for (path, columns, rows, bias), layers in found.items()
    )


def _others(found: Mapping[tuple[str, str, int, int, tuple[int, ...]], set[int]]) -> tuple[OtherModule, ...]:
    return tuple(
        OtherModule.model_validate(
            {
                "path": path,
                "kind": kind,
                "parameters": size,
                "bias_parameters": biases,
                "count": len(layers),
                "layers": gaps(layers),
                "shape": shape if len(shape) == 2 else None,
            }
        )
        for (path, kind, size, biases, shape), layers in found.items()
    )


def module_names(linears: Iterable[Linear], others: Iterable[OtherModule]) -> tuple[str, ...]:
    """The last parts of all modules' names, each once."""
    paths = [x.path for x in linears if not x.expert] + [o.path for o in others]
    parts = (part for path in paths for part in path.split(".") if part != "*")
    return tuple(dict.fromkeys(parts))
