"""pydantic's errors -> our diagnostics, one for each place.

pydantic's `loc` holds tags of unions that name no node of the file, so it is followed along the tree and ends where
the tree ends; several errors of one union are one problem; and the words come from the field's own type, not from
pydantic's.
"""

from pydantic import ValidationError

from sftrun.diagnostics import Diagnostic, Path
from sftrun.recipe.source import Source


def translate(error: ValidationError, source: Source, broken: set[Path]) -> list[Diagnostic]:
    """Our words for each error, none for what a broken value below or above already explains."""
    found: dict[Path, Diagnostic] = {}
    for one in error.errors(include_url=False, include_context=False):
        path: Path = ()
        for key in one["loc"]:
            if source.find((*path, key)) is None:
                break
            path = (*path, key)
        kind = one["type"]
        if kind == "missing":
            at = (*path, one["loc"][-1])
            found[at] = Diagnostic("R105", f"`{'.'.join(map(str, at))}` is missing", at=at, on_key=True)
        elif kind == "extra_forbidden":
            found[path] = Diagnostic("R103", f"unknown key `{path[-1]}`", at=path, on_key=True)
        else:
            found.setdefault(path, Diagnostic("R106", f"`{'.'.join(map(str, path))}`: {one['msg'].lower()}", at=path))
    return [one for at, one in found.items() if not any(at[: len(bad)] == bad for bad in broken)]
