"""`varlen` without its kernel: packed rows are alone, whatever the architecture."""

import pytest
import torch
from torch import Tensor
from transformers import Gemma2Config, LlamaConfig, MistralConfig, PretrainedConfig, Qwen2Config

from sftrun.job.fast import attention
from sftrun.job.obey import devices
from tests.job import small
from tests.job.small import gradients, packed

ROWS = (5, 9, 1, 14)


def config(kind: type[PretrainedConfig], **more: object) -> PretrainedConfig:
    return kind(
        vocab_size=61,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        **more,
    )


CONFIGS = {
    "llama": config(LlamaConfig),
    "grouped": config(Qwen2Config),
    "sliding window": config(MistralConfig, sliding_window=4),
}


def build(shape: PretrainedConfig) -> torch.nn.Module:
    model = small.build(shape, "varlen")
    attention.install(model)
    return model


def rows_of(lengths: tuple[int, ...]) -> list[Tensor]:
    return small.rows_of(lengths, 61)


def summed_loss(logits: Tensor, ids: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="sum")


@pytest.mark.parametrize("name", CONFIGS)
def test_loss_and_gradients_of_a_packed_batch_are_those_of_its_rows_alone(name: str) -> None:
    model, rows = build(CONFIGS[name]), rows_of(ROWS)
    alone = sum(summed_loss(model(input_ids=row[None]).logits[0], row) for row in rows if len(row) > 1)
    alone.backward()
    expected = gradients(model)

    logits = model(**packed(rows), use_cache=False).logits[0].split([len(row) for row in rows])
    together = sum(summed_loss(part, row) for part, row in zip(logits, rows, strict=True) if len(row) > 1)
    together.backward()

    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(gradients(model), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_rows_logits_stay_when_its_neighbours_change(name: str) -> None:
    model, probe = build(CONFIGS[name]).eval(), rows_of((9,))[0]
    seen = []
    for neighbours in ((5, 14), (20, 3)):
        left, right = (torch.randint(0, 61, (length,)) for length in neighbours)
        logits = model(**packed([left, probe, right]), use_cache=False).logits[0]
        seen.append(logits[len(left) : len(left) + len(probe)])
    torch.testing.assert_close(seen[0], seen[1])


def test_padded_batches_without_positions_still_train() -> None:
    model, rows = build(CONFIGS["llama"]), rows_of((5, 9))
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = (torch.arange(9)[None] < torch.tensor([[5], [9]])).long()
    logits = model(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(logits[0, :5], model(input_ids=rows[0][None]).logits[0], rtol=1e-4, atol=1e-5)


def test_generation_with_a_cache_works() -> None:
    model = build(CONFIGS["grouped"]).eval()
    row = rows_of((6,))[0][None]
    made = model.generate(row, max_new_tokens=3, do_sample=False, pad_token_id=0)
    again = model.generate(row, max_new_tokens=3, do_sample=False, pad_token_id=0, use_cache=False)
    assert made.tolist() == again.tolist()


def test_bounds_are_where_positions_are_zero_and_end_with_empty_rows() -> None:
    bounds, longest = attention.batch_bounds(packed(rows_of(ROWS))["position_ids"], row_step=8, length_step=4)
    assert bounds.tolist() == [0, 5, 14, 15, 29, 29, 29, 29]
    assert longest == 16
    assert bounds.dtype == torch.int32


def test_filling_at_the_end_becomes_one_row() -> None:
    filled = torch.tensor([[0, 1, 2, 0, 1, 0, 0, 0, 0]])
    assert attention.merge_padding(filled).tolist() == [[0, 1, 2, 0, 1, 0, 1, 2, 3]]
    assert attention.merge_padding(torch.tensor([[0, 1, 2]])).tolist() == [[0, 1, 2]]


def test_the_collator_says_where_rows_begin() -> None:
    collate = attention.BoundsCollator(lambda rows: packed([torch.tensor(row["input_ids"]) for row in rows]))
    batch = collate([{"input_ids": [1, 2, 3]}, {"input_ids": [4, 5]}])
    assert batch["cu_seq_lens_q"].tolist()[:3] == [0, 3, 5]
    assert batch["max_length_q"] == attention.LENGTH_STEP


def test_the_collator_leaves_padded_batches_alone() -> None:
    padded = {"input_ids": torch.ones(1, 2), "attention_mask": torch.ones(1, 2), "position_ids": torch.zeros(1, 2)}
    assert attention.BoundsCollator(lambda rows: dict(padded))([]).keys() == padded.keys()


def test_soft_capping_is_refused_in_a_sentence() -> None:
    with pytest.raises(attention.UnsupportedAttention) as refusal:
        attention.check(config(Gemma2Config, head_dim=16))
    assert str(refusal.value) == (
        "`attn_implementation: varlen` can't train this model, because gemma2 caps attention logits (softcap 50.0); "
        "write `attn_implementation: eager`"
    )


def test_a_head_that_the_kernel_cannot_hold_is_refused() -> None:
    with pytest.raises(attention.UnsupportedAttention, match="heads of 320: a multiple of 8 up to 256 is needed"):
        attention.check(config(LlamaConfig, head_dim=320))


def test_full_precision_is_refused_by_the_kernel_path() -> None:
    with pytest.raises(attention.UnsupportedAttention, match=r"computes in torch\.float32"):
        attention._kernel_dtype(torch.zeros(1))


def test_there_is_no_kernel_on_a_cpu() -> None:
    assert not devices.has_varlen("cpu")
