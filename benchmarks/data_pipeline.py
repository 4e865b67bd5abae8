"""How fast data get ready to be trained on: tokenised on one core and on all, packed, found again, and loaded.

python -m benchmarks.data_pipeline                # 192,733 rows of the census form and a BPE of 32,000: some minutes
python -m benchmarks.data_pipeline --rows 20000 --tokenizer FOLDER

Each line is a process of its own, with the imports that a worker has already left out of its seconds.  CPU seconds are
of all its processes; so is memory, pages that they share counted once and mapped files not at all.  "Alone" is what the
one that starts the others has used: the part that more cores do not shorten.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.data_checks import trained_tokenizer
from sftrun.contract.jobspec import DatasetSpec, DataSource, JobSpec, ModelSpec, TrainerSpec
from sftrun.step.given import Machine, Model, Settings
from sftrun.step.rules import step_plan
from tools import make_data

LENGTH, BATCH, LOADERS, SOURCES = 2048, 16, 2, 3
LOADED_BATCHES = 200


def main() -> None:
    """Make rows and a tokenizer, then a table."""
    options = _options()
    if options.cell:
        return _measure(options.cell, JobSpec.read(options.job.read_bytes()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = folder / "train.jsonl"
        make_data.main(["census", "--rows", str(options.rows), "--held-out", "0", "--out", str(rows)])
        loading = options.tokenizer or trained_tokenizer(folder / "model", rows)
        load = os.getloadavg()[0]
        print(f"{options.rows:,} rows, {rows.stat().st_size / 1e6:.0f} MB, {os.cpu_count()} cores, load {load:.1f}\n")
        print("| what | seconds | rows/s | CPU seconds | of these alone | rows per CPU second | peak MB |")
        print(f"|{' --- |' * 7}")
        for label, cell, place in (
            ("tokenised, one process", "tokenise:1", "one"),
            (f"tokenised, {options.processes} processes", f"tokenise:{options.processes}", "several"),
            ("packed by TRL, all at once", "trl", "one"),
            (f"packed by parts, {options.processes} processes", f"pack:{options.processes}", "several"),
            ("all of it from nothing", f"prepare:{options.processes}", "whole"),
            (f"all of it, mixed from {SOURCES} sources", f"prepare:{options.processes}", "mixed"),
            ("found again", "find", "whole"),
            (f"loaded by {LOADERS} loaders", "load", "whole"),
        ):
            if options.only and cell.partition(":")[0] not in options.only:
                continue
            job, files = folder / f"{place}.json", _shared(rows) if place == "mixed" else [rows]
            job.write_text(_job(folder / place, loading, files).model_dump_json())
            _row(label, cell, job, options.rows)
    return None


def _shared(rows: Path) -> list[Path]:
    """The same rows in several files."""
    files = [rows.with_name(f"part-{number}.jsonl") for number in range(SOURCES)]
    with rows.open("rb") as stream, contextlib.ExitStack() as stack:
        parts = [stack.enter_context(file.open("wb")) for file in files]
        for number, line in enumerate(stream):
            parts[number % SOURCES].write(line)
    return files


def _job(folder: Path, model: Path, files: list[Path]) -> JobSpec:
    folder.mkdir(exist_ok=True)
    base, trainer = ModelSpec(name_or_path=str(model)), TrainerSpec(max_length=LENGTH, packing=True)
    return JobSpec(
        run_id="benchmark",
        name="benchmark",
        record_dir=str(folder),
        output_dir=str(folder / "out"),
        checkpoints_dir=str(folder / "checkpoints"),
        model=base,
        dataset=DatasetSpec(train=tuple(DataSource(files=(str(file),)) for file in files)),
        trainer=trainer,
        step=step_plan(Settings(base, trainer), Model(), Machine()),
    )


def _row(label: str, cell: str, job: Path, rows: int) -> None:
    environment = os.environ | {
        "TOKENIZERS_PARALLELISM": "false",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-m", "benchmarks.data_pipeline", "--cell", cell, "--job", str(job)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    said = json.loads(done.stdout.splitlines()[-1])
    seconds, cpu = said["seconds"], max(said["cpu"], 1e-3)
    figures = (
        *(f"{seconds:.2f}", f"{rows / seconds:,.0f}"),
        *(f"{cpu:.1f}", f"{said['alone']:.1f}", f"{rows / cpu:,.0f}"),
    )
    print(f"| {label}{said['also']} | {' | '.join(figures)} | {said['megabytes']:,.0f} |", flush=True)


def _measure(cell: str, spec: JobSpec) -> None:
    """One cell, in a process of its own; its figures are the last line."""
    from sftrun.job.prepare import row_tokenizer

    made = row_tokenizer.of_job(spec)
    what, _, processes = cell.partition(":")
    work = {"tokenise": _tokenise, "trl": _trl, "pack": _pack, "prepare": _prepare, "find": _find, "load": _load}[what]
    begin = work(spec, made, int(processes or 1))
    with Watched() as watched:
        began, used, alone = time.perf_counter(), _cpu_seconds(), time.process_time()
        also = begin()
        figures = {
            "seconds": time.perf_counter() - began,
            "cpu": _cpu_seconds() - used - watched.own_seconds,
            "alone": time.process_time() - alone - watched.own_seconds,
        }
    print(json.dumps(figures | {"megabytes": watched.peak / 1e6, "also": f", {also}" if isinstance(also, str) else ""}))


Begin = Callable[[], object]


def _tokenise(spec: JobSpec, tokenizer: Any, processes: int) -> Begin:
    from sftrun.job.prepare import shards, source_rows
    from sftrun.rows.labels import Labeller

    def begin() -> None:
        rows = source_rows.of_source(spec.dataset.train[0], spec.rows)
        stem = Path(spec.record_dir) / "train"
        labeller = Labeller(spec.rows, rows.form, spec.trainer.max_length, tokenizer)
        parts, _ = shards.tokenise(rows, labeller, stem, shards.Crew(processes))
        shards.join(parts, stem.with_suffix(".arrow"))

    return begin


def _trl(spec: JobSpec, tokenizer: Any, processes: int) -> Begin:
    from datasets import Dataset
    from trl.data_utils import pack_dataset

    rows = Dataset.from_file(str(Path(spec.record_dir) / "train.arrow"))
    return lambda: pack_dataset(rows, LENGTH, "bfd", {"load_from_cache_file": False})


def _pack(spec: JobSpec, tokenizer: Any, processes: int) -> Begin:
    import trl.data_utils  # noqa: F401

    from sftrun.job.prepare import shards

    folder = Path(spec.record_dir)
    return lambda: shards.pack(folder / "train.arrow", spec, folder / "packed", shards.Crew(processes))


def _prepare(spec: JobSpec, tokenizer: Any, processes: int) -> Begin:
    import trl.data_utils  # noqa: F401

    from sftrun.job.prepare import prepared, shards

    return lambda: prepared.make(spec, tokenizer, prepared.folder(spec, tokenizer), shards.Crew(processes))


def _find(spec: JobSpec, tokenizer: Any, processes: int) -> Begin:
    import datasets  # noqa: F401

    from sftrun.job.prepare import prepared

    def begin() -> None:
        found = prepared.find(prepared.folder(spec, tokenizer))
        assert found is not None
        assert found.train()[0]["input_ids"]

    return begin


def _load(spec: JobSpec, tokenizer: Any, processes: int) -> Begin:
    """Batches as the trainer's loader makes them, as fast as they come."""
    from torch.utils.data import DataLoader, RandomSampler
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from sftrun.job.prepare import prepared

    found = prepared.find(prepared.folder(spec, tokenizer))
    assert found is not None
    rows = found.train()
    collate = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)

    def begin() -> str:
        loader = DataLoader(rows, BATCH, sampler=RandomSampler(rows), collate_fn=collate, num_workers=LOADERS)
        began = time.perf_counter()
        sizes = [batch["input_ids"].numel() for batch, _ in zip(loader, range(LOADED_BATCHES), strict=False)]
        return f"{sum(sizes) / (time.perf_counter() - began):,.0f} tokens/s"

    return begin


def _cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


class Watched:
    """The most memory that this process and its children have had, looked at twice a second; what looking costs."""

    def __enter__(self) -> Watched:
        self.peak, self.own_seconds, self._over = _memory(), 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.5):
            self.peak = max(self.peak, _memory())
            self.own_seconds = time.thread_time()


def _memory() -> int:
    return sum(map(_pss, (os.getpid(), *_children(os.getpid()))))


def _children(pid: int) -> Iterator[int]:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            yield from map(int, (thread / "children").read_text().split())
        except OSError:
            continue


def _pss(pid: int) -> int:
    """Bytes in memory that are a process's own, and its part of those that it shares; without what is only mapped."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:")), 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=make_data.CENSUS_ROWS, help="rows to make (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: %(default)s")
    parser.add_argument("--tokenizer", type=Path, help="a model's folder (default: one is trained)")
    parser.add_argument("--only", nargs="+", help="tokenise, trl, pack, prepare, find or load (default: all)")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
