"""`model.adapter`: whose it is, what it is, and whether it fits; the same run however it is named."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from safetensors.numpy import save_file

from sftrun.cli.examine import Examined, examine_file
from sftrun.contract.jobspec import MoneySpec
from sftrun.contract.output_marker import MARKER, OutputMarker
from sftrun.disk import adapter_files
from sftrun.errors import Problem, SftrunError
from sftrun.facts.model.adapter import Place, adapter_facts
from sftrun.facts.values import Machine
from sftrun.plan.assemble import Places, jobspec
from sftrun.plan.types import Plan
from sftrun.run import adapter_place
from sftrun.run.ledger import Ledger, Manifest
from sftrun.run.local import Local
from sftrun.run.modal.executor import Modal

RUN = "0123456789"
HIDDEN = 192  # of builtin:tiny
CONFIG = {
    "peft_type": "LORA",
    "base_model_name_or_path": "builtin:tiny",
    "r": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.1,
    "bias": "none",
    "target_modules": ["v_proj", "q_proj"],
    "exclude_modules": None,
    "layers_to_transform": None,
    "rank_pattern": {},
    "modules_to_save": None,
}


def make_adapter(folder: Path, *, inputs: int = HIDDEN, scale: float = 1.0, **config: Any) -> Path:
    folder.mkdir(parents=True)
    at = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    weights = {f"{at}A.weight": np.ones((4, inputs)) * scale, f"{at}B.weight": np.ones((HIDDEN, 4))}
    save_file(
        {name: weight.astype(np.float32) for name, weight in weights.items()}, str(folder / adapter_files.WEIGHTS)
    )
    (folder / adapter_files.CONFIG).write_text(json.dumps(CONFIG | config))
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SFTRUN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"text": "one two three"}\n' * 40)
    with patch("sftrun.facts.gather.machine", Machine):
        yield tmp_path


def examined(here: Path, adapter: str, executor: str = "local", **sections: Any) -> Examined:
    recipe = {
        "version": 1,
        "name": "second",
        "model": {"name_or_path": "builtin:tiny", "adapter": adapter},
        "dataset": {"train": "rows.jsonl", "format": "text"},
        "trainer": {"max_steps": 4},
        "compute": {"executor": executor, "gpu": "none"},
        "volumes": {"/out": "outputs"},
        "output": {"dir": "/out/second"},
    }
    (here / "second.yaml").write_text(json.dumps(recipe | sections))
    return examine_file(here / "second.yaml")


def plan_of(here: Path, adapter: str, **sections: Any) -> Plan:
    found = examined(here, adapter, **sections)
    assert [one.message for one in found.diagnostics if one.severity == "error"] == []
    assert found.plan is not None
    return found.plan


def codes(found: Examined) -> list[str]:
    return [one.code for one in found.diagnostics if one.severity == "error"]


def made_run(here: Path) -> tuple[Ledger, Path]:
    """A finished run of this ledger, and its output."""
    plan = plan_of(here, str(make_adapter(here / "parent")))
    ledger = Ledger(here / "home")
    recipe = plan.recipe.model_copy(update={"model": plan.recipe.model.model_copy(update={"adapter": None})})
    plan = plan.model_copy(update={"adapter": None, "recipe": recipe})
    job = Local(ledger).job(plan, RUN)
    manifest = Manifest(
        id=RUN, name="first", identity="i", generation=1, created=1.0, user="u", host="h", executor="local",
        model="builtin:tiny", recipe_file="/r.yaml",
    )  # fmt: skip
    ledger.create(
        manifest, {"plan.json": plan.model_dump_json(), "job.json": job.model_dump_json(), "events.jsonl": ""}
    )
    return ledger, Path(job.output_dir)


def finish(output: Path, run_id: str = RUN) -> None:
    make_adapter(output)
    marker = OutputMarker(
        run_id=run_id, name="first", base_model="builtin:tiny", revision=None, adapter=True, format="text",
        step=4, train_loss=1.0, memory_gb=0.0,
    )  # fmt: skip
    (output / MARKER).write_text(marker.model_dump_json())


def test_a_run_is_found_by_name_by_id_and_by_its_folder_and_is_the_same_run(here: Path) -> None:
    _, output = made_run(here)
    finish(output)
    other = {"dir": "/out/other"}
    plans = [plan_of(here, name, output=other) for name in ("first", RUN, RUN[:5], str(output))]
    assert [plan.adapter and plan.adapter.run_id for plan in plans] == [RUN] * 4
    assert len({plan.identity for plan in plans}) == 1
    assert plans[0].adapter is not None
    assert plans[0].adapter.words == f"run {RUN} (first)"


def test_its_content_decides_the_identity(here: Path) -> None:
    one = plan_of(here, str(make_adapter(here / "one")))
    again = plan_of(here, str(make_adapter(here / "again")))
    other = plan_of(here, str(make_adapter(here / "other", scale=2.0)))
    assert one.identity == again.identity != other.identity


def test_a_run_that_has_not_finished_has_none_yet(here: Path) -> None:
    made_run(here)
    found = adapter_place.find("first", here, here / "home", offline=True)
    assert isinstance(found, Problem)
    assert "it has not finished" in found.message


def test_a_folder_that_another_run_has_taken_is_not_its_adapter(here: Path) -> None:
    _, output = made_run(here)
    finish(output, run_id="9876543210")
    found = adapter_place.find(RUN, here, here / "home", offline=True)
    assert isinstance(found, Problem)
    assert "holds the adapter of run 9876543210 now" in found.message


def test_its_own_folder_is_no_place_for_the_result(here: Path) -> None:
    _, output = made_run(here)
    finish(output)
    assert codes(examined(here, "first")) == ["M134"]


def test_what_is_nowhere_is_said_with_the_run_that_was_meant(here: Path) -> None:
    made_run(here)
    (found,) = (one for one in examined(here, "frist").diagnostics if one.severity == "error")
    assert (found.code, found.help) == ("M130", "did you mean `first`?")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"peft_type": "IA3"}, "its `peft_type` is IA3"),
        ({"target_parameters": ["mlp.experts"]}, "has `target_parameters`"),
        ({"r": "four"}, "`r` in the adapter's"),
    ],
)
def test_what_is_no_plain_lora_adapter_is_refused(here: Path, config: dict[str, Any], words: str) -> None:
    found = adapter_facts(Place("x", make_adapter(here / "x", **config)), here / "cache")
    assert isinstance(found, Problem)
    assert words in found.message


def test_torn_weights_are_refused(here: Path) -> None:
    folder = make_adapter(here / "x")
    weights = folder / adapter_files.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-10])
    found = adapter_facts(Place("x", folder), here / "cache")
    assert isinstance(found, Problem)
    assert "cut short" in found.message


def test_the_lora_section_is_the_adapters_but_for_the_dropout(here: Path) -> None:
    adapter = str(make_adapter(here / "x"))
    plan = plan_of(here, adapter)
    assert plan.lora is not None
    assert (plan.lora.r, plan.lora.lora_alpha, plan.lora.target_modules) == (4, 8.0, ("q_proj", "v_proj"))
    assert plan.lora.lora_dropout == 0.1
    other = plan_of(here, adapter, lora={"lora_dropout": 0.25, "r": 4, "target_modules": ["q_proj", "v_proj"]})
    assert other.lora is not None
    assert other.lora == plan.lora.model_copy(update={"lora_dropout": 0.25})


@pytest.mark.parametrize(
    ("section", "wrong"),
    [
        ({"r": 8}, ["M132"]),
        ({"lora_alpha": 4}, ["M132"]),
        ({"target_modules": ["q_proj"]}, ["M132"]),
        ({"target_modules": "all-linear"}, ["M132"]),
        ({"target_modules": r".*\.(q|v)_proj"}, []),
        ({"modules_to_save": ["lm_head"]}, ["M132"]),
    ],
)
def test_what_contradicts_the_adapter_is_refused(here: Path, section: dict[str, Any], wrong: list[str]) -> None:
    assert codes(examined(here, str(make_adapter(here / "x")), lora=section)) == wrong


def test_an_adapter_of_another_base_is_refused_by_shape_and_by_name(here: Path) -> None:
    assert codes(examined(here, str(make_adapter(here / "wide", inputs=64)))) == ["M131"]
    named = make_adapter(here / "named", base_model_name_or_path="Qwen/Qwen2.5-0.5B")
    assert codes(examined(here, str(named))) == ["M131"]


def test_it_goes_up_to_modal_by_its_content(here: Path) -> None:
    plan = plan_of(here, str(make_adapter(here / "x")), executor="modal")
    modal = Modal(Ledger(here / "home"))
    assert plan.adapter is not None
    up = {file.name: path for file, path in modal._uploads(plan).items() if file.parent == here / "x"}
    assert up == {name: f"uploads/{plan.adapter.sha256}/{name}" for name in adapter_files.FILES}
    job = modal.job(plan, RUN)
    assert job.adapter is not None
    assert job.adapter.folder.endswith(f"/uploads/{plan.adapter.sha256}")


def test_a_plan_without_the_adapter_that_is_wanted_makes_no_job(here: Path) -> None:
    plan = plan_of(here, str(make_adapter(here / "x"))).model_copy(update={"adapter": None})
    with pytest.raises(SftrunError, match="could not be had"):
        jobspec(plan, RUN, Places(record_dir="/r"), MoneySpec())
