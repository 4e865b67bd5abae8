"""`estimate-cost`, `prices` and `costs` as a user runs them."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from sftrun.cli.money import costs, prices
from sftrun.cli.recipes import estimate_cost
from sftrun.errors import UsageError

ROOT = Path(__file__).parents[2]
AS_IT_WAS = str(ROOT / "recipes" / "phi3-census-as-it-was.yaml")
SCHEMA = json.loads((ROOT / "schemas" / "estimate-v1.schema.json").read_text())
RECIPE = """\
version: 1
name: r
model: {name_or_path: Qwen/Qwen2.5-0.5B-Instruct}
lora: {}
dataset: {train: {hub: some/data, num_examples: 1000, mean_tokens: 100}}
trainer: {packing: true}
compute: {gpu: L4}
volumes: {/out: results}
output: {dir: /out/r}
"""


@pytest.fixture(autouse=True)
def _own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFTRUN_HOME", str(tmp_path / "ledger"))
    for name in ("SFTRUN_PRICES", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(estimate_cost.command, arguments, catch_exceptions=False)


def document(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(estimate_cost.command, [*arguments, "--format", "json"], standalone_mode=False)
    assert done.exception is None, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    Draft202012Validator(SCHEMA).validate(found)
    return found


def test_the_old_script_s_recipe_shows_what_it_cost() -> None:
    (offer,) = document(AS_IT_WAS)["recipes"][0]["offers"]
    assert 16.5 * 3600 < offer["seconds"] < 17 * 3600
    assert 75 < Decimal(offer["usd"]) < 80


def test_all_gpus_are_compared_and_the_cheapest_and_fastest_marked() -> None:
    found = document(AS_IT_WAS, "--gpu", "all")["recipes"][0]
    assert len(found["offers"]) == 11
    assert found["cheapest"]
    assert found["fastest"]
    t4 = next(offer for offer in found["offers"] if offer["gpu"] == "T4")
    assert t4["why_not"] == "has no bf16"
    assert [offer["gpu"] for offer in found["offers"] if offer["is_recipes_own"]] == ["H200"]


def test_what_if_is_a_set_away() -> None:
    slow = document(AS_IT_WAS)["seconds"]
    fast = document(AS_IT_WAS, "--set", "trainer.engine=trl", "--set", "trainer.packing=true")["seconds"]
    assert slow > 15 * fast


def test_several_recipes_are_summed(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    both, one = document(str(file), AS_IT_WAS), document(AS_IT_WAS)
    assert Decimal(both["usd_low"]) > Decimal(one["usd_low"])


def test_several_recipes_are_summed_on_the_one_gpu_that_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    both = document(str(file), AS_IT_WAS, "--gpu", "H100,h100")
    offers = [offer for one in both["recipes"] for offer in one["offers"]]
    assert [offer["gpu"] for offer in offers] == ["H100", "H100"]
    assert Decimal(both["usd_low"]) == sum(Decimal(offer["cost"]["usd_low"]) for offer in offers) > 0


def test_steps_that_the_recipe_names_are_said_without_an_estimate(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE.replace(", mean_tokens: 100", ""))
    (one,) = document(str(file), "--set", "trainer.max_steps=70")["recipes"]
    assert (one["offers"][0]["cost"], one["steps"]) == (None, 70)


@pytest.mark.parametrize("columns", ["60", "80", "100", "120"])
def test_no_figure_is_cut_however_narrow_the_terminal(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    words = run(AS_IT_WAS, "--gpu", "all").output.split()
    found = document(AS_IT_WAS, "--gpu", "all")["recipes"][0]["offers"]
    highs = {f"${Decimal(offer['cost']['usd_high']):.2f}" for offer in found if offer["cost"]}
    assert highs <= set(words)


def test_a_count_is_estimated_for_that_many_gpus(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    one, eight = document(str(file), "--gpu", "H100,H100:8")["recipes"][0]["offers"]
    assert (one["gpu_count"], eight["gpu_count"]) == (1, 8)
    assert eight["cost"]["steps"] < one["cost"]["steps"]


def test_several_machines_are_offered_whole(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    machines = ("--set", "compute.nodes=2", "--set", "compute.gpu=H100:8")
    found = document(str(file), *machines, "--gpu", "all")["recipes"][0]
    assert {(offer["gpu"], offer["gpu_count"]) for offer in found["offers"]} >= {("H100", 8), ("A10", 4)}
    assert {offer["nodes"] for offer in found["offers"]} == {2}
    assert found["fastest"].startswith("2 × ")
    part = document(str(file), *machines, "--gpu", "H100:4")["recipes"][0]["offers"][0]
    assert part["why_not"] == "several machines need all their 8"


def test_the_table_says_its_basis_in_words() -> None:
    said = " ".join(run(AS_IT_WAS, "--gpu", "all").output.split())
    for words in (
        "declared",
        "extrapolated",
        "cheapest",
        "most to save on H200: `",
        "would cut it to 1/",
        "prices of 2026-10-06",
    ):
        assert words in said


def test_without_data_it_asks_and_ends_with_one(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE.replace(", num_examples: 1000, mean_tokens: 100", ""))
    done = CliRunner().invoke(estimate_cost.command, [str(file)], standalone_mode=False)
    assert done.return_value == 1
    assert "give `num_examples` and `mean_tokens` of `dataset.train`" in " ".join(done.output.split())


def test_an_unknown_gpu_is_named_with_those_that_are(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    done = CliRunner().invoke(estimate_cost.command, [str(file), "--gpu", "H1000"], standalone_mode=False)
    assert str(done.exception) == "--gpu: no GPU `H1000`"


@pytest.mark.parametrize("asked", ["H100:x", "H100:0", "H100:-1", "none", "", "H100,,L4", "H100:", "all:2"])
def test_what_names_no_gpus_is_a_wrong_use(asked: str, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    done = CliRunner().invoke(estimate_cost.command, [str(file), "--gpu", asked], standalone_mode=False)
    assert isinstance(done.exception, UsageError)
    assert done.exception.help
    assert "`H100:8` is eight" in done.exception.help


def test_a_gpu_has_the_catalog_s_name_however_it_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    found = document(str(file), "--gpu", "l4,a10g,H100!")["recipes"][0]
    assert [offer["gpu"] for offer in found["offers"]] == ["L4", "A10", "H100"]
    assert [offer["is_recipes_own"] for offer in found["offers"]] == [True, False, False]


def test_what_does_not_fit_has_no_price_and_counts_in_no_sum(tmp_path: Path) -> None:
    file = tmp_path / "big.yaml"
    file.write_text(RECIPE.replace("Qwen2.5-0.5B", "Qwen2.5-14B").replace("name: r", "name: big"))
    found = document(str(file), AS_IT_WAS)
    (offer,) = found["recipes"][0]["offers"]
    assert (offer["why_not"], offer["usd"], offer["seconds"], offer["cost"]) == ("does not fit", None, None, None)
    assert found["usd_high"] == document(AS_IT_WAS)["usd_high"]
    assert any(list(way["keys"]) == ["compute.gpu"] for way in found["recipes"][0]["to_fit"])
    said = " ".join(run(str(file), AS_IT_WAS).output.split())
    assert "not in it: big" in said
    assert "the pace that the original script" in said
    assert said.count("money") == 1


def test_what_no_change_makes_fit_is_said_to_need_a_smaller_model(tmp_path: Path) -> None:
    file = tmp_path / "huge.yaml"
    file.write_text(RECIPE.replace("Qwen2.5-0.5B", "Qwen2.5-72B").replace("lora: {}\n", ""))
    shared = " ".join(run(str(file)).output.split())
    whole = " ".join(run(str(file), "--set", "trainer.extra={fsdp: false}").output.split())
    assert "what fits: `compute.gpu: B200:8`, `trainer.per_device_train_batch_size: 1` (peak" in shared
    assert "no change of batch, length or GPU is enough; take a smaller model" in whole


def test_advice_is_for_the_gpu_asked_for_and_not_for_the_recipe_s(tmp_path: Path) -> None:
    asked = document(AS_IT_WAS, "--gpu", "L4")["recipes"][0]
    own = document(AS_IT_WAS, "--set", "compute.gpu=L4")["recipes"][0]
    assert asked["to_save"] == own["to_save"] is not None
    file = tmp_path / "big.yaml"
    file.write_text(RECIPE.replace("Qwen2.5-0.5B", "Qwen2.5-14B").replace("gpu: L4", "gpu: H200"))
    ways = document(str(file), "--gpu", "L4")["recipes"][0]["to_fit"]
    assert ways
    assert all(way["peak_gb"] <= 24 or "compute.gpu" in way["keys"] for way in ways)
    written = ("--gpu", "T4", "--set", "model.dtype=bfloat16")
    assert document(str(file), *written)["recipes"][0]["to_fit"] == []  # no change gives it bfloat16


def test_steps_are_said_where_all_gpus_take_as_many(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE.replace("gpu: L4", "gpu: none"))
    one, two = (document(str(file), "--gpu", asked)["recipes"][0] for asked in ("H100,H200", "H100,H100:8"))
    assert one["steps"] == one["offers"][0]["cost"]["steps"]
    assert two["steps"] is None


def test_it_loads_neither_torch_nor_modal() -> None:
    probe = (
        "import sys; from sftrun.cli.main import main; main(sys.argv[1:]); "
        "sys.stderr.write(repr({'torch', 'modal', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, "estimate-cost", AS_IT_WAS], capture_output=True, text=True, check=True
    )
    assert done.stderr.endswith("set()")


def test_prices_are_listed_with_their_age() -> None:
    done = CliRunner().invoke(prices.command, ["--format", "json"], standalone_mode=False)
    found = json.loads(done.stdout)
    assert found["prices"]["date"] == "2026-10-06"
    assert found["age_days"] > 0
    assert {gpu["name"] for gpu in found["gpus"]} >= {"T4", "H200", "B300"}


def test_refresh_keeps_the_account_s_rates_in_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "fetch_rates", lambda: {"gpu_hour_cost_h200": Decimal("4.00")})
    done = CliRunner().invoke(prices.command, ["--refresh", "--format", "json"], standalone_mode=False)
    assert done.exception is None
    assert json.loads((tmp_path / "ledger" / "rates.json").read_text())["gpu_usd_per_hour"] == {"H200": "4.00"}
    again = json.loads(CliRunner().invoke(prices.command, ["--format", "json"], standalone_mode=False).stdout)
    h200 = next(gpu for gpu in again["gpus"] if gpu["name"] == "H200")
    assert Decimal(h200["usd_per_second"]) * 3600 == pytest.approx(Decimal("4.00"))


def test_negotiated_rates_change_the_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Decimal(document(AS_IT_WAS)["usd_low"])
    own = tmp_path / "own.json"
    own.write_text('{"date": "2026-11-20", "gpu_usd_per_hour": {"H200": "2.27"}}')
    monkeypatch.setenv("SFTRUN_PRICES", str(own))
    assert Decimal(document(AS_IT_WAS)["usd_low"]) < before * Decimal("0.55")


def test_an_empty_ledger_has_no_costs() -> None:
    done = CliRunner().invoke(costs.command, [], standalone_mode=False)
    assert done.output.startswith("no runs in ")


def test_a_long_line_goes_on_below_its_own_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run(AS_IT_WAS).output.splitlines()
    first = lines.index("on H200")
    last = next(number for number, line in enumerate(lines) if line.startswith("note:"))
    assert all(line.startswith("  ") for line in lines[first + 1 : last])
    assert "in a range of $75" in " ".join(lines)


def test_every_kind_of_gpu_that_may_come_is_estimated_and_judged(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    dear = ("--set", "compute.gpu=[L4,B200]", "--set", "trainer.max_steps=100000", "--set", "compute.timeout=24h")
    (one,) = document(str(file), *dear)["recipes"]
    assert [(offer["gpu"], offer["is_recipes_own"]) for offer in one["offers"]] == [("L4", True), ("B200", True)]
    costs = [Decimal(offer["cost"]["usd_low"]) for offer in one["offers"]]
    between = (max(costs) + min(costs)) / 2
    (judged,) = document(str(file), *dear, "--set", f"budget.max_usd={between:.2f}")["recipes"]
    assert judged["budget_verdict"] == "refuse"


def test_a_run_that_its_attempts_can_t_end_is_noted(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    long = ("--set", "trainer.max_steps=100000", "--set", "compute.timeout=10m")
    (one,) = document(str(file), *long)["recipes"]
    assert "an attempt ends after 10m: it would need" in one["note"]


def test_a_recipe_comes_through_a_pipe() -> None:
    done = CliRunner().invoke(estimate_cost.command, ["-", "--format", "json"], input=RECIPE, standalone_mode=False)
    (one,) = json.loads(done.stdout)["recipes"]
    assert (one["name"], one["steps"]) == ("r", 13)


def test_a_month_s_cap_is_said(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    assert "this month" not in run(str(file)).output
    (tmp_path / "sftrun.toml").write_text("[budget]\nmonth_usd = 0\n")
    assert " ".join(run(str(file)).output.split()).endswith("so that `apply` refuses")


def test_a_month_s_cap_is_judged_by_the_dearest_kind_of_a_list(tmp_path: Path) -> None:
    file, kinds = tmp_path / "r.yaml", "compute.gpu=[L4, B200]"
    file.write_text(RECIPE)
    (one,) = document(str(file), "--set", kinds)["recipes"]
    first, second = (float(offer["cost"]["usd_high"]) for offer in one["offers"])
    assert first != second
    (tmp_path / "sftrun.toml").write_text(f'[budget]\nmonth_usd = "{(first + second) / 2:.6f}"\n')
    outputs = [" ".join(run(str(file), "--set", asked).output.split()) for asked in (kinds, "compute.gpu=[B200, L4]")]
    assert all("this month" in output for output in outputs)


@pytest.mark.parametrize(
    ("usd", "verdict", "said"),
    [
        ("0.0001", "refuse", "budget $0.0001: not enough, so that `apply` refuses"),
        ("0.02", "ask", "budget $0.0200: may not be enough, so that `apply` asks first"),
        ("20", "start", "budget $20.00: enough"),
    ],
)
def test_what_apply_would_do_about_the_budget_is_said(usd: str, verdict: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    budget = (str(file), "--set", f"budget.max_usd={usd}")
    assert document(*budget)["recipes"][0]["budget_verdict"] == verdict
    assert said in run(*budget).output


def test_a_card_of_one_s_own_is_estimated_and_has_no_price_until_one_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    found = document("r.yaml", "--gpu", "L4,rtx 4090,5090:2")["recipes"][0]
    rented, one, two = found["offers"]
    assert [one["gpu"], two["gpu"], two["gpu_count"]] == ["RTX-4090", "RTX-5090", 2]
    assert one["usable"]
    assert one["usd"] is None
    assert one["seconds"] < rented["seconds"]
    assert found["cheapest"] is None
    assert found["fastest"] == "RTX-5090:2"
    (tmp_path / "rates.json").write_text('{"date": "2026-11-01", "gpu_usd_per_hour": {"RTX-4090": "0.36"}}')
    monkeypatch.setenv("SFTRUN_PRICES", "rates.json")
    (priced,) = document("r.yaml", "--gpu", "RTX-4090")["recipes"][0]["offers"]
    assert Decimal(priced["usd"]) == pytest.approx(Decimal(str(priced["seconds"])) / 10_000, rel=Decimal("0.01"))
    assert "no price" in run("r.yaml", "--gpu", "RTX-3090").output


def test_what_fits_no_card_gets_changes_for_that_card(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        RECIPE.replace("packing: true", "packing: true, max_length: 8192, per_device_train_batch_size: 16")
    )
    found = document("r.yaml", "--gpu", "RTX-3060")["recipes"][0]
    assert found["offers"][0]["why_not"] == "does not fit"
    assert found["to_fit"]
    assert all(way["peak_gb"] < 12.5 for way in found["to_fit"])


@pytest.mark.parametrize(("name", "maker"), [("MI300X", "AMD"), ("Radeon RX 7900", "AMD"), ("M3-Max", "Apple")])
def test_a_gpu_that_nothing_runs_on_is_said_to_be_one(tmp_path: Path, name: str, maker: str) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    with pytest.raises(UsageError, match=maker):
        run("r.yaml", "--gpu", name)
