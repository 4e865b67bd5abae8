"""Mounts, and the paths that have to lie below them."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import PurePosixPath

from sftrun.diagnostics import Diagnostic, Path
from sftrun.recipe import known
from sftrun.recipe.models import Recipe

OUTPUTS = "outputs"
OF_PEOPLE = ("/home", "/Users", "/mnt")  # where files of this machine lie


def mounts(recipe: Recipe) -> Iterator[Diagnostic]:
    for mount, volume in recipe.volumes.items():
        at = ("volumes", mount)
        if not _is_plain(mount):
            help = f"write `{_plain(mount)}`"
            yield Diagnostic("V108", f"`{mount}` is no plain absolute path", at=at, on_key=True, help=help)
        elif _is_taken(mount):
            message = f"`{mount}` belongs to the container's own system"
            yield Diagnostic(
                "V104", message, at=at, on_key=True, help="mount it at a folder of its own, such as `/data`"
            )
        if not known.OBJECT_NAME.fullmatch(volume):
            message = f"`{volume[:70]}` is no name of a Modal Volume"
            yield Diagnostic(
                "V109", message, at=at, help="use letters, digits, dots, dashes and underscores, at most 63"
            )


def collisions(recipe: Recipe) -> Iterator[Diagnostic]:
    for (one, first), (other, second) in combinations(recipe.volumes.items(), 2):
        if is_below(one, other) or is_below(other, one):
            inner, outer = (one, other) if is_below(one, other) else (other, one)
            yield Diagnostic(
                "V103",
                f"the mount `{inner}` lies inside of `{outer}`",
                at=("volumes", inner),
                on_key=True,
                also=((("volumes", outer), "the outer one here"),),
                help="mount the two side by side",
            )
        elif first == second:
            yield Diagnostic(
                "V107",
                f"the Volume `{first}` is mounted twice",
                at=("volumes", other),
                also=((("volumes", one), "first here"),),
                help="mount it once",
            )


def output(recipe: Recipe) -> Iterator[Diagnostic]:
    path, at = recipe.output.dir, ("output", "dir")
    if path.rstrip("/") in {mount.rstrip("/") for mount in recipe.volumes}:
        help = f"write `{path.rstrip('/')}/{recipe.name}`"
        yield Diagnostic("V110", f"`{path}` is the mount itself", at=at, help=help)
    elif not recipe.place.is_here:
        yield from _on_a_volume("V101", path, at, recipe) if path.startswith("/") else (_relative(path, recipe),)


def _relative(path: str, recipe: Recipe) -> Diagnostic:
    message, at = f"the output `{path}` is relative", ("output", "dir")
    mount = next(iter(recipe.volumes), f"/{OUTPUTS}")
    help = f"write `{mount.rstrip('/')}/{inside(path) or recipe.name}`"
    return Diagnostic("V105", message, at=at, help=help if recipe.volumes else f"{help}, and {_volumes(mount)}")


def data(recipe: Recipe) -> Iterator[Diagnostic]:
    for place, source in recipe.dataset.sources.items():
        path, at = source.path, (*place, "path")
        if path is not None and path.startswith("/") and not recipe.place.is_here:
            yield from _on_a_volume("V102", path, at, recipe)


def _on_a_volume(code: str, path: str, at: Path, recipe: Recipe) -> Iterator[Diagnostic]:
    if ".." in PurePosixPath(path).parts:
        yield Diagnostic("V111", f"`{path}` leaves its folder by `..`", at=at, help="write the path without `..`")
    elif not any(is_below(path, mount) for mount in recipe.volumes):
        also = ((("volumes",), "the mounts here"),) if recipe.volumes else ()
        message = f"`{path}` lies below no mount of `volumes`"
        yield Diagnostic(code, message, at=at, also=also, help=_below_which(path, recipe))


def _below_which(path: str, recipe: Recipe) -> str:
    if recipe.volumes:
        return f"the mounts are {', '.join(f'`{mount}`' for mount in recipe.volumes)}"
    mount = f"/{PurePosixPath(path).parts[1] if path != '/' else OUTPUTS}"
    if _is_taken(mount) or mount in OF_PEOPLE:
        return "write the path relative to the recipe, and the file goes up with the run"
    return _volumes(mount)


def _volumes(mount: str) -> str:
    return f"add `volumes: {{{mount}: my-volume}}`"


def is_below(path: str, mount: str) -> bool:
    """Whether a path is a mount, or lies inside of it."""
    return PurePosixPath(path).is_relative_to(PurePosixPath(mount))


def _is_plain(mount: str) -> bool:
    parts = mount.split("/")[1:]
    return mount == "/" or (mount.startswith("/") and all(part not in ("", ".", "..") for part in parts))


def _plain(mount: str) -> str:
    return "/" + "/".join(part for part in mount.split("/") if part not in ("", ".", ".."))


def inside(path: str) -> str:
    return "/".join(part for part in PurePosixPath(path).parts if part not in (".", ".."))


def _is_taken(mount: str) -> bool:
    return mount in known.FORBIDDEN_MOUNTS or any(is_below(mount, system) for system in known.SYSTEM_FOLDERS)


PATHS = (mounts, collisions, output, data)
