"""Estimates, prices and costs as tables for people."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from sftrun.facts.gpus import catalog
from sftrun.facts.values import Catalog
from sftrun.plan.check.budget import Verdict
from sftrun.report.cost_sums import Costs
from sftrun.report.estimates import Advice, Document, RecipeEstimate, chosen, summed
from sftrun.report.offers import TOO_SMALL, Offer, label
from sftrun.report.show import figures

_WORD: Final = len("extrapolated")
_COLUMNS: Final = ("GPU", "peak GB", "a step", "tok/s", "time", "tries", "USD")
_FRACTIONS: Final = {
    2: "half",
    3: "a third",
    4: "a quarter",
    5: "a fifth",
    6: "a sixth",
    7: "a seventh",
    8: "an eighth",
}
_FRACTIONS_MORE: Final = {9: "a ninth", 10: "a tenth"}


_VERDICTS: Final[dict[Verdict, tuple[str, str]]] = {
    "start": ("enough", "dim"),
    "ask": ("may not be enough, so that `apply` asks first", "yellow"),
    "refuse": ("not enough, so that `apply` refuses", "red"),
}


def estimates(found: Document) -> RenderableType:
    """Every recipe, the sum of several, and the prices' date."""
    parts: list[RenderableType] = [recipe(one) for one in found.recipes]
    if len(found.recipes) > 1:
        total = f"together {figures.dollars(found.usd_low)} to {figures.dollars(found.usd_high)}"
        parts.append(
            Text(f"{total}, {figures.duration(found.seconds)} one after another{_left_out(found)}", style="bold")
        )
    age = f"prices of {found.prices_date} ({found.prices_source}), {figures.days_old(found.prices_age_days)}"
    warn = _is_odd(found.prices_age_days)
    hint = "; `sftrun prices --refresh` takes your account's own" if warn else ""
    parts.append(Text(age + hint, style="yellow" if warn else "dim"))
    return Group(*parts)


def recipe(one: RecipeEstimate) -> RenderableType:
    """One recipe: its table, the details of one GPU, what to change."""
    parts: list[RenderableType] = [_headline(one)]
    if one.offers:
        parts.append(_Offers(one))
    detailed = chosen(one)
    if detailed is not None:
        parts += _details(detailed)
    parts += [Text(f"missing: {figures}", style="yellow") for figures in one.missing]
    if one.budget_usd is not None and one.budget_verdict is not None:
        said, style = _VERDICTS[one.budget_verdict]
        parts.append(Text(f"budget {figures.dollars(one.budget_usd)}: {said}", style=style))
    if one.note:
        parts.append(Text(f"note: {one.note}", style="dim"))
    advised = detailed or next(iter(one.offers), None)
    if advised is not None and advised.why_not == TOO_SMALL:
        parts += _fitting(one.to_fit, label(advised))
    if advised is not None and one.to_save is not None:
        parts.append(_saving(one.to_save, label(advised)))
    return Group(*parts, Text(""))


def _left_out(found: Document) -> str:
    """The recipes that the sum is without."""
    without = [figures.printable(one.name) for one in found.recipes if summed(one) is None]
    return f"; not in it: {', '.join(without)}" if without else ""


def _is_odd(age_days: int) -> bool:
    return age_days > catalog.STALE_DAYS or age_days < 0


def _headline(one: RecipeEstimate) -> Text:
    line = (
        Text()
        .append(figures.printable(one.name), style="bold")
        .append(f"  {figures.printable(one.model)}", style="dim")
    )
    rows = f"  {one.rows:,} rows ({one.rows_source})" if one.rows is not None else ""
    steps = f", {figures.steps(one.steps)}" if one.steps else ""
    return line.append(rows + steps, style="dim")


@dataclass(frozen=True)
class _Offers:
    """The table of GPUs; without the pace where there is no room for it, and folded where there is still none."""

    one: RecipeEstimate

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        def width(table: Table) -> int:
            return Measurement.get(console, options.update(max_width=1_000), table).maximum

        room, wide = options.max_width, _table(self.one, with_pace=True)
        spare = room - width(_table(self.one, with_pace=False, remark_width=_WORD))
        if width(wide) < room:
            yield wide
        elif spare >= 0:
            yield _table(self.one, with_pace=False, remark_width=_WORD + spare)
        else:
            yield _table(self.one, with_pace=False, folds=True)


