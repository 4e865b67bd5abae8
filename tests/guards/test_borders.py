"""The borders of pyproject.toml hold, and each catches the imports that its title forbids."""

from copy import deepcopy
from functools import cache
from graphlib import TopologicalSorter
from typing import Any

import grimp
import pytest
from importlinter.api import read_configuration
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract

from tests.guards.source import ROOT

KINDS = {"forbidden": ForbiddenContract, "layers": LayersContract}
CONFIGURED = read_configuration(str(ROOT / "pyproject.toml"))
CONTRACTS: list[dict[str, Any]] = CONFIGURED["contracts_options"]
# contract -> imports that it must catch, each in a module that stands today
CAUGHT = {
    "imports point one way": [
        ("sftrun.plan.build", "sftrun.run.ledger"),
        ("sftrun.facts.gather", "sftrun.recipe.models"),
        ("sftrun.rows.raw.read", "sftrun.step.place"),
        ("sftrun.contract.jobspec", "sftrun.rows.raw.read"),
        ("sftrun.strict", "sftrun.contract.events"),
    ],
    "what runs beside the GPU runs where click, rich, ruamel and modal are not": [
        ("sftrun.job.failures", "click"),
        ("sftrun.rows.raw.read", "rich"),
        ("sftrun.step.place", "ruamel"),
        ("sftrun.contract.jobspec", "modal"),
        ("sftrun.errors", "click"),  # by way of those that the job imports
    ],
    "of the job, run knows the supervisor and its failures alone": [
        ("sftrun.run.local", "sftrun.job.train.worker"),
        ("sftrun.run.local", "sftrun.job.channel"),
        ("sftrun.run.modal.container.functions", "sftrun.job.output"),
    ],
    "what runs in Modal's container knows nothing of the client's side": [
        ("sftrun.run.modal.container.functions", "sftrun.run.modal.call"),
        ("sftrun.run.modal.container.cluster", "sftrun.plan.types"),
        ("sftrun.run.modal.container.poster", "sftrun.facts.machine"),
        ("sftrun.run.modal.handover", "sftrun.recipe.models"),  # by way of what both sides share
        ("sftrun.job.supervise.answerer", "rich"),
    ],
    "of the container, the client knows the functions that it hands over alone": [
        ("sftrun.run.modal.call", "sftrun.run.modal.container.functions"),
        ("sftrun.run.modal.start", "sftrun.run.modal.container.poster"),
        ("sftrun.run.local", "sftrun.run.modal.container.fetch"),
    ],
    "above run nobody knows the job": [
        ("sftrun.cli.main", "sftrun.job.failures"),
        ("sftrun.report.summary", "sftrun.job.supervise.pace"),
        ("sftrun.plan.build", "sftrun.job.failures"),
    ],
    "the job answers and does not judge: of an evaluation it knows the contract alone": [
        ("sftrun.job.train.worker", "sftrun.evaluate.verdict"),
        ("sftrun.job.failures", "sftrun.evaluate.metrics"),
    ],
    "an evaluation's core is pure: no terminal, no network, no ML library": [
        ("sftrun.evaluate.verdict", "click"),
        ("sftrun.evaluate.metrics", "rich"),
        ("sftrun.evaluate.intervals", "numpy"),
        ("sftrun.contract.answers", "torch"),  # by way of what it imports
    ],
    "what supervises a job needs no ML library (but torchrun's agent)": [
        ("sftrun.job.supervise.entry", "torch"),
        ("sftrun.job.failures", "transformers"),  # by way of what the supervisor imports
        ("sftrun.contract.jobspec", "pyarrow"),
    ],
}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("sftrun", include_external_packages=True, cache_dir=None)


def is_kept(contract: dict[str, Any], on: grimp.ImportGraph) -> bool:
    options = {name: value for name, value in contract.items() if name not in ("name", "type", "id")}
    kind = KINDS[contract["type"]]
    return kind(contract["name"], CONFIGURED["session_options"], options).check(graph=deepcopy(on), verbose=False).kept


def test_every_contract_is_shown_to_catch_something() -> None:
    assert {contract["name"] for contract in CONTRACTS} == set(CAUGHT)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract["name"])
def test_the_house_keeps_its_borders(contract: dict[str, Any]) -> None:
    assert is_kept(contract, graph())


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract["name"])
def test_a_border_catches_what_its_title_forbids(contract: dict[str, Any]) -> None:
    for importer, imported in CAUGHT[contract["name"]]:
        wrong = deepcopy(graph())
        assert importer in wrong.modules
        if imported not in wrong.modules:
            wrong.add_module(imported, is_squashed=True)
        wrong.add_import(importer=importer, imported=imported)
        assert not is_kept(contract, wrong), f"{importer} -> {imported}"


def test_a_folder_that_stands_on_no_floor_is_caught() -> None:
    (floors,) = (contract for contract in CONTRACTS if contract["type"] == "layers")
    wrong = deepcopy(graph())
    wrong.add_module("sftrun.attic")
    assert not is_kept(floors, wrong)


def test_no_module_imports_itself_by_way_of_others() -> None:
    order = TopologicalSorter({one: graph().find_modules_directly_imported_by(one) for one in graph().modules})
    order.prepare()  # raises CycleError, which names the circle
