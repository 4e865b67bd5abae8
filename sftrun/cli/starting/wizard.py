"""The wizard: a question for each thing that `sftrun init` needs and was not told, with the answer that Enter gives."""

from pathlib import Path

import click

from sftrun.cli.starting import beginning, drafting, known_models
from sftrun.cli.starting.drafting import Wishes, is_hub

_GOALS = "try: 60 steps, to see whether it learns; good: a useful model; best: as good as the data allow"


def ask(*, model: str | None, goal: str | None, where: str | None, budget: str | None, hours: float | None) -> Wishes:
    """All that was not said.  click.Abort at Ctrl-C: nothing has been written by then."""
    data = click.prompt("data (a file, a folder, or a data set of the Hub)", default=_guess(), value_proc=_data)
    click.echo(f"  {_GOALS}")
    goal = goal or click.prompt("goal", default="good", type=click.Choice(("try", "good", "best")))
    here = beginning.here()
    wishes = beginning.wishes(data, model=model, goal=goal, where=where, budget=budget, hours=hours)
    assert wishes is not None
    place, why = drafting.where(wishes, here)
    if where is None:
        names = {one.name: name for name, one in beginning.PLACES.items()}
        said = click.prompt(f"where ({why})", default=names[place.name], type=click.Choice(tuple(beginning.PLACES)))
        place = beginning.PLACES[said]
    wishes = wishes._replace(where=place)
    if model is None:
        chosen, _ = drafting.model(wishes, here, place)
        _show_models(chosen)
        wishes = wishes._replace(model=click.prompt("model", default=chosen))
    if place.rents and budget is None:
        said = click.prompt("budget in USD (Enter: by the estimate)", default="", show_default=False)
        wishes = wishes._replace(max_usd=beginning.amount(said) if said else None)
    return wishes


def _guess() -> str | None:
    """The one file of rows in this folder, if there is one."""
    endings = (".jsonl", ".csv", ".json", ".parquet")
    found = [file.name for file in sorted(Path.cwd().iterdir()) if file.suffix in endings and file.is_file()]
    return found[0] if len(found) == 1 else None


def _data(said: str) -> str:
    if not Path(said).exists() and not is_hub(said) and not any(sign in said for sign in "*?["):
        raise click.BadParameter(f"there is no file `{said}`")
    return said


def _show_models(chosen: str) -> None:
    for name in dict.fromkeys((chosen, known_models.TINY, *known_models.LICENCES)):
        click.echo(f"  {name:<40} {known_models.words(name)}")
