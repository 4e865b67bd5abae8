"""Checks of the model's type: one behaviour each."""

from typing import Any

import pytest

from sftrun.diagnostics import Diagnostic
from sftrun.facts.model import capabilities
from sftrun.plan.check.model_kind import check_kind
from sftrun.recipe.models import Recipe
from tests.plan.shapes import phi3

TWO = {"target_modules": ["q_proj", "o_proj"]}


def checked(kind: str, lora: dict[str, Any] | None = TWO, **sections: Any) -> list[Diagnostic]:
    """What is said of a model of that type."""
    model = {"name_or_path": "x/y"} | sections.pop("model", {})
    given = {"version": 1, "name": "x", "model": model, "dataset": {"train": {"hub": "a/b", "split": "train"}}}
    recipe = Recipe.model_validate(given | {"lora": lora, "output": {"dir": "/o"}} | sections, strict=False)
    return list(check_kind(recipe, phi3().model_copy(update={"model_type": kind})))


def codes(found: list[Diagnostic]) -> list[tuple[str, str]]:
    return [(one.code, one.severity) for one in found]


def test_a_type_that_passes_every_trial_gets_no_word() -> None:
    assert checked("llama", trainer={"packing": True}) == []


def test_a_type_that_was_not_tried_gets_a_warning() -> None:
    assert codes(checked("of-my-own")) == [("M116", "warning")]


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "bert"])
def test_a_type_that_is_no_causal_language_model_is_refused(kind: str) -> None:
    assert codes(checked(kind)) == [("M117", "error")]


def test_the_models_own_code_is_not_judged_by_its_type() -> None:
    assert checked("qwen2_5_vl", model={"trust_remote_code": True}) == []


def test_all_linear_of_a_mamba_model_is_refused_with_names_to_write() -> None:
    (found,) = checked("mamba", lora={"target_modules": "all-linear"})
    assert found.code == "M118"
    assert "q_proj" in str(found.help)


@pytest.mark.parametrize("kind", ["qwen3_next", "lfm2", "mamba", "gpt_oss"])
def test_packing_of_rows_that_see_each_other_is_refused_with_the_way_out(kind: str) -> None:
    (found,) = checked(kind, trainer={"packing": True})
    assert (found.code, found.severity) == ("R230", "error")
    assert "packing: false" in str(found.help)


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_a_mask_from_positions_keeps_packed_rows_apart(kernel: str) -> None:
    assert checked("qwen2", trainer={"packing": True}, model={"attn_implementation": kernel}) == []


def test_a_kernel_that_mixes_rows_is_refused_where_another_does_not() -> None:
    (found,) = checked("opt", trainer={"packing": True}, model={"attn_implementation": "eager"})
    assert (found.code, found.severity) == ("R230", "error")
    assert "attn_implementation: auto" in str(found.help)


@pytest.mark.parametrize(
    ("kind", "kernel"),
    [("falcon", "varlen"), ("gptj", "sdpa"), ("gptj", "varlen"), ("gemma2", "varlen"), ("bloom", "sdpa")],
)
def test_a_kernel_that_a_model_can_not_be_loaded_with_is_refused(kind: str, kernel: str) -> None:
    (found,) = checked(kind, model={"attn_implementation": kernel})
    assert (found.code, found.severity) == ("M121", "error")
    assert checked(kind, model={"attn_implementation": "eager"}) == []


@pytest.mark.parametrize("kind", ["deepseek_v3", "stablelm", "qwen3_next", "llama"])
def test_varlen_is_sdpa_with_a_mask_where_its_own_kernel_does_not_fit(kind: str) -> None:
    assert checked(kind, model={"attn_implementation": "varlen"}) == []


def test_packing_under_a_plain_kernel_is_feared_of_a_type_that_was_not_tried() -> None:
    found = checked("of-my-own", trainer={"packing": True}, model={"attn_implementation": "sdpa"})
    assert codes(found) == [("M116", "warning"), ("R230", "warning")]


def test_most_types_that_people_fine_tune_pass_every_trial() -> None:
    kinds = ("llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "mixtral", "gemma", "gemma3_text", "phi3", "olmo2")
    found = {kind: capabilities.find(kind) for kind in kinds}
    assert {kind: dict(one.faults) for kind, one in found.items() if one is not None and one.faults} == {}


@pytest.mark.parametrize("kind", ["musicgen", "gemma3n", "bigbird_pegasus"])
def test_a_type_of_which_nothing_was_tried_or_that_is_miscounted_is_refused(kind: str) -> None:
    (found,) = checked(kind, lora=None)
    assert (found.code, found.severity) == ("M117", "error")
    assert "another type" in str(found.help)


@pytest.mark.parametrize("kind", ["zamba", "hrm_text", "reformer", "laguna"])
def test_a_type_whose_adapters_are_miscounted_or_fail_is_trained_in_full_alone(kind: str) -> None:
    assert ("M117", "error") in codes(checked(kind))
    assert checked(kind, lora=None) == []


@pytest.mark.parametrize("kind", ["phimoe", "llama4_text"])
def test_what_is_named_in_place_of_all_layers_may_be_quantised(kind: str) -> None:
    given = {"quantization": {"load_in_4bit": True}, "trainer": {"extra": {"router_aux_loss_coef": 0}}}
    assert checked(kind, lora={"target_modules": ["q_proj"]}, **given) == []


def test_no_type_that_validate_lets_through_is_miscounted() -> None:
    """The bar of the table: each type is counted as PEFT counts it, or refused."""
    table = capabilities.table()
    counted = {"counts", "counts-lora"}
    wrong = [kind for kind, entry in table.items() if counted & entry["faults"].keys() and not _is_refused(kind)]
    assert wrong == []


def _is_refused(kind: str) -> bool:
    return ("M117", "error") in codes(checked(kind))


def test_a_router_that_takes_no_adapter_is_told_of_with_the_attention_layers_to_write() -> None:
    (found,) = [one for one in checked("phimoe", lora={"target_modules": "all-linear"}) if one.code == "M118"]
    assert "q_proj" in str(found.help)


def test_a_router_without_a_loss_wants_trls_coefficient_at_zero() -> None:
    (found,) = checked("granitemoe")
    assert (found.code, found.severity) == ("M117", "error")
    assert checked("granitemoe", trainer={"extra": {"router_aux_loss_coef": 0}}) == []
