"""The table of model types is what its tool finds, for a dozen kinds; the others are tried by `tools/breadth.py`."""

import json

import pytest

from tools import breadth

TABLE = json.loads(breadth.TABLE.read_text("utf-8"))
# dense, with windows, with absolute positions, mixtures, latent attention, recurrent, convolutional, no decoder, a
# vision model's text, routers that take no adapter or give no loss, parameters that look like buffers
KINDS = (
    "llama", "gemma3_text", "gpt2", "opt", "bloom", "falcon", "qwen3_moe", "gpt_oss", "deepseek_v3", "mamba", "lfm2",
    "qwen3_next", "bert", "gemma3", "gptj", "phimoe", "granitemoe", "gemma3n_text", "hy_v3", "zaya",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_table_says_what_is_found_of_a_kind(kind: str) -> None:
    found = breadth.tried(kind, limit=600)

    assert found["class"] == TABLE["models"][kind]["class"]
    assert list(found["faults"]) == list(TABLE["models"][kind]["faults"]), found


def test_the_page_is_made_of_the_table() -> None:
    assert breadth.PAGE.read_text("utf-8") == breadth.page(TABLE), "run `python tools/breadth.py`"


def test_a_type_that_can_not_be_built_is_a_line_of_the_table() -> None:
    assert list(breadth.tried("no-such-type", limit=600)["faults"]) == ["builds"]
