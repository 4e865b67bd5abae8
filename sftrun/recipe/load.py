"""Recipe text -> Recipe: one path for every command that reads a recipe.

Reading (files, `extends`, `--set`) gives one tree with places; the tree becomes plain values; pydantic judges each
field, `problems` puts its errors into our words, and `checks` judges what belongs together.  Nothing here raises for
a wrong recipe: whatever is wrong is in `Loaded.diagnostics`.
"""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from sftrun.diagnostics import Diagnostic
from sftrun.recipe.check import leaks
from sftrun.recipe.check.by_recipe import check
from sftrun.recipe.models import Recipe
from sftrun.recipe.read import reading
from sftrun.recipe.read.nodes import Source


class Loaded(NamedTuple):
    """A recipe as far as it could be read.

    `recipe` is None where an error stands in the way.  `folders` names, for each relative value that is written
    (`model.name_or_path`, `dataset.train.path`, `dataset.eval.path`), the absolute folder that it is relative to.
    """

    file: str
    recipe: Recipe | None
    diagnostics: tuple[Diagnostic, ...]
    source: Source
    folders: dict[str, str]

    @property
    def ok(self) -> bool:
        """Whether no error was found; warnings are allowed."""
        return not any(found.severity == "error" for found in self.diagnostics)


def load(file: str | Path, overrides: tuple[str, ...] = (), *, text: str | bytes | None = None) -> Loaded:
    """Read, merge and judge a recipe.  `text` stands for the file's content (an editor's buffer, stdin).

    `overrides` are `a.b=yaml` as given to `--set`.  Never raises for what a file holds or lacks.
    """
    read = reading.read(str(file), overrides, text)
    found = _completed(read)
    found += leaks.find_all(read.source)
    recipe: Recipe | None = None
    if read.source.root is not None and not read.stop:
        recipe, wrong = _judge(read)
        found += wrong
    if any(one.severity == "error" for one in found):
        recipe = None
    return Loaded(str(file), recipe, in_order(found, read.source), read.source, read.folders)


def _completed(read: reading.Read) -> list[Diagnostic]:
    if not read.diagnostics:
        return []
    # words are looked for only when there is something to say: a right recipe starts fast
    from sftrun.recipe.words import problems

    return [problems.complete(one, read.source) for one in read.diagnostics]


def _judge(read: reading.Read) -> tuple[Recipe | None, list[Diagnostic]]:
    """The recipe and everything that is wrong with it; with wrong values taken out, the rest is judged all the same."""
    assert read.source.root is not None
    values = reading.values_of(read.source.root)
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        from sftrun.recipe.read import holes as gaps
        from sftrun.recipe.words import problems

        found = problems.translate(error, read.source, read.broken)
        rest, holes = gaps.without(values, error, read.source)
        with suppress(ValidationError):  # what is left may make no recipe; the first errors say enough
            found += check(Recipe.model_validate(rest), (*holes, *read.broken))
        return None, found
    return recipe, list(check(recipe, read.broken))


def in_order(found: list[Diagnostic], source: Source) -> tuple[Diagnostic, ...]:
    """The diagnostics in the order of the file, each once; those of other files behind."""
    places = [(source.place(one), one) for one in found]
    places.sort(key=lambda place: (place[0].file != source.file, place[0].file, place[0].line, place[0].column))
    return tuple(dict.fromkeys(one for _, one in places))
