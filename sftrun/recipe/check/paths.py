"""Mounts, and the paths that have to lie below them."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import PurePosixPath

from sftrun.diagnostics import Diagnostic, Path
from sftrun.recipe import known
from sftrun.recipe.models import Recipe


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
    if not path.startswith("/"):
        mount = next(iter(recipe.volumes), "/data")
        help = f"write `{mount.rstrip('/')}/{_inside(path)}`"
        help += "" if recipe.volumes else ", below a mount of `volumes`"
        yield Diagnostic("V105", f"the output `{path}` is relative", at=at, help=help)
    elif ".." in PurePosixPath(path).parts:
        yield Diagnostic("V111", f"`{path}` leaves its folder by `..`", at=at, help="write the path without `..`")
    elif path.rstrip("/") in {mount.rstrip("/") for mount in recipe.volumes}:
        help = f"write `{path.rstrip('/')}/{recipe.name}`"
        yield Diagnostic("V110", f"`{path}` is the mount itself", at=at, help=help)
    else:
        yield from _below_a_mount("V101", path, at, recipe)


def data(recipe: Recipe) -> Iterator[Diagnostic]:
    for key in ("train", "eval"):
        source, at = getattr(recipe.dataset, key), ("dataset", key, "path")
        path = source.path if source is not None else None
        if path is None or not path.startswith("/"):
            continue
        if ".." in PurePosixPath(path).parts:
            yield Diagnostic("V111", f"`{path}` leaves its folder by `..`", at=at, help="write the path without `..`")
        else:
            yield from _below_a_mount("V102", path, at, recipe)


def _below_a_mount(code: str, path: str, at: Path, recipe: Recipe) -> Iterator[Diagnostic]:
    if any(is_below(path, mount) for mount in recipe.volumes):
        return
    if not recipe.volumes:
        help = f"add `volumes: {{/{PurePosixPath(path).parts[1] if path != '/' else 'data'}: my-volume}}`"
    else:
        help = f"the mounts are {', '.join(f'`{mount}`' for mount in recipe.volumes)}"
    also = ((("volumes",), "the mounts here"),) if recipe.volumes else ()
    yield Diagnostic(code, f"`{path}` lies below no mount of `volumes`", at=at, also=also, help=help)


def is_below(path: str, mount: str) -> bool:
    """Whether a path is a mount, or lies inside of it."""
    return PurePosixPath(path).is_relative_to(PurePosixPath(mount))


def _is_plain(mount: str) -> bool:
    parts = mount.split("/")[1:]
    return mount == "/" or (mount.startswith("/") and all(part not in ("", ".", "..") for part in parts))


def _plain(mount: str) -> str:
    return "/" + "/".join(part for part in mount.split("/") if part not in ("", ".", ".."))


def _inside(path: str) -> str:
    return "/".join(part for part in PurePosixPath(path).parts if part not in (".", ".."))


def _is_taken(mount: str) -> bool:
    return mount in known.FORBIDDEN_MOUNTS or any(is_below(mount, system) for system in known.SYSTEM_FOLDERS)


PATHS = (mounts, collisions, output, data)
