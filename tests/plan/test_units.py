"""Durations, sizes and GPU names as users write them."""

import pytest

from sftrun import units


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("30m", 1800), ("24h", 86400), (60, 60), ("60", 60)])
def test_a_duration_is_seconds(text: str | int, value: int) -> None:
    assert units.seconds(text) == value


@pytest.mark.parametrize(("text", "value"), [("16GiB", 16384), ("512MiB", 512), (2048, 2048), (None, None)])
def test_memory_is_mebibytes(text: str | int | None, value: int | None) -> None:
    assert units.mebibytes(text) == value


@pytest.mark.parametrize("text", ["", "a day", "24 hours", "-1s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        units.seconds(text)


def test_gpus_come_in_order_of_preference() -> None:
    assert units.gpu_choices(("H100:8", "A100")) == (("H100", 8), ("A100", 1))
    assert units.gpu_choices("none") == units.gpu_choices(None) == ()
