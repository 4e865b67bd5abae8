"""A line chart as SVG text, for a page that must stand alone: no script, no font, no image from elsewhere."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

Points = Sequence[tuple[float, float]]
WIDTH: Final = 520
HEIGHT: Final = 200
LEFT: Final = 52
RIGHT: Final = 10
TOP: Final = 10
BOTTOM: Final = 26
MOST_POINTS: Final = 400


def line_chart(title: str, points: Points, unit: str = "", second: Points = (), second_name: str = "") -> str:
    """A figure with one curve, and dots for `second` (evaluations); empty where there is nothing to draw."""
    shown = thinned([p for p in points if math.isfinite(p[1])])
    if len(shown) < 2:
        return ""
    both = [*shown, *second]
    across = _Scale(min(x for x, _ in both), max(x for x, _ in both), LEFT, WIDTH - RIGHT)
    low, high = _span([y for _, y in both])
    up = _Scale(low, high, HEIGHT - BOTTOM, TOP)
    parts = [_grid(up, low, high), _steps(across), f'<path class="one" d="{_path(shown, across, up)}"/>']
    if len(second) > 2:  # a line between two would say something of what lies between them
        parts.append(f'<path class="two" d="{_path(second, across, up)}"/>')
    parts += [f'<circle class="dot" cx="{across(x):.1f}" cy="{up(y):.1f}" r="3"/>' for x, y in second]
    name = f"{title}{f' ({unit})' if unit else ''}" + (f", dots: {second_name}" if second else "")
    said = f"from {shown[0][1]:.4g} at step {shown[0][0]:g} to {shown[-1][1]:.4g} at step {shown[-1][0]:g}"
    label = escape(f"{name}: {said}", quote=True)
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    return f"<figure><figcaption>{escape(name)}</figcaption>{svg}</figure>"


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS of them, evenly, both ends kept."""
    if len(points) <= MOST_POINTS:
        return list(points)
    stride = (len(points) - 1) / (MOST_POINTS - 1)
    return [points[round(i * stride)] for i in range(MOST_POINTS)]


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


def _path(points: Points, across: _Scale, up: _Scale) -> str:
    return "M" + "L".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)


def _grid(up: _Scale, low: float, high: float) -> str:
    lines = []
    for value in ticks(low, high):
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
