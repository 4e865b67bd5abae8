"""Recipe text -> Recipe: inheritance, overrides, the version rule, null, and no follow-up noise."""

from decimal import Decimal
from pathlib import Path

import pytest

from sftrun.diagnostics import dotted
from sftrun.recipe.load import Loaded, load
from sftrun.recipe.models import Recipe
from sftrun.recipe.sources import Source

WHOLE = """\
version: 1
name: whole
model: {name_or_path: Qwen/Qwen2.5-0.5B-Instruct}
lora: {r: 16}
dataset: {train: data/rows.jsonl}
trainer: {max_steps: 60}
output: {dir: /data/whole}
volumes: {/data: store}
"""


def codes(loaded: Loaded) -> list[str]:
    return [found.code for found in loaded.diagnostics]


def recipe_of(text: str, *overrides: str) -> Recipe:
    loaded = load("-", overrides, text=text)
    assert loaded.recipe is not None, loaded.diagnostics
    return loaded.recipe


def lone(recipe: Recipe) -> Source:
    assert isinstance(recipe.dataset.train, Source)
    return recipe.dataset.train


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, "utf-8")


def test_a_bare_string_is_short_for_a_path() -> None:
    assert lone(recipe_of(WHOLE)).path == "data/rows.jsonl"


def test_money_is_exact() -> None:
    assert recipe_of(WHOLE + "budget: {max_usd: 20.10}\n").budget.max_usd == Decimal("20.10")


def test_an_exponent_without_a_point_is_a_number() -> None:
    assert recipe_of(WHOLE.replace("max_steps: 60", "learning_rate: 2e-4")).trainer.learning_rate == 2e-4


def test_null_and_an_absent_key_mean_the_same() -> None:
    assert recipe_of(WHOLE + "quantization: null\ntags:\n") == recipe_of(WHOLE)


def test_loading_twice_gives_the_same_recipe() -> None:
    assert recipe_of(WHOLE) == recipe_of(WHOLE)


def test_an_override_replaces_a_value_with_its_kind_checked() -> None:
    assert recipe_of(WHOLE, "trainer.max_steps=5").trainer.max_steps == 5
    assert codes(load("-", ("trainer.max_steps=five",), text=WHOLE)) == ["R106"]


def test_an_override_makes_sections_that_are_not_there() -> None:
    assert recipe_of(WHOLE, "compute.image.pip=[a, b]").compute.image.pip == ("a", "b")


def test_an_override_with_null_takes_a_key_out() -> None:
    assert recipe_of(WHOLE, "lora=null").lora is None


def test_an_override_of_a_source_replaces_its_short_form() -> None:
    assert lone(recipe_of(WHOLE, "dataset.train.num_examples=5")).path == "data/rows.jsonl"
    assert lone(recipe_of(WHOLE, "dataset.train=other.jsonl")).path == "other.jsonl"


def test_an_override_takes_quoted_keys_for_dots() -> None:
    assert recipe_of(WHOLE, 'volumes."/data.v2"=other').volumes == {"/data": "store", "/data.v2": "other"}


def test_a_wrong_override_points_at_the_option() -> None:
    loaded = load("-", ("trainer.seed=1", "trainer.max_length=0"), text=WHOLE)

    span = loaded.source.place(loaded.diagnostics[0])
    assert (span.file, span.line, span.column) == ("--set", 2, 20)


def test_mappings_merge_key_by_key_and_lists_replace(tmp_path: Path) -> None:
    write(
        tmp_path,
        base=WHOLE.replace("r: 16", "r: 8, target_modules: [q_proj, v_proj]"),
        child="version: 1\nextends: base.yaml\nname: child\nlora: {target_modules: [o_proj]}\n",
    )

    recipe = load(tmp_path / "child.yaml").recipe

    assert recipe is not None
    assert recipe.lora is not None
    assert (recipe.name, recipe.lora.r, recipe.lora.target_modules) == ("child", 8, ("o_proj",))


def test_null_in_a_child_takes_out_what_the_base_says(tmp_path: Path) -> None:
    write(tmp_path, base=WHOLE, child="version: 1\nextends: base.yaml\nlora: null\n")

    recipe = load(tmp_path / "child.yaml").recipe

    assert recipe is not None
    assert recipe.lora is None


def test_a_relative_value_is_relative_to_the_file_that_says_it(tmp_path: Path) -> None:
    (tmp_path / "bases").mkdir()
    write(tmp_path / "bases", base=WHOLE)
    write(tmp_path, child="version: 1\nextends: bases/base.yaml\ndataset: {eval: val.jsonl}\n")

    loaded = load(tmp_path / "child.yaml", ("model.name_or_path=./mine",))

    assert loaded.folders == {
        "model.name_or_path": str(tmp_path),
        "dataset.train.path": str(tmp_path / "bases"),
        "dataset.eval.path": str(tmp_path),
        "output.dir": str(tmp_path / "bases"),
    }


def test_a_problem_of_a_base_points_into_the_base(tmp_path: Path) -> None:
    write(tmp_path, base=WHOLE.replace("max_steps: 60", "max_stepz: 60"), child="version: 1\nextends: base.yaml\n")

    loaded = load(tmp_path / "child.yaml")

    span = loaded.source.place(loaded.diagnostics[0])
    assert (codes(loaded), Path(span.file).name, span.line) == (["R103"], "base.yaml", 6)


