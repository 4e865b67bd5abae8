"""Coverage-guided fuzzing of `load` with atheris: any bytes give diagnostics or a recipe, within a second.

    pip install atheris
    python tools/fuzz_recipe.py tests/recipe/corpus -max_total_time=600

What is found is written beside as `crash-…` or `timeout-…`; mended, it goes into the corpus, which an ordinary test
replays.  Without atheris, `--replay FOLDER` runs the corpus once.
"""

import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
SECONDS = 1.0


def try_one(data: bytes) -> None:
    """Everything that `validate` does with a recipe alone: load, order, render, correct; never an exception."""
    from sftrun.recipe.fixes import applied
    from sftrun.recipe.load import load
    from sftrun.report.show import as_json, carets

    started = time.perf_counter()
    loaded = load("-", text=data)
    carets.render(loaded.diagnostics, loaded.source, colour=False)
    as_json.document([("-", loaded.diagnostics, loaded.source)])
    if loaded.recipe is None:
        assert loaded.diagnostics, "neither a recipe nor a word"
    fixes = {found.fix for found in loaded.diagnostics if found.fix is not None}
    if fixes:
        applied(data.decode("utf-8"), fixes)
    took = time.perf_counter() - started
    assert took < SECONDS * _slower(), f"took {took:.1f} s"


def _slower() -> float:
    # coverage makes every line cost more
    return 10.0 if "atheris" in sys.modules else 2.0


def replay(folder: Path) -> int:
    """Run each file of a corpus once; returns how many there are."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    for file in files:
        try_one(file.read_bytes())
    return len(files)


def main() -> None:
    """Fuzz with libFuzzer's own arguments, or replay."""
    if sys.argv[1:2] == ["--replay"]:
        print(f"{replay(Path(sys.argv[2]))} inputs, nothing found")
        return
    import atheris

    with atheris.instrument_imports(include=["sftrun", "ruamel"]):
        pass

    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
