"""A model's facts from folders, the Hub's cache and what ships; whatever the bytes are."""

import os
from pathlib import Path
from typing import Any

import pytest

from sftrun.facts.model.lookup import (
    Problem,
    has_chat_template,
    model_facts,
    model_folder,
    shipped_facts,
    shipped_names,
)
from sftrun.facts.values import ModelFacts
from tests.facts.models_for_tests import BROKEN, CONFIG, LAYER, PARAMETERS, TENSORS, save, shard


def known(name: str, folder: Path, **more: Any) -> ModelFacts:
    found = model_facts(name, None, folder, offline=True, **more)
    assert isinstance(found, ModelFacts), found
    return found


def refused(name: str, folder: Path) -> Problem:
    found = model_facts(name, None, folder, offline=True)
    assert isinstance(found, Problem), found
    return found


def test_a_folder_is_read_from_its_headers(tmp_path: Path) -> None:
    save(tmp_path / "m")
    found = known("./m", tmp_path)
    assert (found.source, found.parameters, found.layers, found.dtype) == ("folder", PARAMETERS, 2, "bfloat16")
    assert (found.vocab_size, found.max_positions, found.tie_word_embeddings) == (50, 128, False)
    assert [linear.name for linear in found.linears] == [name.split(".")[-1] for name in list(LAYER)[:7]]
    assert {linear.count for linear in found.linears} == {2}
    assert found.embedding_parameters == 2 * 50 * 8


@pytest.mark.parametrize(
    ("more", "is_scaled"),
    [({"logits_scaling": 8.0}, True), ({"final_logit_softcapping": 30.0}, True), ({"logit_scale": None}, False)],
)
def test_what_stands_between_logits_and_loss_is_known(tmp_path: Path, more: dict[str, Any], is_scaled: bool) -> None:
    save(tmp_path / "m", config=CONFIG | more)
    assert known("./m", tmp_path).scaled_logits is is_scaled


def test_shards_are_read_through_their_index(tmp_path: Path) -> None:
    folder = save(tmp_path / "m")
    whole = known("./m", tmp_path)
    (folder / "model.safetensors").unlink()
    shard(folder)
    assert known("./m", tmp_path).linears == whole.linears


def test_a_tied_head_is_counted_once(tmp_path: Path) -> None:
    tensors = {name: shape for name, shape in TENSORS.items() if name != "lm_head.weight"}
    save(tmp_path / "m", tensors, CONFIG | {"tie_word_embeddings": True})
    found = known("./m", tmp_path)
    assert (found.tie_word_embeddings, found.parameters) == (True, PARAMETERS - 400)


def test_single_experts_become_stacks(tmp_path: Path) -> None:
    experts = {
        f"model.layers.0.block_sparse_moe.experts.{number}.{name}.weight": shape
        for number in range(4)
        for name, shape in (("w1", [16, 8]), ("w2", [8, 16]), ("w3", [16, 8]))
    }
    router = {"model.layers.0.block_sparse_moe.gate.weight": [4, 8]}
    save(tmp_path / "m", TENSORS | experts | router, CONFIG | {"model_type": "mixtral", "num_local_experts": 4})
    found = known("./m", tmp_path)
    stacks = {linear.name: linear for linear in found.linears if linear.expert}
    assert (stacks["gate_up_proj"].out_features, stacks["gate_up_proj"].count) == (32, 4)
    assert stacks["down_proj"].path == "model.layers.*.mlp.experts.down_proj"
    assert [other.kind for other in found.others if other.path.endswith("gate")] == ["router"]
    assert found.parameters == PARAMETERS + 12 * 128 + 32


def test_the_content_of_a_folder_has_a_hash(tmp_path: Path) -> None:
    folder = save(tmp_path / "m")
    before = known("./m", tmp_path).content_sha256
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert known("./m", tmp_path).content_sha256 != before


def test_headers_of_a_saved_model_give_the_library_s_own_count(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    for kind in ("llama", "phi3", "gpt2", "qwen3_moe", "mixtral"):
        more = {"num_experts": 4, "moe_intermediate_size": 8} if kind == "qwen3_moe" else {}
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
        config = transformers.AutoConfig.for_model(
            kind, vocab_size=64, num_key_value_heads=2, pad_token_id=0, eos_token_id=1, bos_token_id=2, **sizes, **more
        )
        model = transformers.AutoModelForCausalLM.from_config(config)
        model.save_pretrained(tmp_path / kind)
        assert known(f"./{kind}", tmp_path).parameters == model.num_parameters(), kind


@pytest.mark.parametrize("case", BROKEN)
def test_a_damaged_folder_is_a_problem_with_a_next_step(case: str, tmp_path: Path) -> None:
    file, content, kind = BROKEN[case]
    assert file is not None
    folder = save(tmp_path / "m")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    found = refused("./m", tmp_path)
    assert found.kind == kind
    assert found.message
    assert found.help


def test_pickled_weights_alone_are_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    found = refused("./m", tmp_path)
    assert found.kind == "unsafe"
    assert "pickles only" in found.message


def test_weights_stored_quantised_are_said(tmp_path: Path) -> None:
    save(tmp_path / "m", config=CONFIG | {"quantization_config": {"quant_method": "bitsandbytes"}})
    assert refused("./m", tmp_path).kind == "quantised"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("x")
    assert "is a file, not a model's folder" in refused("./m", tmp_path).message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_weights_that_may_not_be_read_are_said(tmp_path: Path) -> None:
    (save(tmp_path / "m") / "model.safetensors").chmod(0)
    assert "permission denied" in refused("./m", tmp_path).message


def test_a_folder_by_the_name_of_weights_is_said(tmp_path: Path) -> None:
    folder = save(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    assert "is a directory" in refused("./m", tmp_path).message


@pytest.mark.parametrize("name", ["builtin:nope", "a b", "-x", "./\x00", "x" * 5000, "../nowhere", "https://x.y/z"])
def test_names_of_nothing_are_problems(name: str, tmp_path: Path) -> None:
    assert refused(name, tmp_path).help


def test_the_hub_s_cache_is_found_by_branch_and_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    commit = "a" * 40
    home = tmp_path / "hub" / "models--me--mine"
    save(home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    for revision in (None, "main", commit):
        found = model_facts("me/mine", revision, tmp_path, offline=True)
        assert isinstance(found, ModelFacts)
        assert (found.source, found.commit) == ("cache", commit)
        assert model_folder("me/mine", revision, tmp_path) == home / "snapshots" / commit
    assert isinstance(model_facts("me/mine", "v2", tmp_path, offline=True), Problem)


def test_every_shipped_fact_loads_and_adds_up() -> None:
    assert len(shipped_names()) > 80
    for name in shipped_names():
        facts = shipped_facts(name)
        assert facts is not None
        weights = sum(linear.in_features * linear.out_features * linear.count for linear in facts.linears)
        assert facts.parameters == facts.embedding_parameters + facts.other_parameters + weights
        assert facts.name_or_path == name


def test_a_quantised_twin_has_the_facts_of_its_model() -> None:
    twin = shipped_facts("unsloth/Qwen2.5-0.5B-Instruct-unsloth-bnb-4bit")
    assert twin is not None
    assert twin.parameters == 494_032_768


def test_a_chat_template_is_found_in_both_places(tmp_path: Path) -> None:
    assert has_chat_template(tmp_path) is False
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "x"}')
    assert has_chat_template(tmp_path) is True
