"""Write the tested versions of this environment into the lock files.

One lock a purpose, each the whole closure of its roots, so that `pip install -r` brings exactly what was tested:
`base` (the command line), `trl` (what the trl engine's image and a local run need), `dev` (what the checks need).
Packages that only a GPU build of torch asks for are pinned by torch itself.

    python tools/lock.py            write the locks
    python tools/lock.py --check    exit 1 where an installed version differs from its lock
"""

import argparse
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS: dict[str, tuple[Path, tuple[str, ...]]] = {
    "base": (
        ROOT / "sftrun/facts/locks/base.txt",
        ("click", "jinja2", "modal", "pydantic", "rich", "ruamel.yaml", "tokenizers"),
    ),
    "trl": (
        ROOT / "sftrun/facts/locks/trl.txt",
        ("accelerate", "bitsandbytes", "datasets", "peft", "pydantic", "torch", "transformers", "trl"),
    ),
    "dev": (
        ROOT / "requirements/dev.txt",
        (
            "hatchling",
            "hypothesis",
            "import-linter",
            "jsonschema",
            "mypy",
            "psutil",
            "pytest",
            "pytest-xdist",
            "pytest-timeout",
            "python-hcl2",
            "ruff",
            "types-protobuf",
            "types-psutil",
        ),
    ),
}


def closure(roots: tuple[str, ...]) -> dict[str, str]:
    """Name -> version of the roots and of all that they need here, extras left out."""
    found: dict[str, str] = {}
    waiting = list(roots)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found[name] = metadata.version(name).split("+")[0]
        for line in metadata.requires(name) or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def texts() -> dict[Path, str]:
    """What each lock file should say."""
    taken: dict[str, str] = {}
    written = {}
    for name, (path, roots) in LOCKS.items():
        packages = closure(roots)
        if name == "dev":
            packages = {key: value for key, value in packages.items() if key not in taken}
        taken |= packages
        lines = [f"{key}=={value}" for key, value in sorted(packages.items())]
        written[path] = "\n".join([f"# {name}: made by tools/lock.py", *lines, ""])
    return written


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 on a difference")
    check = parser.parse_args().check
    stale = [path for path, text in texts().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{'differs' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts()[path])
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