@pytest.mark.parametrize("version", ["", "version: 2\n", "version: '1'\n", "version: [1]\n", "version: true\n"])
def test_a_version_that_is_not_known_gets_one_diagnostic_and_no_flood(version: str) -> None:
    text = WHOLE.replace("version: 1\n", version) + "epochs: 3\nlearning_rate: fast\na: &b 1\n"

    assert codes(load("-", text=text)) in (["R101"], ["R102"])


def test_a_misspelt_key_does_not_also_count_as_missing() -> None:
    assert codes(load("-", text=WHOLE.replace("name: whole", "nmae: whole"))) == ["R103"]


def test_a_value_that_yaml_readers_disagree_about_is_not_judged_a_second_time() -> None:
    assert codes(load("-", text=WHOLE.replace("r: 16", "r: 16, bias: no"))) == ["Y104"]


def test_a_wrong_value_hides_no_other_problem() -> None:
    text = WHOLE.replace("max_steps: 60", "max_steps: 60, num_train_epochs: 1, seed: x")

    assert sorted(codes(load("-", text=text))) == ["R106", "R202"]


def test_a_check_does_not_speak_of_what_a_wrong_value_left_out() -> None:
    text = WHOLE.replace("{train: data/rows.jsonl}", "{train: data/rows.jsonl, eval_fraction: x}")

    assert codes(load("-", text=text.replace("max_steps: 60", "max_steps: 60, eval_steps: 5"))) == ["R106"]


def test_problems_come_in_the_order_of_the_file() -> None:
    text = WHOLE.replace("r: 16", "r: x").replace("name: whole", "name: a b").replace("max_steps: 60", "max_stepz: 6")

    lines = [found.span or load("-", text=text).source.place(found) for found in load("-", text=text).diagnostics]

    assert [span.line for span in lines] == [2, 4, 6]


def test_a_token_is_never_told_in_full() -> None:
    token = "hf_" + "a1" * 17
    loaded = load("-", text=WHOLE.replace("max_steps: 60", f"seed: {token}"))

    assert "S101" in codes(loaded)
    assert not any(token in found.message for found in loaded.diagnostics if found.code == "S101")


def test_other_tools_names_are_known_and_lead_to_keys_that_exist() -> None:
    from sftrun.recipe.words import kinds
    from sftrun.recipe.words.names import FOREIGN

    for name, target in FOREIGN.items():
        if not target.startswith("("):
            assert kinds.kind_at(tuple(target.split("."))) is not None, (name, target)


def test_no_name_of_ours_at_top_level_or_in_a_section_is_taken_for_foreign() -> None:
    from sftrun.recipe.words.names import FOREIGN

    for name, target in FOREIGN.items():
        assert target != name


def test_gpu_names_are_those_of_the_catalog() -> None:
    from sftrun.facts.gpus.catalog import load as load_catalog
    from sftrun.recipe.known import FEWER_GPUS, GPUS

    gpus = load_catalog().gpus
    names = {name for gpu in gpus for name in (gpu.name, *gpu.aliases)}
    assert names <= set(GPUS)
    assert {name.rstrip("!+") for name in GPUS} <= {name.rstrip("+") for name in names} | {"B200"}
    assert {gpu.name: gpu.max_per_container for gpu in gpus if gpu.max_per_container < 8}.items() <= FEWER_GPUS.items()


SOURCES = """\
version: 1
name: x
model: {name_or_path: builtin:tiny}
lora: {r: 8}
dataset:
  train: [a.jsonl, {path: b.jsonl, weight: 2}]
  eval: {one: c.jsonl, two: {hub: d/e}}
volumes: {/out: store}
output: {dir: /out/x}
"""


def test_sources_stand_in_a_list_and_under_names_each_with_its_place() -> None:
    loaded = load("-", text=SOURCES)
    assert loaded.recipe is not None, loaded.diagnostics
    found = {dotted(at): source.path or source.hub for at, source in loaded.recipe.dataset.sources.items()}
    assert found == {
        "dataset.train.0": "a.jsonl",
        "dataset.train.1": "b.jsonl",
        "dataset.eval.one": "c.jsonl",
        "dataset.eval.two": "d/e",
    }
    assert {"dataset.train.0.path", "dataset.train.1.path", "dataset.eval.one.path"} <= set(loaded.folders)


@pytest.mark.parametrize(
    ("was", "instead", "at", "code"),
    [
        ("weight: 2", "weight: 0", ("dataset", "train", 1, "weight"), "R108"),
        ("weight: 2", "wieght: 2", ("dataset", "train", 1, "wieght"), "R103"),
        ("[a.jsonl,", "[7,", ("dataset", "train", 0), "R106"),
        ("two: {hub: d/e}", "two: {hup: d/e}", ("dataset", "eval", "two", "hup"), "R103"),
        ("two: {hub: d/e}", "path: d.jsonl", ("dataset", "eval", "one"), "R103"),
        ("one: c.jsonl, two: {hub: d/e}", "paht: c.jsonl", ("dataset", "eval", "paht"), "R260"),
        ("two: {hub: d/e}", "two: {hub: d/e, weight: 2}", ("dataset", "eval", "two", "weight"), "R260"),
        ("two: {hub: d/e}", "two: {}", ("dataset", "eval", "two"), "R211"),
        ("[a.jsonl, {path: b.jsonl, weight: 2}]", "[]", ("dataset", "train"), "R106"),
    ],
)
def test_what_is_wrong_with_one_of_several_sources_is_said_at_its_place(
    was: str, instead: str, at: tuple[str | int, ...], code: str
) -> None:
    assert was in SOURCES
    loaded = load("-", text=SOURCES.replace(was, instead))
    assert [(one.at, one.code) for one in loaded.diagnostics] == [(at, code)]
