"""Set up and run: the one script behind the README's two commands and CI.  Python 3.11 and pip are all it needs.

    python3 tools/dev.py quickstart     set up .venv, then run the main job on the embedded model
    python3 tools/dev.py check          set up .venv, then all that CI runs
    python3 tools/dev.py quick          as `check`, with the tests alone that take less than a second
    python3 tools/dev.py lint | test    parts of `check`
    python3 tools/dev.py fuzz           harm recipes, data, models and ledgers 2,000 times each, with a new seed
    python3 tools/dev.py audit          known faults, licences and a list of what the locks pin (build/sbom.json)
    python3 tools/dev.py setup          only set up
    python3 tools/dev.py docs           build the docs site into build/site, in an environment of its own

The environments are made from the lock files and made anew when they change.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
NODE = ROOT / "requirements" / "node"
DOCS_VENV = ROOT / ".venv-docs"
BIN = "Scripts" if sys.platform == "win32" else "bin"
LOCKS = ("sftrun/facts/locks/base.txt", "sftrun/facts/locks/trl.txt", "requirements/dev.txt")
DOCS_LOCKS = ("requirements/docs.txt",)
LINT = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("lint-imports",),
)
# one worker a core; each may have a process of half a gigabyte beside it
TEST = ("pytest", "-n", str(max(2, min(os.cpu_count() or 2, 8))), "--dist", "worksteal")
TASKS: dict[str, tuple[tuple[str, ...], ...]] = {
    "setup": (),
    "quickstart": (("sftrun", "apply", "recipes/quickstart.yaml"),),
    "lint": LINT,
    "test": (TEST,),
    "quick": (*LINT, (*TEST, "-q", "-m", "not slow")),
    "check": (*LINT, TEST),
    "fuzz": (("python", "-m", "tools.fuzz", "all", "--count", "2000", "--seed", str(int(time.time()))),),
    "audit": (("python", "tools/audit.py"),),
}


def set_up() -> None:
    """Make `.venv`, with this package in it."""
    words = "setting up .venv from the lock files: about two minutes, most of it torch"
    make_environment(VENV, LOCKS, words, "--no-deps", "--editable", ".")


def set_up_node() -> None:
    """Where npm is, the language server that the tests of the schema ask; they are skipped without it."""
    npm, stamp = shutil.which("npm"), NODE / "node_modules" / ".package-lock.json"
    lock = NODE / "package-lock.json"
    if npm is None or (stamp.exists() and stamp.stat().st_mtime >= lock.stat().st_mtime):
        return
    print("setting up requirements/node from its lock file: a few seconds", flush=True)
    command = (npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    if subprocess.run(command, cwd=NODE, check=False).returncode:
        print("that failed: the tests of the schema in an editor are skipped", flush=True)


def build_docs() -> None:
    """Make `.venv-docs` and build the site from what is committed; a broken link is an error."""
    make_environment(DOCS_VENV, DOCS_LOCKS, "setting up .venv-docs from requirements/docs.txt")
    options = ("--quiet", "--fail-on-warning", "--keep-going", "--conf-dir", "docs")
    run(str(DOCS_VENV / BIN / "sphinx-build"), *options, ".", "build/site")
    print(f"built {ROOT / 'build' / 'site' / 'index.html'}")


def make_environment(folder: Path, locks: tuple[str, ...], print_if_new: str, *package: str) -> None:
    """Make an environment from its locks, then install `package`, unless it stands already for these very locks."""
    stamp = folder / "sftrun-locks.sha256"
    said = (*locks, *(("pyproject.toml",) if package else ()))
    wanted = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in said)).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(print_if_new, flush=True)
    venv.create(folder, with_pip=True)
    pip = (str(folder / BIN / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, *(part for name in locks for part in ("-r", name)))
    if package:
        run(*pip, *package)
    stamp.write_text(wanted)


def run_together(tools: tuple[tuple[str, ...], ...]) -> None:
    """Run tools of `.venv` beside each other: the last has the terminal, the others speak if they fail."""
    *beside, last = ((str(VENV / BIN / tool), *rest) for tool, *rest in tools)
    with ThreadPoolExecutor() as pool:
        others = [pool.submit(subprocess.run, each, cwd=ROOT, capture_output=True, text=True) for each in beside]
        codes = [subprocess.run(last, cwd=ROOT, check=False).returncode]
    for done in (other.result() for other in others):
        codes.append(done.returncode)
        if done.returncode:
            print(f"\n{Path(done.args[0]).name} {' '.join(done.args[1:])}\n{done.stdout}{done.stderr}", end="")
    if failed := next(filter(None, codes), 0):
        sys.exit(failed)


def run(*command: str) -> None:
    """Run in the repository's root; end with its exit status if it fails."""
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if code:
        sys.exit(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=(*TASKS, "docs"))
    task = parser.parse_args().task
    if sys.version_info < (3, 11):  # noqa: UP036 - this runs before anything checked the version
        sys.exit("sftrun needs Python 3.11 or newer")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the tests start hundreds of processes, and each would compile
    if task == "docs":
        build_docs()
        return
    set_up()
    if TEST[0] in {tool[0] for tool in TASKS[task]}:
        set_up_node()
    if TASKS[task]:
        run_together(TASKS[task])


if __name__ == "__main__":
    main()
