"""From `sftrun apply` to the first event of the job, beside a bare script with the same function on the same Modal.

    python benchmarks/modal_start.py [--times 5]

Image and data are there already.  The bare script is what one writes by hand: an App, an image, one spawn, a look at
the board ten times a second; both run as fresh processes against modal_plane.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from modal_plane import Plane  # noqa: E402
from tests.run.modal_desk import RECIPE, ROWS, TOKEN  # noqa: E402

BARE = """
import json, sys, time
import modal
from sftrun.run.modal.container import functions
from sftrun.run.modal.image import image
from sftrun.recipe.models import Image
order = json.load(open(sys.argv[1]))
app = modal.App("bare", include_source=False)
volumes = {"/out": modal.Volume.from_name("outputs"), "/sftrun": modal.Volume.from_name("sftrun-cache")}
function = app.function(name="execute", image=image("trl", Image(env={"OMP_NUM_THREADS": "1"}), gpu=False),
    volumes=volumes, secrets=[modal.Secret.from_name("huggingface")], single_use_containers=True)(functions.execute)
with app.run(detach=True):
    call = function.spawn(json.dumps(order))
board = modal.Dict.from_name("sftrun-board", create_if_missing=True)
while not board.get(order["job"]["run_id"] + "/0"):
    time.sleep(0.1)
print("first", flush=True)
call.cancel(terminate_containers=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="start-") as name, Plane(Path(name) / "plane") as plane:
        folder = Path(name)
        plane.add_secret("huggingface", {"HF_TOKEN": TOKEN})
        (folder / "recipe.yaml").write_text(RECIPE)
        (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        ours = [_ours(folder, plane, number) for number in range(asked.times + 1)][1:]  # the first one builds
        bare = [_bare(folder, plane, number) for number in range(asked.times)]
    print(f"sftrun apply  {min(ours):.2f} s (of {_shown(ours)})")
    print(f"bare script   {min(bare):.2f} s (of {_shown(bare)})")
    print(f"ratio         {min(ours) / min(bare):.2f}")


def _ours(folder: Path, plane: Plane, number: int) -> float:
    words = ("apply", "recipe.yaml", "--format", "json", "--set", f"output.dir=/out/a{number}", "--force")
    seconds = _first_line([sys.executable, "-m", "sftrun.cli.main", *words], folder, plane)
    run = next(json.loads(line)["id"] for line in [_newest(folder, "run.json").read_text()])
    cancel = [sys.executable, "-m", "sftrun.cli.main", "cancel", run, "--now"]
    subprocess.run(cancel, cwd=folder, env=_environment(folder, plane), check=True, capture_output=True)
    return seconds


def _bare(folder: Path, plane: Plane, number: int) -> float:
    job = json.loads(_newest(folder, "job.json").read_text())
    job |= {"run_id": f"bare{number}", "record_dir": f"/out/bare{number}"}
    order = {"job": job, "board": "sftrun-board", "volume": "outputs", "cache": "sftrun-cache"}
    (folder / "order.json").write_text(json.dumps(order))
    (folder / "bare.py").write_text(BARE)
    return _first_line([sys.executable, "bare.py", "order.json"], folder, plane)


def _first_line(command: list[str], folder: Path, plane: Plane) -> float:
    """Seconds until a fresh process prints its first line."""
    began = time.monotonic()
    with (folder / "said").open("a") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment(folder, plane), stdout=subprocess.PIPE, stderr=said
        )
    assert process.stdout is not None
    assert process.stdout.readline(), (folder / "said").read_text()
    seconds = time.monotonic() - began
    if "cli.main" in " ".join(command):
        process.kill()
    process.communicate()
    return seconds


def _newest(folder: Path, name: str) -> Path:
    return max((folder / "ledger/runs").glob(f"*/{name}"), key=lambda path: path.stat().st_mtime)


def _environment(folder: Path, plane: Plane) -> dict[str, str]:
    return {**os.environ, **plane.client_env(), "SFTRUN_HOME": str(folder / "ledger"), "PYTHONPATH": str(ROOT)}


def _shown(seconds: list[float]) -> str:
    return ", ".join(f"{each:.2f}" for each in seconds)


if __name__ == "__main__":
    main()
