"""Estimates of whole recipes: the old script's price, what data is needed, what runs teach."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sftrun.cli.examine import examine_file
from sftrun.facts.gpus import catalog
from sftrun.facts.values import DataFacts, Facts, Machine
from sftrun.plan.build import build
from sftrun.plan.check import advice
from sftrun.plan.estimate import cost, stage_times, total
from sftrun.plan.estimate.learning import Observation, learn
from sftrun.plan.types import Plan, StageTime
from sftrun.recipe.models import Recipe
from tests.plan.samples import recipe
from tests.plan.shapes import SEVEN, deeper, phi3

AS_IT_WAS = Path(__file__).parents[2] / "recipes" / "phi3-census-as-it-was.yaml"
TRAIN = {"train": {"path": "/out/train.jsonl", "num_examples": 192_733, "mean_tokens": 180.0}}


def facts(**values: object) -> Facts:
    base = {"catalog": catalog.shipped(), "today": "2026-10-20", "machine": Machine(), "lock": {}, "model": phi3()}
    return Facts(**(base | values))  # type: ignore[arg-type]


def census(**sections: object) -> Recipe:
    base: dict[str, object] = {"dataset": TRAIN, "lora": {"r": 16, "target_modules": SEVEN}}
    base |= {"quantization": {"load_in_4bit": True}}
    base |= {"trainer": {"packing": True, "max_length": 2048, "per_device_train_batch_size": 8}}
    return recipe(**(base | sections))


def plan_of(made: Recipe) -> Plan:
    return build(made, facts(), folders={"model.name_or_path": "/r"})


@pytest.fixture
def as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> total.Estimate:
    monkeypatch.setenv("SFTRUN_HOME", str(tmp_path))
    examined = examine_file(AS_IT_WAS)
    assert examined.plan is not None
    assert examined.gathered is not None
    return total.estimate(examined.plan, examined.gathered.facts)


def test_the_original_script_s_epoch_takes_16_7_hours_and_76_dollars(as_it_was: total.Estimate) -> None:
    assert as_it_was.cost is not None
    train = total.stage_seconds(as_it_was.cost)["train"]
    assert train / 3600 == pytest.approx(16.7, abs=0.05)
    assert Decimal(str(train)) * Decimal("0.001261") == pytest.approx(Decimal(76), abs=1)
    assert as_it_was.cost.usd_low < 76 < as_it_was.cost.usd_high
    assert "3.21 samples/s" in as_it_was.cost.basis
    assert "declared" in as_it_was.cost.basis


def test_packing_brings_the_same_epoch_below_an_hour() -> None:
    found = total.estimate(plan_of(census()), facts())
    assert found.cost is not None
    assert total.seconds(found.cost) < 3600
    assert found.cost.usd_high < 5


def test_without_data_it_asks_for_what_to_declare() -> None:
    bare = census(dataset={"train": {"path": "/out/train.jsonl", "num_examples": 10}})
    found = total.estimate(plan_of(bare), facts())
    assert found.cost is None
    assert found.missing == ("the data can't be read from here: give `mean_tokens` of `dataset.train`",)
    assert found.memory is not None
    assert "max_length" in found.memory.basis
    rows = DataFacts(source="counted", format=None, rows=10)
    counted = total.estimate(plan_of(census(dataset={"train": {"path": "/out/train.jsonl"}})), facts(train=rows))
    assert counted.missing == (
        "the rows' tokens can't be counted without the tokenizer: give `mean_tokens` of `dataset.train`",
    )


def test_validation_rows_that_are_not_known_are_asked_for() -> None:
    train = {"path": "/out/train.jsonl", "num_examples": 10, "mean_tokens": 100}
    dataset = {"train": train, "eval": {"path": "/out/eval.jsonl"}}
    found = total.estimate(plan_of(census(dataset=dataset)), facts())
    assert found.cost is None
    assert found.missing == ("the validation data can't be read from here: give `num_examples` of `dataset.eval`",)


def test_counted_data_wins_over_declared() -> None:
    counted = DataFacts(source="counted", format=None, rows=100, length_counts=((100, 100),))
    found = total.estimate(plan_of(census()), facts(train=counted))
    assert found.cost is not None
    assert not found.is_declared
    assert found.cost.steps == 1


def test_without_the_model_s_shapes_it_says_so() -> None:
    found = total.estimate(plan_of(census()), facts(model=None))
    assert found.memory is None
    assert "shapes" in found.missing[0]


def test_another_gpu_is_extrapolated_with_a_wider_range() -> None:
    here, there = (
        total.estimate(plan_of(census(compute={"executor": "modal", "gpu": gpu})), facts()).cost
        for gpu in ("H200", "L40S")
    )
    assert here is not None
    assert there is not None
    assert there.basis.startswith("extrapolated")
    assert there.usd_high / there.usd_low > here.usd_high / here.usd_low


def test_two_machines_cost_twice_a_second_and_take_half_the_steps() -> None:
    long = {"packing": True, "max_length": 2048, "per_device_train_batch_size": 8, "num_train_epochs": 4}
    one, two = (
        total.estimate(
            plan_of(census(compute={"executor": "modal", "gpu": "H100:8", "nodes": nodes}, trainer=long)), facts()
        ).cost
        for nodes in (1, 2)
    )
    assert one is not None
    assert two is not None
    assert (one.gpu_count, two.gpu_count) == (8, 16)
    assert two.usd_per_second == 2 * one.usd_per_second
    assert abs(2 * two.steps - one.steps) <= 1
    assert two.tokens_per_second > 1.8 * one.tokens_per_second


def test_a_short_timeout_takes_several_attempts() -> None:
    short = census(compute={"executor": "modal", "gpu": "H200", "timeout": "10m"})
    found = total.estimate(plan_of(short), facts()).cost
    assert found is not None
    assert found.attempts > 1
    assert found.stages[-1].name == "attempts"


def test_a_region_multiplies_the_price() -> None:
    plain = total.estimate(plan_of(census()), facts()).cost
    narrow = total.estimate(
        plan_of(census(compute={"executor": "modal", "gpu": "H200", "region": "eu-west"})), facts()
    ).cost
    assert plain is not None
    assert narrow is not None
    assert narrow.usd_high / plain.usd_high == pytest.approx(Decimal("1.75"), abs=Decimal("0.001"))


def observed(factor: float, **changes: object) -> Observation:
    plan = plan_of(census())
    known = total.inputs(plan, facts())
    assert isinstance(known, total.Inputs)
    like = total.features(plan, known)._replace(**changes)  # type: ignore[arg-type]
    return Observation(like, 1.0, factor)


def test_a_run_of_the_very_recipe_is_believed() -> None:
    found = total.estimate(plan_of(census()), facts(), (observed(1.5),)).cost
    plain = total.estimate(plan_of(census()), facts()).cost
    assert found is not None
    assert plain is not None
    assert found.seconds_per_step == pytest.approx(1.5 * plain.seconds_per_step, rel=1e-3)
    assert found.basis.startswith("measured on this very recipe, 1 run")


def test_a_single_run_of_its_like_is_half_believed_and_more_are_believed_more() -> None:
    features = observed(1.0).features
    one = learn((observed(2.0, identities=frozenset({"other"})),), features)
    nine = learn(tuple(observed(2.0, identities=frozenset({"other"})) for _ in range(9)), features)
    assert (one.kind, one.runs, one.factor) == ("like", 1, pytest.approx(2**0.5))
    assert nine.factor == pytest.approx(2**0.9)
    assert nine.words == "corrected by 9 runs of its like"


def test_a_run_on_another_gpu_teaches_nothing() -> None:
    assert learn((observed(2.0, identities=frozenset({"other"}), gpu="L4"),), observed(1.0).features).kind == "none"


def test_what_does_not_fit_gets_the_smallest_changes_that_do() -> None:
    big = census(trainer={"packing": True, "max_length": 2048, "per_device_train_batch_size": 64})
    small = advice.changed(big, {"compute.gpu": "L4", "trainer.gradient_checkpointing": False})
    ways = advice.to_fit(small, facts(), plan_of)
    assert ways
    assert all(way.fits and way.peak_gb <= 24 for way in ways)
    assert ways[0].same_result
    assert ("trainer.per_device_train_batch_size", 1) in ways[0].keys or len(ways[0].keys) == 2


def ways_of(gpu: str, times_as_deep: int, **trainer: object) -> tuple[advice.Change, ...]:
    """What would make Phi-3-mini's unquantised weights fit, if it had so many times its layers."""
    made = census(quantization=None, compute={"executor": "modal", "gpu": gpu}, trainer=trainer)
    known = facts(model=deeper(times_as_deep))
    return advice.to_fit(made, known, lambda changed: build(changed, known, folders={"model.name_or_path": "/r"}))


