"""The range of a step, and what it says that it rests on."""

import pytest

from sftrun.facts.gpus import calibration
from sftrun.plan.estimate import roofline, stage_times, workload
from sftrun.plan.estimate.learning import Correction
from tests.plan.shapes import gpu, setup


@pytest.mark.parametrize(
    ("rows", "words"),
    [(1, "the step waits for launches"), (16, "where others use the machine's CPU"), (64, "calibrated on")],
)
def test_the_range_reaches_to_a_busy_cpu(rows: int, words: str) -> None:
    found = setup(attention="varlen", compiled=True, per_device_train_batch_size=rows, max_length=512)
    step = roofline.step(found, workload.worst_batch(found.trainer, found.step), 1, gpu("H200"), calibration.shipped())
    pace = stage_times.pace(step, gpu("H200"), found, calibration.shipped(), Correction())
    assert pace.low < pace.seconds <= step.busy < pace.high
    assert words in pace.basis
    assert ("CPU" in pace.basis) == (rows < 64)
