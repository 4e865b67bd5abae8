"""Engines and executors: every name has its entry, and every entry what it needs."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest

from sftrun.contract.choices import EngineName, ExecutorName
from sftrun.contract.engines import ENGINES, Engine
from sftrun.contract.executors import EXECUTORS, Executor, executor
from sftrun.facts import locks
from sftrun.facts.gpus import calibration
from sftrun.run.backend import choose
from sftrun.run.ledger import Ledger
from sftrun.run.local import Local


def test_every_name_that_a_recipe_may_write_has_its_entry() -> None:
    assert set(get_args(EngineName)) == set(ENGINES)
    assert set(get_args(ExecutorName)) == set(EXECUTORS)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES.keys())
def test_an_engine_has_its_lock_and_its_loader(engine: Engine) -> None:
    assert "torch" in locks.read(engine.lock)
    assert engine.loader is None or find_spec(engine.loader) is not None


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES.keys())
def test_an_engine_with_a_step_of_its_own_has_its_constants(engine: Engine) -> None:
    assert engine.runs_our_step or engine.name in calibration.shipped().stacks


@pytest.mark.parametrize("place", EXECUTORS.values(), ids=EXECUTORS.keys())
def test_an_executor_has_its_backend(place: Executor) -> None:
    module, _, kind = place.backend.partition(":")
    assert hasattr(import_module(module), kind)


def test_a_new_executor_is_one_entry_and_its_class(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretended = Executor("pretend", "a pretence", "a pretence", "sftrun.run.local:Local", is_here=True)
    monkeypatch.setitem(EXECUTORS, "pretend", pretended)
    assert isinstance(choose("pretend", Ledger(tmp_path)), Local)


def test_an_executor_of_a_later_release_is_known_by_name_alone() -> None:
    later = executor("slurm")
    assert (later.title, later.is_here, later.is_elsewhere, later.rents) == ("slurm", False, False, False)
