"""Which GPU a job got, by what the driver calls it (`NVIDIA A100-SXM4-80GB`)."""

from collections.abc import Iterable


def named(device: str, names: Iterable[str]) -> str | None:
    """The longest of `names` (`A100-80GB`) whose parts are all among the device's words."""
    said = set(device.upper().replace("-", " ").split())
    fitting = [(len(parts), name) for name in names if (parts := set(name.upper().split("-"))) <= said]
    return max(fitting, default=(0, None))[1]
