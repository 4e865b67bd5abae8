"""A model's facts from folders, the Hub's cache, the Hub on loopback and what ships; whatever the bytes are."""

import json
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 50,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 128,
}
LAYER = {
    "self_attn.q_proj": [8, 8],
    "self_attn.k_proj": [8, 8],
    "self_attn.v_proj": [8, 8],
    "self_attn.o_proj": [8, 8],
    "mlp.gate_proj": [16, 8],
    "mlp.up_proj": [16, 8],
    "mlp.down_proj": [8, 16],
    "input_layernorm": [8],
    "post_attention_layernorm": [8],
}
TENSORS = {"model.embed_tokens.weight": [50, 8], "model.norm.weight": [8], "lm_head.weight": [50, 8]} | {
    f"model.layers.{layer}.{name}.weight": shape for layer in range(2) for name, shape in LAYER.items()
}
PARAMETERS = 2 * 50 * 8 + 8 + 2 * (4 * 64 + 3 * 128 + 16)


def safetensors(tensors: dict[str, list[int]]) -> bytes:
    """A file as the library writes it, all zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in tensors.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def save(folder: Path, tensors: dict[str, list[int]] = TENSORS, config: dict[str, Any] = CONFIG) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(safetensors(tensors))
    return folder


def known(name: str, folder: Path, **more: Any) -> ModelFacts:
    found = model_facts(name, None, folder, offline=True, environment={}, **more)
    assert isinstance(found, ModelFacts), found
    return found


def refused(name: str, folder: Path) -> Problem:
    found = model_facts(name, None, folder, offline=True, environment={})
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
    names = list(TENSORS)
    files = {"model-1-of-2.safetensors": names[:9], "model-2-of-2.safetensors": names[9:]}
    for file, part in files.items():
        (folder / file).write_bytes(safetensors({name: TENSORS[name] for name in part}))
    weight_map = {name: file for file, part in files.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
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


BROKEN: dict[str, tuple[str | None, bytes | None, str]] = {
    "no config": ("config.json", None, "missing"),
    "an empty config": ("config.json", b"", "malformed"),
    "a config that is a list": ("config.json", b"[]", "malformed"),
    "a config that is no text": ("config.json", b"\xff\xfe\x00", "malformed"),
    "a config that nests without end": ("config.json", b"[" * 100_000, "malformed"),
    "no weights": ("model.safetensors", None, "missing"),
    "empty weights": ("model.safetensors", b"", "malformed"),
    "seven bytes": ("model.safetensors", b"1234567", "malformed"),
    "a huge header": ("model.safetensors", b"\xff" * 20, "malformed"),
    "a header cut short": ("model.safetensors", safetensors(TENSORS)[:100], "malformed"),
    "weights cut short": ("model.safetensors", safetensors(TENSORS)[:-1], "malformed"),
    "a header of no tensors": ("model.safetensors", safetensors({}), "malformed"),
    "a header of other things": ("model.safetensors", struct.pack("<Q", 9) + b'{"a": [1]}'[:9], "malformed"),
    "a pickle by that name": ("model.safetensors", b"\x80\x04\x95" + bytes(50), "malformed"),
    "an index that leads out": (
        "model.safetensors.index.json",
        json.dumps({"weight_map": {"a": "../../etc/passwd"}}).encode(),
        "malformed",
    ),
    "an index of missing files": ("model.safetensors.index.json", b'{"weight_map": {"a": "b.safetensors"}}', "missing"),
}


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


def test_the_hub_s_cache_is_found_by_branch_and_commit(tmp_path: Path) -> None:
    commit = "a" * 40
    home = tmp_path / "hub" / "models--me--mine"
    save(home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    for revision in (None, "main", commit):
        environment = {"HF_HOME": str(tmp_path)}
        found = model_facts("me/mine", revision, tmp_path, offline=True, environment=environment)
        assert isinstance(found, ModelFacts)
        assert (found.source, found.commit) == ("cache", commit)
        assert model_folder("me/mine", revision, tmp_path, environment) == home / "snapshots" / commit
    assert isinstance(model_facts("me/mine", "v2", tmp_path, offline=True, environment=environment), Problem)


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


class _Hub(BaseHTTPRequestHandler):
    files: dict[str, bytes] = {}
    heard: list[tuple[str, str | None, str | None]] = []
    status = 200
    elsewhere: str | None = None

    def do_GET(self) -> None:
        self.heard.append((self.path, self.headers["Authorization"], self.headers["Range"]))
        content = self.files.get(self.path.rpartition("/")[2])
        if self.path.startswith("/api/"):
            siblings = [{"rfilename": name} for name in self.files]
            content = json.dumps({"sha": "c" * 40, "siblings": siblings, "gated": "manual"}).encode()
        if self.status != 200 or content is None:
            self.send_error(self.status if self.status != 200 else 404)
            return
        if self.elsewhere and self.headers["Range"]:
            self.send_response(302)
            self.send_header("Location", f"{self.elsewhere}{self.path}")
            self.end_headers()
            return
        limits = (self.headers["Range"] or "").removeprefix("bytes=").split("-")
        part = content[: int(limits[1]) + 1] if len(limits) == 2 else content
        self.send_response(206 if len(limits) == 2 else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hub(**settings: Any) -> Iterator[tuple[str, type[_Hub]]]:
    """A Hub on loopback: (address, handler, which remembers what it heard)."""
    handler = type("Handler", (_Hub,), {"heard": [], **settings})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors": safetensors(TENSORS),
    "chat_template.jinja": b"x",
}


def asked(address: str, **environment: str) -> ModelFacts | Problem:
    known = {"HF_ENDPOINT": address, "HF_HOME": "/nowhere", **environment}
    return model_facts("me/mine", "v1", Path("/"), offline=False, timeout=30, environment=known)


def test_the_hub_is_asked_for_headers_alone() -> None:
    with hub(files=FILES) as (address, handler):
        found = asked(address)
    assert isinstance(found, ModelFacts)
    assert (found.source, found.commit, found.gated, found.parameters) == ("hub", "c" * 40, True, PARAMETERS)
    assert found.has_chat_template is True
    ranges = [asked_for for path, _, asked_for in handler.heard if path.endswith(".safetensors")]
    assert ranges == ["bytes=0-199999"]


def test_a_header_longer_than_the_first_range_is_asked_for_again() -> None:
    many = TENSORS | {f"model.layers.{layer}.self_attn.q_proj.weight": [8, 8] for layer in range(2, 3000)}
    with hub(files=FILES | {"model.safetensors": safetensors(many)}) as (address, _):
        found = asked(address)
    assert isinstance(found, ModelFacts)
    assert found.linears[0].count == 3000


def test_the_token_stays_with_the_hub_when_it_points_elsewhere() -> None:
    with hub(files=FILES) as (store, other), hub(files=FILES, elsewhere=store) as (address, handler):
        found = asked(address, HF_TOKEN="hf_x")
    assert isinstance(found, ModelFacts)
    assert {token for _, token, _ in handler.heard} == {"Bearer hf_x"}
    assert [token for _, token, _ in other.heard] == [None]


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, "unknown", "needs a token"),
        (403, "unknown", "needs a token"),
        (404, "missing", "no model"),
        (503, "unreachable", "503"),
    ],
)
def test_what_the_hub_refuses_is_said(status: int, kind: str, words: str) -> None:
    with hub(files=FILES, status=status) as (address, _):
        found = asked(address)
    assert isinstance(found, Problem)
    assert found.kind == kind
    assert words in found.message


def test_a_hub_out_of_reach_is_said() -> None:
    found = asked("http://127.0.0.1:9")
    assert isinstance(found, Problem)
    assert (found.kind, found.help) == ("unreachable", "check the network, or work `--offline`")


def test_a_model_without_safetensors_on_the_hub_is_refused() -> None:
    with hub(files={"config.json": FILES["config.json"], "pytorch_model.bin": b"x"}) as (address, _):
        found = asked(address)
    assert isinstance(found, Problem)
    assert found.kind == "unsafe"