def _table(one: RecipeEstimate, *, with_pace: bool, remark_width: int | None = None, folds: bool = False) -> Table:
    kept = (0, 1, 2, 3, 4, 5, 6) if with_pace else (0, 1, 4, 5, 6)
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold dim", padding=(0, 1, 0, int(with_pace))
    )
    for number in kept:
        table.add_column(_COLUMNS[number], justify="right" if number else "left", no_wrap=not folds, overflow="fold")
    table.add_column("", overflow="fold", max_width=remark_width)
    for offer in one.offers:
        cells = _cells(offer)
        table.add_row(*(cells[number] for number in kept), _remark(one, offer), style=None if offer.usable else "dim")
    return table


def _cells(offer: Offer) -> tuple[str, ...]:
    memory = f"{offer.memory.peak_gb:.1f} of {offer.memory.capacity_gb:.0f}" if offer.memory else ""
    if offer.cost is None:
        return label(offer), memory, "", "", "", "", ""
    cost = offer.cost
    money = (
        f"{figures.dollars(cost.usd_low)} – {figures.dollars(cost.usd_high)}" if offer.usd is not None else "no price"
    )
    pace = f"{cost.seconds_per_step:.3g} s"
    speed = f"{cost.tokens_per_second:,.0f}"
    return label(offer), memory, pace, speed, figures.duration(offer.seconds or 0), str(cost.attempts), money


def _remark(one: RecipeEstimate, offer: Offer) -> Text:
    if offer.why_not:
        return Text(offer.why_not, style="red")
    marks = [name for name, best in (("cheapest", one.cheapest), ("fastest", one.fastest)) if best == label(offer)]
    said = Text(", ".join(marks), style="green")
    if offer.cost is not None and offer.cost.basis.startswith("extrapolated"):
        said.append(", extrapolated" if marks else "extrapolated", style="dim")
    return said


def _details(offer: Offer) -> list[RenderableType]:
    found: list[RenderableType] = [Text(f"on {label(offer)}", style="bold")]
    if offer.memory is not None:
        parts = (f"{part.name} {part.gb:.2f}" for part in offer.memory.parts if part.gb >= 0.005)
        found.append(_sum("memory", f"{' + '.join(parts)} = {offer.memory.peak_gb:.2f} GB", offer.memory.basis))
    if offer.cost is not None:
        found += [_stages(offer), _sum("money", _money(offer), offer.cost.basis)]
    return found


