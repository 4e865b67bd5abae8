"""The main job on the embedded default, as the README has it: it learns, is found again, answers, can be pulled."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import patience

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
PROMPT = "Rename the Terraform bucket invoices to archive and keep its data."
ANSWER = "moved {\n  from = aws_s3_bucket.invoices\n  to   = aws_s3_bucket.archive\n}"


def sftrun(home: Path, *words: str) -> str:
    """What a command that ends well prints."""
    done = subprocess.run(
        [sys.executable, "-m", "sftrun.cli.main", *words],
        cwd=ROOT,
        env={**os.environ, "SFTRUN_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=patience.SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_quickstart_learns_what_the_base_does_not_know(tmp_path: Path) -> None:
    home = tmp_path / "ledger"
    seen = [
        json.loads(line) for line in sftrun(home, "apply", "recipes/quickstart.yaml", "--format", "json").splitlines()
    ]
    assert not [event for event in seen if event["kind"] == "disobeyed"]
    evals = [event["loss"] for event in seen if event["kind"] == "eval"]
    assert evals[-1] < 0.1 * evals[0]
    samples = {(event["when"], event["prompt"]): event["text"] for event in seen if event["kind"] == "sample"}
    assert samples["before", PROMPT].strip() != ANSWER
    assert samples["after", PROMPT].strip() == ANSWER
    model = next(event for event in seen if event["kind"] == "model_ready")
    assert model["trainable_parameters"] == 217_088

    verdict = json.loads(sftrun(home, "evaluate", "quickstart", "--format", "json"))["verdict"]
    exact = next(result for result in verdict["results"] if result["metric"] == "exact_match")
    assert (exact["rows"], exact["base"], exact["outcome"]) == (80, 0.0, "better")
    assert exact["tuned"] > 0.8
    assert len([event for event in seen if event["kind"] == "answer"]) == 160  # and nothing was asked again

    assert "nothing to do" in sftrun(home, "apply", "recipes/quickstart.yaml")
    assert "finished" in sftrun(home, "runs")
    answered = sftrun(
        home, "generate", "quickstart", "Let Docker check /ready on port 9090 each 30 seconds.", "--format", "json"
    )
    assert "HEALTHCHECK" in json.loads(answered.splitlines()[0])["tuned"]
    sftrun(home, "pull", "quickstart", str(tmp_path / "adapter"))
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()
    assert (tmp_path / "adapter" / "tokenizer.json").exists()
    assert (tmp_path / "adapter" / "report.json").exists()