def test_no_change_is_named_twice_and_each_is_one_that_can_be_set() -> None:
    ways = [way.words for way in ways_of("L4", 3)]
    assert len(ways) == len(set(ways)) > 1
    assert "`quantization.load_in_4bit: true`" in ways


def test_another_gpu_comes_after_the_changes_that_keep_the_one_asked_for() -> None:
    others = [any(key == "compute.gpu" for key, _ in way.keys) for way in ways_of("L4", 3)]
    assert others == sorted(others)
    assert any(others)


def test_weights_that_no_gpu_of_the_kind_holds_are_sharded_over_more_of_them_for_the_same_rows_a_step() -> None:
    (larger, more) = ways_of("H100", 15, per_device_train_batch_size=2, gradient_accumulation_steps=3)[-2:]
    assert dict(larger.keys) == {"compute.gpu": "H200"}
    assert dict(more.keys) == {"compute.gpu": "H100:2", "trainer.per_device_train_batch_size": 1}
    assert larger.same_result
    assert more.same_result
    assert (larger.usd or 0) < (more.usd or 0)
    assert more.peak_gb < 80


def test_rows_that_can_t_be_shared_out_make_another_step_of_it() -> None:
    more = ways_of("H100", 15, per_device_train_batch_size=1)[-1]
    assert dict(more.keys) == {"compute.gpu": "H100:2"}
    assert not more.same_result


