"""Set up and run: the one script behind the README's two commands and CI.  Python 3.11 and pip are all it needs.

    python3 tools/dev.py quickstart     set up .venv, then run the main job on the embedded model
    python3 tools/dev.py check          set up .venv, then all that CI runs
    python3 tools/dev.py lint | test    parts of `check`
    python3 tools/dev.py setup          only set up

The environment is made from the lock files and made anew when they change.
"""

import argparse
import hashlib
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if sys.platform == "win32" else "bin")
LOCKS = ("sftrun/facts/locks/base.txt", "sftrun/facts/locks/trl.txt", "requirements/dev.txt")
LINT = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("lint-imports",),
)
TASKS: dict[str, tuple[tuple[str, ...], ...]] = {
    "setup": (),
    "quickstart": (("sftrun", "apply", "recipes/quickstart.yaml"),),
    "lint": LINT,
    "test": (("pytest", "-n", "2"),),
    "check": (*LINT, ("pytest", "-n", "2")),
}


def set_up() -> None:
    """Make `.venv` from the locks, unless it stands already for these very locks."""
    stamp = VENV / "sftrun-locks.sha256"
    wanted = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in (*LOCKS, "pyproject.toml"))).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print("setting up .venv from the lock files: about two minutes, most of it torch", flush=True)
    venv.create(VENV, with_pip=True)
    pip = (str(BIN / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, *(part for name in LOCKS for part in ("-r", name)))
    run(*pip, "--no-deps", "--editable", ".")
    stamp.write_text(wanted)


def run(*command: str) -> None:
    """Run in the repository's root; end with its exit status if it fails."""
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if code:
        sys.exit(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    task = parser.parse_args().task
    if sys.version_info < (3, 11):  # noqa: UP036 - this runs before anything checked the version
        sys.exit("sftrun needs Python 3.11 or newer")
    set_up()
    for tool, *rest in TASKS[task]:
        run(str(BIN / tool), *rest)


if __name__ == "__main__":
    main()
