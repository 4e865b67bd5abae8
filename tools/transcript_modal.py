"""Write docs/transcript-modal.md: a run on Modal that is left, preempted, watched again and pulled, as it printed.

    python tools/transcript_modal.py

Modal is the control plane of modal_plane on loopback, the client and the container's entry point are Modal's own,
and the job inside is the real one, so every line below but the build's is what an account would show.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modal_plane import Plane  # noqa: E402

TARGET = ROOT / "docs" / "transcript-modal.md"
PATIENCE_SECONDS = 600.0
ON_MODAL = "recipes/quickstart.yaml --set compute.executor=modal"
Act = Callable[[Plane, "subprocess.Popen[str]"], None]


@dataclass(frozen=True)
class Scene:
    """One command with a sentence before it; `meanwhile` happens while it runs."""

    words: str
    command: str
    meanwhile: Act | None = None


def press_ctrl_c(plane: Plane, running: "subprocess.Popen[str]") -> None:
    _wait_for(plane, running, '"kind":"checkpoint"')
    os.killpg(running.pid, signal.SIGINT)


def preempt(plane: Plane, running: "subprocess.Popen[str]") -> None:
    plane.wait_until(plane.preempt, PATIENCE_SECONDS)


SCENES = (
    Scene("Start it on Modal. After the first checkpoint Ctrl-C is pressed.", f"sftrun apply {ON_MODAL}", press_ctrl_c),
    Scene("How does it stand? `--refresh` asks Modal.", "sftrun runs --refresh"),
    Scene(
        "Watch it again, from any terminal. Meanwhile Modal takes the machine away: the supervisor saves, and the run "
        "goes on in another container from its checkpoint.",
        "sftrun attach quickstart",
        preempt,
    ),
    Scene("Apply again: there is nothing to do.", f"sftrun apply {ON_MODAL}"),
    Scene("Take the adapter along.", "sftrun pull quickstart adapter && ls adapter"),
)


def play(scene: Scene, folder: Path, plane: Plane) -> str:
    """Run one scene; what it printed."""
    own = {"NO_COLOR": "1", "COLUMNS": "100", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    running = subprocess.Popen(
        scene.command if "&&" in scene.command else f"exec {scene.command}",  # so that Ctrl-C meets no shell
        shell=True,
        cwd=folder,
        env={**os.environ, **plane.client_env(), **own},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    if scene.meanwhile is not None:
        scene.meanwhile(plane, running)
    printed, _ = running.communicate(timeout=PATIENCE_SECONDS)
    code = f"(exit status {running.returncode})\n" if running.returncode else ""
    return printed.replace(str(folder.resolve()), "~/project").rstrip() + "\n" + code


def main() -> None:
    parts = [
        "# A run on Modal\n",
        "Made by `python tools/transcript_modal.py`, which runs each command against the control plane of "
        "[modal_plane](../modal_plane/README.md); every line below was printed by the program.  There an "
        "image is never built and a container is a process of one machine, so the times of both are not Modal's; nor "
        "is that of a step, of a model this small, on a CPU.\n",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "project"
        folder.mkdir()
        (folder / "recipes").symlink_to(ROOT / "recipes")
        quiet = {"OMP_NUM_THREADS": "1"}  # two processes share this machine's cores
        with Plane(Path(name) / "plane", preemption_grace_seconds=30.0, container_env=quiet) as plane:
            for scene in SCENES:
                print(f"$ {scene.command}", flush=True)
                parts.append(f"{scene.words}\n\n```console\n$ {scene.command}\n{play(scene, folder, plane)}```\n")
    TARGET.write_text("\n".join(parts))


def _wait_for(plane: Plane, running: "subprocess.Popen[str]", text: str) -> None:
    def is_there() -> bool:
        assert running.poll() is None, "it ended before that"
        files = plane.folder.glob("volumes/*/.sftrun/runs/*/events.jsonl")
        return any(text in file.read_text() for file in files)

    plane.wait_until(is_there, PATIENCE_SECONDS)


if __name__ == "__main__":
    main()
