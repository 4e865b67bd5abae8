"""From a wheel in an empty folder with a CSV of questions and answers to a tuned model: three commands, no edit."""

import csv
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import patience

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as pip would lay it out."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "sftrun", "recipes"],
        **{"cwd": ROOT, "capture_output": True, "text": True, "check": True},
    ).stdout
    for name in (*listed.split(), "pyproject.toml", "README.md", "LICENSE"):
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "source" / name)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=folder / "source", capture_output=True, check=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def said(installed: Path, folder: Path, *words: str) -> str:
    """What a command that ends well prints, in an environment that knows nothing of the checkout."""
    hidden = ("SFTRUN_HOME", "PYTHONPATH", "MODAL_TOKEN_ID")
    env = {key: value for key, value in os.environ.items() if key not in hidden}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sftrun", *words],
        cwd=folder,
        env={**env, "PYTHONPATH": str(installed), "MODAL_CONFIG_PATH": str(folder / "none.toml")},
        capture_output=True,
        text=True,
        timeout=patience.SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_csv_becomes_a_tuned_model_in_three_commands(installed: Path, tmp_path: Path) -> None:
    with (tmp_path / "faq.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("instruction", "output"))
        rows.writerows((f"Which shelf has article {n}?", f"Article {n} is on shelf {n % 7}.") for n in range(120))

    assert "next: sftrun apply recipe.yaml" in said(installed, tmp_path, "init", "faq.csv", "--model", "builtin:tiny")
    assert "finished" in said(installed, tmp_path, "apply", "recipe.yaml")
    assert "is on shelf" in said(installed, tmp_path, "generate", "faq", "Which shelf has article 12?")
    assert (tmp_path / "out/faq/adapter_model.safetensors").exists()


def test_the_quickstart_comes_out_of_the_wheel_with_its_data(installed: Path, tmp_path: Path) -> None:
    assert "quickstart" in said(installed, tmp_path, "init", "--list")
    said(installed, tmp_path, "init", "--from", "quickstart")
    assert said(installed, tmp_path, "validate", "quickstart.yaml").endswith("ok\n")
