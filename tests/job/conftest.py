"""Fixtures of the job's tests."""

from pathlib import Path

import pytest

from tests.job import tiny


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model(tmp_path_factory.mktemp("model"))
