"""What decides the result decides the identity, and nothing else does."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sftrun.facts.values import Facts, Machine
from sftrun.plan import identity as identities
from sftrun.plan.build import build
from sftrun.plan.identity import OUTSIDE, earlier, keys
from sftrun.plan.types import ComputePlan, Plan
from sftrun.recipe.models import Recipe, Trainer
from sftrun.recipe.sources import Source
from sftrun.rows.raw.find import Files
from sftrun.strict import Strict
from tests.plan.samples import facts, recipe
from tests.plan.shapes import phi3
from tests.recipe.leaves import leaves

PLACE = ComputePlan(executor="modal", gpu_count=1)
# written by the last release that had version 1, with what it found
OF_VERSION_1 = json.loads(Path(__file__).with_name("identities_of_1.json").read_text())


class NewerTrainer(Trainer):
    fresh: int = 1


class Weighted(Source):
    weight: float = 1.0


class Added(Strict):
    metric: str = "loss"


class NewerRecipe(Recipe):
    """The recipe of a release to come: a key, a section and a list of sections more."""

    trainer: NewerTrainer = NewerTrainer()
    added: Added | None = None
    several: tuple[Weighted, ...] = ()


def identity_of(given: Recipe) -> str:
    return identities.identity(given, facts(), PLACE)


def facts_then(found: dict[str, Any]) -> Facts:
    """As the release that wrote the file found them."""
    gpus, is_known = found.get("gpus", 0), bool({"commit", "content"} & set(found))
    content = {"commit": found.get("commit"), "content_sha256": found.get("content")}
    return facts(
        train_files=Files(sha256=found.get("train")),
        eval_files=Files(sha256=found.get("eval")),
        model=phi3().model_copy(update=content) if is_known else None,
        lock=found.get("lock", {"trl": "1.15.0"}),
        machine=Machine(cpu_cores=2, gpu_count=gpus, gpu_name="H200" if gpus else None, gpu_memory_gb=141.0 * gpus),
    )


def leaves_of(table: Mapping[str, Any], at: str = "") -> Iterator[str]:
    for name, default in table.items():
        yield from leaves_of(default, f"{at}{name}.") if isinstance(default, dict) and default else (f"{at}{name}",)


def identity(given: Facts | None = None, **sections: Any) -> str:
    return plan_of(given, **sections).identity


def plan_of(given: Facts | None = None, **sections: Any) -> Plan:
    return build(recipe(**sections), given or facts(), folders={})


@pytest.mark.parametrize(
    "sections",
    [
        {"name": "other"},
        {"description": "words"},
        {"tags": {"team": "a"}},
        {"secrets": ("huggingface",)},
        {"compute": {"executor": "modal", "gpu": "H200", "timeout": "1h", "cpu": 8.0, "retries": 1}},
        {"compute": {"executor": "modal", "gpu": "T4"}},
        {"dataset": {"train": {"path": "train.jsonl", "num_examples": 5, "mean_tokens": 9.0}}},
        {"trainer": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}},
        {"trainer": {"per_device_train_batch_size": 4}, "compute": {"executor": "modal", "gpu": "H200:2"}},
    ],
)
def test_what_concerns_the_outside_leaves_it_alone(sections: dict[str, Any]) -> None:
    assert plan_of(**sections).identities == plan_of().identities


@pytest.mark.parametrize(
    "sections",
    [
        {"lora": {"r": 8}},
        {"lora": None},
        {"trainer": {"seed": 1}},
        {"trainer": {"max_length": 9}},
        {"trainer": {"per_device_train_batch_size": 4}},
        {"model": {"name_or_path": "Qwen/Qwen2.5-0.5B-Instruct"}},
        {"output": {"dir": "/out/other"}},
        {"compute": {"executor": "local"}},
        {"compute": {"executor": "modal", "gpu": "H200:2"}},
        {"samples": {"prompts": ("hello",)}},
    ],
)
def test_what_decides_the_result_changes_it(sections: dict[str, Any]) -> None:
    assert not set(plan_of(**sections).identities) & set(plan_of().identities)


def test_the_data_is_known_by_its_content_not_by_its_place() -> None:
    moved = facts(train_files=Files(paths=("/elsewhere.jsonl",), sha256="aa"))
    changed = facts(train_files=Files(paths=("/r/train.jsonl",), sha256="bb"))
    assert identity(moved) == identity()
    assert identity(changed) != identity()


def test_other_packages_make_another_run() -> None:
    assert identity(facts(lock={"trl": "1.16.0"})) != identity()


def test_defaults_written_out_change_nothing() -> None:
    defaults = Recipe.model_fields["trainer"].get_default()
    assert identity(trainer=defaults.model_dump(exclude_none=True)) == identity()


@pytest.mark.parametrize(
    "sections", [{"lora": {"r": 16}}, {"lora": {"lora_alpha": 16}}, {"lora": {"lora_alpha": 16.0}}]
)
def test_a_default_is_known_in_any_form(sections: dict[str, Any]) -> None:
    assert identity(**sections) == identity()


def test_numbers_have_one_form() -> None:
    assert identity(trainer={"learning_rate": 2e-4}) == identity(trainer={"learning_rate": 0.0002})
    assert identity(trainer={"extra": {"a": 5}}) == identity(trainer={"extra": {"a": 5.0}})
    assert identity(trainer={"extra": {"a": 1}}) != identity(trainer={"extra": {"a": True}})


def test_a_section_without_keys_is_not_the_same_as_none() -> None:
    assert identity(lora={}) != identity(lora=None)


def test_a_new_key_with_a_default_changes_nothing() -> None:
    told = recipe().model_dump()
    newer = NewerRecipe.model_validate(told)
    assert identity_of(newer) == identity_of(recipe())
    assert earlier(newer, facts(), PLACE) == earlier(recipe(), facts(), PLACE)


def test_a_new_key_that_is_written_makes_another_run_that_no_older_release_knew() -> None:
    newer = NewerRecipe.model_validate(recipe().model_dump() | {"trainer": {"fresh": 2}})
    assert identity_of(newer) != identity_of(recipe())
    assert earlier(newer, facts(), PLACE) == ()


def test_a_run_s_id_is_made_of_the_oldest_identity_that_can_say_its_recipe() -> None:
    plan = plan_of()
    assert plan.oldest_identity == plan.earlier_identities[0]
    assert plan.model_copy(update={"earlier_identities": ()}).oldest_identity == plan.identity


def test_a_new_section_changes_nothing_until_it_is_written() -> None:
    told = recipe().model_dump()
    assert identity_of(NewerRecipe.model_validate(told | {"added": {}})) != identity_of(recipe())


def test_several_sources_have_their_defaults_left_out_too() -> None:
    one, other = {"path": "a.jsonl"}, {"path": "b.jsonl"}
    lists = [recipe().model_dump() | {"several": ({**one, **more}, other)} for more in ({}, {"weight": 1})]
    assert len({identity_of(NewerRecipe.model_validate(told)) for told in lists}) == 1
    assert earlier(NewerRecipe.model_validate(lists[0]), facts(), PLACE) == ()


def test_a_changed_default_makes_another_run_of_those_that_get_it() -> None:
    class Changed(Trainer):
        max_length: int = 2048

    class ChangedRecipe(Recipe):
        trainer: Changed = Changed()

    told = recipe().model_dump(exclude={"trainer"})
    assert identity_of(ChangedRecipe.model_validate(told)) == identity_of(recipe(trainer={"max_length": 2048}))
    assert identity_of(ChangedRecipe.model_validate(told | {"trainer": {"max_length": 1024}})) == identity_of(recipe())


def test_every_key_stands_in_the_file_with_the_default_it_came_with() -> None:
    known = {key for table in keys().values() for key in leaves_of(table)}
    missing = sorted(set(leaves(Recipe)) - known - OUTSIDE)
    missing = [key for key in missing if not key.startswith(("budget.", *(f"{name}." for name in OUTSIDE)))]
    assert not missing, "add them with their defaults to the last version of sftrun/plan/identity_keys.json"


def test_what_is_left_out_is_a_key_of_the_recipe() -> None:
    assert {key for key in OUTSIDE if key not in leaves(Recipe) and key not in Recipe.model_fields} == set()


@pytest.mark.parametrize("old", OF_VERSION_1, ids=lambda old: old["what"])
def test_an_identity_of_version_1_is_computed_as_it_was(old: dict[str, Any]) -> None:
    given = Recipe.model_validate_json(json.dumps(old["recipe"]))
    assert build(given, facts_then(old["facts"]), folders={"model.name_or_path": "/m"}).earlier_identities == (
        old["identity"],
    )


def test_weights_that_now_keep_32_bits_are_another_run_than_those_that_were_rounded() -> None:
    def full(**model: str) -> str:
        return identity(lora=None, model={"name_or_path": "builtin:tiny", **model})

    assert full() == full(dtype="auto") == full(dtype="float32")
    assert full() != full(dtype="bfloat16")
    assert identity(lora={}) == identity(lora={}, model={"name_or_path": "builtin:tiny", "dtype": "bfloat16"})


def test_adapters_that_now_keep_32_bits_over_quantised_weights_are_another_run() -> None:
    def quantised(**lora: bool) -> str:
        return identity(lora=lora, quantization={"load_in_4bit": True})

    assert quantised() == quantised(autocast_adapter_dtype=True)
    assert quantised() != quantised(autocast_adapter_dtype=False)
    assert identity(lora={}) == identity(lora={"autocast_adapter_dtype": True})
    assert identity(lora={}) != identity(lora={"autocast_adapter_dtype": False})


def test_a_list_of_one_source_is_that_source() -> None:
    bare, listed = ({"train": train} for train in ({"path": "a.jsonl"}, ({"path": "a.jsonl"},)))
    assert identity(dataset=bare) == identity(dataset=listed)
    assert plan_of(dataset=bare).identities == plan_of(dataset=listed).identities


def test_sources_their_order_and_their_weights_are_of_the_result() -> None:
    a, b = {"path": "a.jsonl"}, {"path": "b.jsonl"}
    others = ((a, b), (b, a), (a, b | {"weight": 2.0}), (a, b | {"max_examples": 3}), (a, b | {"num_examples": 3}))
    found = [identity(dataset={"train": train}) for train in others]
    assert len(set(found)) == 4
    assert found[0] == found[-1]


def test_a_chat_template_counts_by_its_text_and_not_by_its_name() -> None:
    named = [{"train": {"path": "a.jsonl"}, "chat_template": name} for name in ("one.jinja", "two.jinja")]
    texts = [facts(chat_template=text) for text in ("{{ messages }}", "{{ messages }}!")]
    one, other = (identity(texts[0], dataset=dataset) for dataset in named)
    assert one == other
    assert identity(texts[1], dataset=named[0]) != one
