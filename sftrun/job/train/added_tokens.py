"""Tokens that `dataset.add_tokens` adds: in transformers' tokenizer, and as rows of the model's embedding and head.

A new row is the mean of the others until it is trained.  With an adapter PEFT trains these rows alone
(`trainable_token_indices`) and saves them beside it; a base with as many rows is all that it needs elsewhere.
"""

from collections.abc import Sequence
from typing import Any

import torch

from sftrun.rows.tokenizer import Tokens

MARK = "trainable_tokens"  # in the names of such rows' parameters


def ids(tokens: Tokens) -> list[int]:
    """Of each, in the order of the recipe."""
    found = (tokens.tokenizer.token_to_id(token) for token in tokens.spec.added)
    return [number for number in found if number is not None]


def teach(tokenizer: Any, added: Sequence[str]) -> None:
    """transformers' tokenizer knows them then too."""
    from transformers import AddedToken

    if added:
        made = [AddedToken(token, special=True, normalized=False) for token in added]
        tokenizer.add_tokens(made, special_tokens=True)


def fit(model: Any, tokens: Tokens) -> None:
    """A row for each; those that the model has already stay as they are."""
    rows = model.get_input_embeddings().weight.shape[0]
    wanted = max(ids(tokens), default=0) + 1
    if wanted <= rows:
        return
    model.resize_token_embeddings(wanted, mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            if layer is not None:
                layer.weight[rows:] = layer.weight[:rows].float().mean(0).to(layer.weight.dtype)


def with_bias(model: Any) -> None:
    """PEFT's wrapper of the head hides whether there is a bias, which whoever makes the logits asks."""
    head = model.get_output_embeddings()
    if head is not None and not hasattr(head, "bias"):
        object.__setattr__(head, "bias", head.token_adapter.base_layer.bias)


def trained_rows(model: Any, tokens: Tokens) -> dict[str, list[int]]:
    """PEFT's `trainable_token_indices`: the embedding's, and the head's where that is not the same weight."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    layers = [embedding] if head is None or head.weight is embedding.weight else [embedding, head]
    names = {id(module): name for name, module in model.named_modules()}
    return {names[id(layer)]: ids(tokens) for layer in layers}
