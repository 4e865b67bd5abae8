"""A line chart as SVG text, for a page that must stand alone: no script, no font, no image from elsewhere."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final, TypeVar

Points = Sequence[tuple[float, float]]
WIDTH: Final = 520
HEIGHT: Final = 200
LEFT: Final = 52
RIGHT: Final = 10
TOP: Final = 10
BOTTOM: Final = 26
MOST_POINTS: Final = 400
MOST_SPOTS: Final = 60  # that say their value
Value = TypeVar("Value")


def line_chart(
    title: str,
    points: Points,
    unit: str = "",
    second: Points = (),
    second_name: str = "",
    *,
    may_be_log: bool = False,
) -> str:
    """A figure with one curve, and dots for `second` (evaluations); empty where there is nothing to draw.

    `may_be_log`: with a second drawing on a logarithmic scale, and a box that shows the one or the other.
    """
    shown = thinned([p for p in points if math.isfinite(p[1])], MOST_POINTS)
    if len(shown) < 2:
        return ""
    name = f"{title}{f' ({unit})' if unit else ''}" + (f", dots: {second_name}" if second else "")
    said = f"from {shown[0][1]:.4g} at step {shown[0][0]:g} to {shown[-1][1]:.4g} at step {shown[-1][0]:g}"
    label = escape(f"{name}: {said}", quote=True)
    drawn = [_drawing(shown, second, label, is_log=False)]
    if may_be_log and min(y for _, y in (*shown, *second)) > 0:
        drawn = [_LOG_BOX, *drawn, _drawing(shown, second, label, is_log=True)]
    return f"<figure><figcaption>{escape(name)}</figcaption>{''.join(drawn)}</figure>"


_LOG_BOX: Final = '<label class="toggle"><input type="checkbox"> logarithmic</label>'


def _drawing(shown: Points, second: Points, label: str, *, is_log: bool) -> str:
    both = [*shown, *second]
    across = _Scale(min(x for x, _ in both), max(x for x, _ in both), LEFT, WIDTH - RIGHT)
    up, marks = _upwards([y for _, y in both], is_log=is_log)
    parts = [_grid(up, marks), _steps(across), f'<path class="one" d="{_path(shown, across, up)}"/>']
    if len(second) > 2:  # a line between two would say something of what lies between them
        parts.append(f'<path class="two" d="{_path(second, across, up)}"/>')
    parts += [_spot("at", point, across, up, 5) for point in thinned(shown, MOST_SPOTS)]
    parts += [_spot("dot", point, across, up, 3) for point in second]
    kind = "log" if is_log else "lin"
    return f'<svg class="{kind}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _spot(kind: str, point: tuple[float, float], across: "_Scale", up: Callable[[float], float], radius: int) -> str:
    """A circle that says its step and value to a pointer that rests on it."""
    x, y = point
    said = f"<title>step {x:,.10g}: {y:.6g}</title>"
    return f'<circle class="{kind}" cx="{across(x):.0f}" cy="{up(y):.0f}" r="{radius}">{said}</circle>'


def thinned(points: Sequence[Value], most: int) -> list[Value]:
    """At most so many of them, evenly, both ends kept."""
    if len(points) <= most:
        return list(points)
    stride = (len(points) - 1) / (most - 1)
    return [points[round(i * stride)] for i in range(most)]


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers from low to high: 1, 2 or 5 times a power of ten apart."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


class _Scale:
    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + share * (self.end - self.start)


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high - low < 1e-12 * max(abs(high), 1e-12):
        room = abs(high) * 0.1 or 1.0
        return (0.0 if 0 <= low < room * 11 and low >= 0 else low - room), high + room
    room = (high - low) * 0.05
    return (max(low - room, 0.0) if low >= 0 else low - room), high + room


_Upwards = Callable[[float], float]


def _upwards(values: Sequence[float], *, is_log: bool) -> tuple[_Upwards, list[float]]:
    """Where a value stands, and the values that get a line."""
    if not is_log:
        low, high = _span(values)
        return _Scale(low, high, HEIGHT - BOTTOM, TOP), ticks(low, high)
    low, high = min(values) / 1.1, max(values) * 1.1
    scale = _Scale(math.log10(low), math.log10(high), HEIGHT - BOTTOM, TOP)
    return lambda value: scale(math.log10(value)), log_ticks(low, high)


def log_ticks(low: float, high: float, about: int = 6) -> list[float]:
    """1, 2 and 5 times powers of ten between them; powers alone where those are too many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1,)):
        found = [factor * 10.0**power for power in powers for factor in factors]
        found = [value for value in found if low <= value <= high]
        if len(found) <= about:
            return found
    return found[:: math.ceil(len(found) / about)]


def _path(points: Points, across: _Scale, up: _Upwards) -> str:
    return "M" + "L".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)


def _grid(up: _Upwards, marks: Sequence[float]) -> str:
    lines = []
    for value in marks:
        y = up(value)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    return "".join(lines)


def _steps(across: _Scale) -> str:
    marks = [value for value in ticks(across.low, max(across.high, across.low + 1)) if value <= across.high]
    labels = [
        f'<text x="{across(v):.1f}" y="{HEIGHT - 8}" text-anchor="{_anchor(across(v))}">{v:,.10g}</text>' for v in marks
    ]
    return f'<text x="{LEFT - 14}" y="{HEIGHT - 8}" text-anchor="end">step</text>{"".join(labels)}'


def _anchor(x: float) -> str:
    """A label at the right edge ends there, so that it is not cut."""
    return "end" if x > WIDTH - RIGHT - 12 else "middle"


def _number(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value / 1000:.4g}k"
    if abs(value) >= 0.001:
        return f"{value:.4g}"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(power)}"