def _sum(name: str, parts: str, basis: str) -> Table:
    """A name, the parts of a sum, and below them what it rests on."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, min_width=8)
    table.add_column(overflow="fold")
    table.add_row(f"  {name}", Text(parts))
    table.add_row("", Text(basis, style="dim"))
    return table


def _stages(offer: Offer) -> Table:
    assert offer.cost is not None
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(style="dim", overflow="fold")
    for stage in offer.cost.stages:
        if stage.high >= 0.5:
            span = f"{figures.duration(stage.low)} – {figures.duration(stage.high)}"
            table.add_row(f"  {stage.name.replace('_', ' ')}", span, stage.basis)
    return table


def _money(offer: Offer) -> str:
    assert offer.cost is not None
    cost = offer.cost
    kinds = {"GPU": cost.usd_gpu, "CPU": cost.usd_cpu, "memory": cost.usd_memory, "storage": cost.usd_storage}
    parts = " + ".join(f"{name} {figures.dollars(usd)}" for name, usd in kinds.items() if usd)
    if offer.usd is None:
        return "none known; `sftrun prices --help` says how to give one"
    if not parts:
        return "nothing is rented"
    likely = figures.dollars(offer.usd or Decimal(0))
    return f"{parts} = {likely}, in a range of {figures.dollars(cost.usd_low)} – {figures.dollars(cost.usd_high)}"


def _fitting(ways: Sequence[Advice], gpu: str) -> list[Text]:
    if not ways:
        said = f"{gpu} is too small, and no change of batch, length or GPU is enough; take a smaller model"
        return [Text(said, style="red")]
    return [
        Text(f"{f'{gpu} is too small; what fits:' if way is ways[0] else 'or'} {_change(way)}").append(
            f" (peak {way.peak_gb:.1f} GB{_price(way)})"
        )
        for way in ways
    ]


def _price(way: Advice) -> str:
    return f", about {figures.dollars(way.usd)}" if way.usd else ""


def _saving(best: Advice, gpu: str) -> Text:
    assert best.seconds is not None
    part = _fraction(best.times or 1)
    took = f"{figures.duration(best.seconds)}{_price(best)}"
    said = f"most to save on {gpu}: {_change(best)} would cut it to {part} ({took})"
    return Text(said if best.same_result else f"{said}; other rows share a step then", style="green")


def _change(way: Advice) -> str:
    return ", ".join(f"`{key}: {value}`" for key, value in way.keys.items())


def _fraction(times: float) -> str:
    known = _FRACTIONS | _FRACTIONS_MORE
    whole = round(times)
    if whole in known and abs(times - whole) < 0.25:
        return known[whole]
    return f"1/{whole}" if whole > max(known) else f"{100 / times:.0f} %"


def prices(known: Catalog, age_days: int) -> RenderableType:
    """All rates, by the second and by the hour."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold dim")
    table.add_column("what")
    for name in ("USD/s", "USD/h", "GB", "bf16 TFLOP/s", "GB/s"):
        table.add_column(name, justify="right", overflow="fold")
    for gpu in (*known.gpus, *(card for card in known.cards if card.usd_per_second)):
        names = ", ".join((gpu.name, *gpu.aliases))
        sizes = (f"{gpu.memory_gb:g}", f"{gpu.bf16_tflops:g}" if gpu.has_bf16 else "fp16 only")
        table.add_row(names, *_both(gpu.usd_per_second), *sizes, f"{gpu.memory_gb_per_second:g}")
    rates = known.prices
    table.add_row("a physical core", *_both(rates.cpu_core_usd_per_second))
    table.add_row("a GiB of memory", *_both(rates.memory_gib_usd_per_second))
    volume = f"Volumes: ${rates.volume_gib_month_usd:f} per GiB-month beyond {rates.volume_free_gib:g} GiB"
    regions = ", ".join(
        f"{'any other' if name == '*' else name} × {by}" for name, by in rates.region_multipliers.items()
    )
    style = "yellow" if _is_odd(age_days) else "dim"
    dated = Text(f"prices of {rates.date} ({rates.source}), {figures.days_old(age_days)}", style=style)
    notes = (Text(line, style="dim") for line in (volume, f"a region asked for: {regions}", _unpriced(known)) if line)
    return Group(table, *notes, dated)


def _unpriced(known: Catalog) -> str:
    """The cards that `--gpu` knows, and nobody has given a price."""
    names = ", ".join(card.name for card in known.cards if not card.usd_per_second)
    return f"known without a price, until a file of your own gives one: {names}" if names else ""


def _both(per_second: Decimal) -> tuple[str, str]:
    return f"{per_second:.8f}".rstrip("0"), f"{per_second * 3600:.4f}"


def costs(found: Costs) -> RenderableType:
    """What runs have cost, by the key asked for."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold dim")
    table.add_column(found.by, overflow="fold")  # a name may be long; no figure is cut for it
    for name in ("runs", "time", "USD", "estimated"):
        table.add_column(name, justify="right", no_wrap=True)
    for group in found.groups:
        table.add_row(
            Text(figures.printable(group.key)), *_sums(group.runs, group.seconds, group.usd, group.estimated_usd)
        )
    table.add_section()
    table.add_row(Text("all", style="bold"), *_sums(found.runs, found.seconds, found.usd, None))
    return Group(table, *_cap(found))


def _sums(runs: int, seconds: float, usd: Decimal, estimated: Decimal | None) -> Iterable[str]:
    return f"{runs:,}", figures.duration(seconds), figures.dollars(usd), figures.dollars(estimated) if estimated else ""


def _cap(found: Costs) -> list[Text]:
    if found.month_cap_usd is None:
        return []
    said = f"this month {figures.dollars(found.month_usd)} of {figures.dollars(found.month_cap_usd)}"
    return [Text(said, style="red" if found.month_usd > found.month_cap_usd else "dim")]
