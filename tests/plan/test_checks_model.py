"""Checks of the model: one behaviour each, on facts that ship with the program."""

from typing import Any

import pytest

from sftrun.diagnostics import Diagnostic
from sftrun.errors import Problem
from sftrun.facts.model.lookup import shipped_facts
from sftrun.plan.check.model_facts import check_model, model_problem
from sftrun.recipe.models import Recipe

SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
QWEN, FUSED, MIXTURE = "Qwen/Qwen2.5-0.5B-Instruct", "microsoft/Phi-3-mini-4k-instruct", "Qwen/Qwen3-30B-A3B"


def checked(name: str, **sections: Any) -> list[Diagnostic]:
    facts = shipped_facts(name)
    assert facts is not None
    recipe = Recipe.model_validate_json(_json(name, sections))
    return list(check_model(recipe, facts))


def _json(name: str, sections: dict[str, Any]) -> str:
    import json

    model = {"name_or_path": name, **sections.pop("model", {})}
    whole = {
        "version": 1,
        "name": "x",
        "model": model,
        "dataset": {"train": {"path": "a.jsonl"}},
        "output": {"dir": "/o"},
    }
    return json.dumps(whole | sections)


def codes(found: list[Diagnostic]) -> list[str]:
    return [diagnostic.code for diagnostic in found]


@pytest.mark.parametrize("name", [QWEN, FUSED, MIXTURE])
def test_all_linear_is_right_for_every_model(name: str) -> None:
    assert checked(name, lora={"target_modules": "all-linear"}) == []


def test_a_misspelt_target_is_answered_with_the_nearest() -> None:
    (found,) = checked(QWEN, lora={"target_modules": ["q_porj", *SEVEN[1:]]})
    assert found.code == "M101"
    assert found.at == ("lora", "target_modules", 0)
    assert found.message == "`q_porj` is no linear layer of Qwen/Qwen2.5-0.5B-Instruct"
    assert found.help is not None
    assert found.help.startswith("write `")


def test_a_list_that_matches_nothing_is_one_error() -> None:
    (found,) = checked(QWEN, lora={"target_modules": ["c_attn", "c_proj"]})
    assert found.code == "M102"
    assert "q_proj" in str(found.help)


def test_the_seven_usual_names_on_fused_layers_are_one_warning_with_the_list_to_type() -> None:
    (found,) = checked(FUSED, lora={"target_modules": SEVEN})
    assert (found.code, found.severity) == ("M103", "warning")
    assert found.message == (
        "adapters reach `o_proj` and `down_proj` alone: 64 of 128 linear layers, 31% of their weights"
    )
    assert found.help == "write `target_modules: [o_proj, qkv_proj, gate_up_proj, down_proj]`"
    assert found.notes == ("left out: `qkv_proj` and `gate_up_proj`, fused in microsoft/Phi-3-mini-4k-instruct",)


def test_a_part_of_a_fused_layer_beside_enough_others_is_an_error_that_names_the_whole() -> None:
    (found,) = checked(FUSED, lora={"target_modules": ["q_proj", "gate_up_proj", "down_proj"]})
    assert found.code == "M101"
    assert found.help == "write `qkv_proj`"


def test_two_names_of_seven_are_a_warning() -> None:
    (found,) = checked(QWEN, lora={"target_modules": ["q_proj", "v_proj"]})
    assert found.code == "M103"


def test_attention_alone_leaves_experts_frozen() -> None:
    (found,) = checked(MIXTURE, lora={"target_modules": SEVEN[:4]})
    assert (found.code, found.severity) == ("M104", "warning")
    assert found.message == "the experts of Qwen/Qwen3-30B-A3B, 95% of its 30.5 B parameters, stay frozen"


@pytest.mark.parametrize(("key", "value"), [("lora_dropout", 0.1), ("use_dora", True)])
def test_what_stacked_experts_can_t_have_is_an_error(key: str, value: Any) -> None:
    (found,) = checked(MIXTURE, lora={"target_modules": "all-linear", key: value})
    assert (found.code, found.at) == ("M111", ("lora", key))


STACKS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]


@pytest.mark.parametrize("targets", [SEVEN[:4], []])
def test_experts_that_target_parameters_reach_are_not_told_to_stay_frozen(targets: list[str]) -> None:
    assert checked(MIXTURE, lora={"target_modules": targets, "target_parameters": STACKS}) == []


@pytest.mark.parametrize(("key", "value"), [("lora_dropout", 0.1), ("use_dora", True)])
def test_what_target_parameters_can_t_have_is_an_error(key: str, value: Any) -> None:
    (found,) = checked(MIXTURE, lora={"target_modules": SEVEN[:4], "target_parameters": STACKS, key: value})
    assert (found.code, found.at) == ("M111", ("lora", key))
    assert found.help == f"remove `{key}`, or `target_parameters`"


def test_a_target_that_is_no_stacked_parameter_is_an_error_with_those_there_are() -> None:
    (found,) = checked(MIXTURE, lora={"target_modules": SEVEN[:4], "target_parameters": [STACKS[0], "q_proj.weight"]})
    assert (found.code, found.at) == ("M122", ("lora", "target_parameters", 1))
    assert found.help == "write `target_parameters: [experts.gate_up_proj, experts.down_proj]`"
    (found,) = checked(QWEN, lora={"target_parameters": STACKS[:1]})
    assert found.code == "M122"


def test_half_of_a_pair_of_experts_is_an_error() -> None:
    (found,) = checked(MIXTURE, lora={"target_modules": [*SEVEN[:4], "gate_proj", "down_proj"]})
    assert (found.code, found.help) == ("M112", "add `up_proj` to `target_modules`")


def test_max_length_above_the_positions_is_an_error() -> None:
    (found,) = checked(FUSED, trainer={"max_length": 8192})
    assert found.code == "M105"
    assert found.message == "microsoft/Phi-3-mini-4k-instruct has 4,096 positions, `max_length` is 8,192"


def test_a_module_to_save_that_is_not_there_is_an_error_with_the_nearest() -> None:
    (found,) = checked(QWEN, lora={"modules_to_save": ["lm_haed"]})
    assert (found.code, found.help) == ("M106", "write `lm_head`")


def test_kernels_without_softcapping_are_a_warning_for_gemma_2() -> None:
    assert codes(checked("google/gemma-2-2b-it", model={"attn_implementation": "sdpa"})) == ["M113"]
    assert codes(checked("google/gemma-2-2b-it")) == []


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("./m", "missing", "M107"),
        ("./m", "malformed", "M107"),
        ("builtin:x", "missing", "M108"),
        ("./m", "unsafe", "M109"),
        ("a/b", "unreachable", None),
        ("a/b", "unknown", None),
        ("a/b", "quantised", None),
    ],
)
def test_a_model_that_can_t_be_read_is_an_error_where_the_recipe_is_at_fault(
    name: str, kind: Any, code: str | None
) -> None:
    found = model_problem(Recipe.model_validate_json(_json(name, {})), Problem(kind, "a", "b"))
    assert (found and found.code) == code
