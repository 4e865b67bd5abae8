"""What a worker sees of the machine."""

from pathlib import Path

import pytest

from sftrun.job.supervise import process
from tests.job import tiny


@pytest.mark.parametrize(
    ("count", "listed", "seen"),
    [(0, None, ""), (0, "0,1", ""), (1, None, "0"), (1, "3,5", "3"), (2, "GPU-1f,GPU-2a,GPU-3c", "GPU-1f,GPU-2a")],
)
def test_a_worker_sees_as_many_gpus_as_the_recipe_has(
    count: int, listed: str | None, seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if listed is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    spec = tiny.make_job(tmp_path, tmp_path, tmp_path / "rows.jsonl", gpu_count=count)
    assert process.base_environment(spec)["CUDA_VISIBLE_DEVICES"] == seen
