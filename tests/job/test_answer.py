"""Base and tuned model answer side by side, from an adapter's folder."""

import json
import sys
from pathlib import Path

import pytest

from sftrun.contract.choices import Attention
from sftrun.job.supervise import process
from tests.job import tiny
from tests.job.runs import Run
from tests.warm import start


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["sdpa", "varlen"])
def test_an_adapter_s_run_answers_with_and_without_it(attention: Attention, tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.make_rows(20))
    step = {"attention": attention, "layout": "padding_free" if attention == "varlen" else "padded"}
    trainer = {"max_steps": 40, "per_device_train_batch_size": 4}
    spec = tiny.make_job(tmp_path, Path("builtin:tiny"), data, trainer=trainer, step=step)
    assert Run(spec, tmp_path).rest()[0] == 0
    assert not (Path(spec.output_dir) / "config.json").exists()  # an adapter's folder is no model's
    request = tmp_path / "request.json"
    asked = {"job": spec.model_dump(mode="json"), "prompts": ["Add 1 and 3."], "max_new_tokens": 4}
    request.write_text(json.dumps(asked))
    command = [sys.executable, "-m", "sftrun.job.train.answer", str(request)]
    done = start.run(command, env=process.base_environment(spec))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["prompt"] == "Add 1 and 3."
    assert answer["base"]
    assert answer["base"] != answer["tuned"]
