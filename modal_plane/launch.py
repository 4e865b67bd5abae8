"""Becomes a container: lays its own view of the file system, then turns into the container's Python.

Runs alone, as a script with nothing but the standard library, in a mount namespace of its own where there is one.
The new root is a tmpfs in which everything of the host is bound, except along the paths where a Volume or a
source file has to appear; there the tree is made anew, so that `/data/checkpoints` needs no folder on the host.
"""

import ctypes
import json
import os
import signal
import sys

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC = 1, 32, 4096, 16384
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a plane that dies leaves no containers behind
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a plane in the background ignores it, and so would its children
    if plan["root"]:
        enter(plan["root"], plan["binds"])
    os.chdir(plan["cwd"])
    os.execve(plan["argv"][0], plan["argv"], plan["env"])


def enter(root: str, binds: list[list[str]]) -> None:
    """Chroot into `root`, a copy of the host by binds, with each (source, target, mode) of `binds` on top."""
    mount("tmpfs", root, "tmpfs", 0)
    targets = {target for _, target, _ in binds}
    parents = {os.path.dirname(target) for target in targets}
    while missing := {os.path.dirname(each) for each in parents} - parents:
        parents |= missing
    graft("/", root, parents, targets)
    for source, target, mode in sorted(binds, key=lambda each: each[1]):
        bind(source, root + target)
        if mode == "ro":
            mount(source, root + target, "", MS_BIND | MS_REMOUNT | MS_RDONLY)
    os.chroot(root)


def graft(folder: str, root: str, parents: set[str], targets: set[str]) -> None:
    """Fill `root + folder` with the host's entries; parents of targets become folders of our own."""
    for parent in sorted(each for each in parents if os.path.dirname(each) == folder and each != folder):
        os.makedirs(root + parent, exist_ok=True)
        graft(parent, root, parents, targets)
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if path in parents or path in targets:
            continue
        if os.path.islink(path):
            os.symlink(os.readlink(path), root + path)
        else:
            bind(path, root + path)


def bind(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "a"):
            pass
    mount(source, target, "", MS_BIND | MS_REC)


def mount(source: str, target: str, kind: str, flags: int) -> None:
    if _libc.mount(source.encode(), target.encode(), kind.encode(), flags, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {source} on {target}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
