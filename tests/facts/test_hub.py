"""A model's facts from the Hub, which speaks on loopback; and where its cache is."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sftrun.facts.model.hub_cache import cache_home
from sftrun.facts.model.lookup import Problem, model_facts
from sftrun.facts.values import ModelFacts
from tests.facts.models_for_tests import BROKEN, PARAMETERS, TENSORS, save, shard
from tests.hub_for_tests import COMMIT, Hub, serve


@contextmanager
def hub(folder: Path) -> Iterator[Hub]:
    """A Hub on loopback that has the model of that folder."""
    with serve("me/mine", folder) as served:
        yield served


def asked(served: Hub, monkeypatch: pytest.MonkeyPatch, name: str = "me/mine", **environment: str) -> Any:
    known = {"HF_ENDPOINT": served.url, "HF_HOME": "/nowhere", **environment}
    for key in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(key, raising=False)
    for key, value in known.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nowhere/token")
    return model_facts(name, "v1", Path("/"), offline=False, timeout=30)


def test_the_hub_is_asked_for_headers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "m")
    (folder / "chat_template.jinja").write_text("x")
    with hub(folder) as served:
        found = asked(served, monkeypatch)
    assert isinstance(found, ModelFacts), found
    assert (found.source, found.commit, found.gated, found.parameters) == ("hub", COMMIT, False, PARAMETERS)
    assert found.has_chat_template is True
    ranges = [span for path, _, span in served.heard if path.endswith(".safetensors")]
    assert ranges == ["bytes=0-100000"]


def test_nothing_is_put_into_the_hub_s_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub(save(tmp_path / "m")) as served:
        assert isinstance(asked(served, monkeypatch, HF_HOME=str(tmp_path / "home")), ModelFacts)
    assert not (tmp_path / "home").exists()


def test_shards_on_the_hub_are_read_through_their_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    shard(folder)
    with hub(folder) as served:
        found = asked(served, monkeypatch)
    assert isinstance(found, ModelFacts), found
    assert found.parameters == PARAMETERS


def test_a_header_longer_than_the_first_range_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = TENSORS | {f"model.layers.{layer}.self_attn.q_proj.weight": [8, 8] for layer in range(2, 3000)}
    with hub(save(tmp_path / "m", many)) as served:
        found = asked(served, monkeypatch)
    assert isinstance(found, ModelFacts), found
    assert found.linears[0].count == 3000


def test_the_token_stays_with_the_hub_when_it_points_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "m")
    with hub(folder) as store, hub(folder) as served:
        served.elsewhere = store.url
        found = asked(served, monkeypatch, HF_TOKEN="hf_x")
    assert isinstance(found, ModelFacts), found
    assert {token for _, token, _ in served.heard} == {"Bearer hf_x"}
    assert [token for _, token, _ in store.heard] == [None]


@pytest.mark.parametrize(
    ("status", "word", "kind", "words"),
    [
        (401, "RepoNotFound", "unknown", "needs a token that may read it, if it exists"),
        (401, "GatedRepo", "unknown", "is gated"),
        (403, "", "unknown", "needs a token"),
        (404, "RepoNotFound", "missing", "no model me/mine at `v1`"),
        (404, "RevisionNotFound", "missing", "no model me/mine at `v1`"),
        (404, "", "missing", "no model"),
        (429, "", "unreachable", "429"),
        (503, "", "unreachable", "503"),
    ],
)
def test_what_the_hub_refuses_is_said(
    status: int, word: str, kind: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub(save(tmp_path / "m")) as served:
        served.refusal = (status, word)
        found = asked(served, monkeypatch)
    assert isinstance(found, Problem)
    assert found.kind == kind
    assert words in found.message
    assert found.help


def test_a_gated_model_is_known_to_be_so_where_its_files_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub(save(tmp_path / "m")) as served:
        served.is_gated = True
        found = asked(served, monkeypatch)
    assert isinstance(found, Problem)
    assert (found.kind, found.message) == ("unknown", "me/mine is gated: it needs a token that may read it")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://[", "nowhere", "ftp://127.0.0.1:9"])
def test_a_hub_out_of_reach_is_said(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked(Hub("me/mine", save(tmp_path / "m")), monkeypatch, HF_ENDPOINT=endpoint)
    assert isinstance(found, Problem)
    assert found.kind == "unreachable"
    assert found.help


def test_a_hub_that_may_not_be_asked_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with hub(save(tmp_path / "m")) as served:
        found = asked(served, monkeypatch)
    assert isinstance(found, Problem)
    assert (found.kind, found.help) == ("unreachable", "unset it")
    assert served.asked == []


def test_a_model_without_safetensors_on_the_hub_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with hub(folder) as served:
        found = asked(served, monkeypatch)
    assert isinstance(found, Problem)
    assert found.kind == "unsafe"


@pytest.mark.parametrize("case", [case for case, (file, content, _) in BROKEN.items() if content is not None])
def test_damaged_files_on_the_hub_are_a_problem_and_no_traceback(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, content, _ = BROKEN[case]
    folder = save(tmp_path / "m")
    assert file is not None
    assert content is not None
    (folder / file).write_bytes(content)
    with hub(folder) as served:
        found = asked(served, monkeypatch)
    # what is cut off behind the header can't be seen from its beginning
    assert isinstance(found, Problem) == (case != "weights cut short"), found


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'{"siblings": 3}', b'{"id": []}'])
def test_something_that_is_no_hub_is_said(answer: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "m")
    with hub(folder) as served:
        served.info = answer
        found = asked(served, monkeypatch)
    assert isinstance(found, Problem)
    assert found.help


@pytest.mark.parametrize("name", ["a--b/c", "x" * 97, "me/" + "x" * 97, "me/x."])
def test_a_name_that_the_hub_would_not_take_is_a_problem(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = asked(Hub("me/mine", save(tmp_path / "m")), monkeypatch, name=name, HF_ENDPOINT="http://127.0.0.1:9")
    assert isinstance(found, Problem)
    assert found.kind == "missing"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"HF_HOME": "~/elsewhere"},
        {"HF_HOME": "$HOME/x"},
        {"HF_HUB_CACHE": "/a/b", "HF_HOME": "/c"},
        {"HUGGINGFACE_HUB_CACHE": "/a/b"},
        {"XDG_CACHE_HOME": "/cache"},
    ],
)
def test_the_hub_s_cache_is_where_its_library_has_it(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    script = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    library = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert str(cache_home()) == library.strip()