def test_an_optimiser_that_can_t_update_sharded_weights_is_named_with_one_that_can() -> None:
    more = ways_of("H100", 15, optim="adamw_8bit")[-1]
    assert ("trainer.optim", "adamw_torch_fused") in more.keys
    assert not more.same_result


def test_where_fewer_rows_at_once_are_enough_no_more_gpus_are_named() -> None:
    big = {"packing": True, "max_length": 2048, "per_device_train_batch_size": 64, "gradient_checkpointing": False}
    ways = ways_of("H100", 1, **big)
    assert ways[0].same_result
    assert not [way for way in ways if ":" in str(dict(way.keys).get("compute.gpu"))]


@pytest.mark.parametrize("alone", [{"engine": "unsloth"}, {"extra": {"fsdp": False}}])
def test_what_fits_no_gpu_as_it_is_gets_one_with_its_weights_in_4_bits(alone: dict[str, Any]) -> None:
    (way,) = ways_of("L4", 40, **alone)
    assert [key for key, _ in way.keys] == ["compute.gpu", "quantization.load_in_4bit"]
    assert not way.same_result


@pytest.mark.slow
def test_what_no_change_makes_fit_gets_none() -> None:
    assert ways_of("L4", 500) == ()


def test_what_runs_have_taught_of_a_step_is_no_saving_of_a_change() -> None:
    made = census(trainer={"packing": True, "max_length": 2048, "gradient_accumulation_steps": 2})
    known = total.inputs(plan_of(made), facts())
    assert isinstance(known, total.Inputs)
    slower = Observation(total.features(plan_of(made), known), 1.0, 3.0)
    for seen in ((), (slower,)):
        now = total.estimate(plan_of(made), facts(), seen)
        assert advice.to_save(made, facts(), plan_of, now) is None


def test_the_change_that_saves_most_is_named_with_its_gain() -> None:
    slow = {"packing": False, "max_length": 2048, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    dropped = {"r": 16, "target_modules": SEVEN, "lora_dropout": 0.05}  # so small steps can't be captured as graphs
    made = census(lora=dropped, trainer={**slow, "gradient_checkpointing": True})
    now = total.estimate(plan_of(made), facts())
    best = advice.to_save(made, facts(), plan_of, now)
    assert best is not None
    change, times = best
    assert dict(change.keys) == {"trainer.packing": True}
    assert times > 2


def test_on_modal_a_container_without_a_gpu_prepares_at_its_own_price() -> None:
    found = total.estimate(plan_of(census()), facts()).cost
    assert found is not None
    before, *own = found.stages
    assert (before.name, before.has_gpu) == ("prepare", False)
    assert all(stage.has_gpu for stage in own)
    data = next(stage for stage in own if stage.name == "data")
    assert data.high < 10 < before.high
    four_cores = 4 * Decimal("0.0000131") + 4 * Decimal("0.00000222")
    seconds = sum(Decimal(str(stage.high)) for stage in own)
    assert found.usd_high == pytest.approx(
        seconds * found.usd_per_second + Decimal(str(before.high)) * four_cores, abs=Decimal("0.001")
    )
    assert found.job_usd[2] == pytest.approx(seconds * found.usd_per_second, abs=Decimal("0.001"))


def test_a_timeout_is_none_of_the_preparing_container_s() -> None:
    begins = tuple(StageTime(name=n, low=1, high=1, basis="") for n in ("start", "data", "model", "samples_before"))
    train = StageTime(name="train", low=100, high=100, basis="")
    before = StageTime(name="prepare", low=0, high=9000, basis="", has_gpu=False)
    assert stage_times.attempts((before, *begins, train), 600) == 1


def test_a_few_rows_of_this_machine_are_tokenised_beside_the_gpu() -> None:
    few = {"train": {"path": "/out/train.jsonl", "num_examples": 500, "mean_tokens": 180.0}}
    known = facts(model=phi3().model_copy(update={"source": "folder"}))
    found = total.estimate(plan_of(census(dataset=few)), known).cost
    assert found is not None
    assert [stage.name for stage in found.stages][:3] == ["start", "data", "model"]


def test_on_this_machine_the_model_loads_while_rows_are_tokenised() -> None:
    here = Machine(gpu_name="NVIDIA H100 80GB HBM3", gpu_count=1, gpu_memory_gb=85.0, cpu_cores=16)
    known = facts(machine=here)
    local = census(compute={"executor": "local"}, volumes={})
    made = build(local, known, folders={"model.name_or_path": "/r"})
    found = total.estimate(made, known).cost
    assert found is not None
    stages = {stage.name: stage for stage in found.stages}
    assert "prepare" not in stages
    assert "what is left" in stages["model"].basis
    assert stages["data"].high > 10


def test_an_amount_of_any_size_is_a_price_and_no_crash() -> None:
    held = cost.Rates(gpu=Decimal("1e300"), cpu=Decimal("0.00001"), memory=Decimal(0))
    assert cost.bill(held, 10).gpu == Decimal("1e301")
    assert cost.bill(held, 10).cpu == Decimal("0.0001")
