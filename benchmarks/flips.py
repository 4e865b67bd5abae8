"""Flip bytes of a checkpoint, one at a time: is each noticed, or does it change nothing that is read?

    python benchmarks/flips.py --flips 1000 --seed 1 [--write docs/reliability.md]

The small model is trained for some steps; then a random byte of a random file of its checkpoint gets another value, the
checkpoint is judged as the supervisor judges it before a resume, and the byte is put back.  A file is drawn by its
share of the bytes in half of the cases, and evenly in the others, so that small files and the marker are hit too.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from sftrun.job.supervise import checkpoints  # noqa: E402

MARKS = ("<!-- flips begin -->", "<!-- flips end -->")
RECIPE = """
version: 1
name: flips
model: {name_or_path: "builtin:tiny", dtype: float32}
lora: {r: 4, lora_alpha: 8}
dataset: {train: train.jsonl}
trainer: {max_steps: 4, per_device_train_batch_size: 2, max_length: 64, save_steps: 4, bf16: false}
compute: {executor: local, gpu: none}
volumes: {/out: outputs}
output: {dir: /out/adapter}
"""


@dataclass(frozen=True)
class Flip:
    """One byte that was changed; `why` is what was said of the checkpoint, None where it counted as whole."""

    file: str
    at: int
    why: str | None

    @property
    def is_harmless(self) -> bool:
        """The marker is judged, not trained on: one that still counts names the very bytes that stand there."""
        return self.why is None and self.file == checkpoints.MARKER


def campaign(checkpoint: Path, run_id: str, *, flips: int, seed: int) -> list[Flip]:
    """Flip, judge, put back."""
    chance = random.Random(seed)
    sizes = {path: path.stat().st_size for path in sorted(checkpoint.rglob("*")) if path.is_file()}
    paths = [path for path, size in sizes.items() if size]
    return [_flip(checkpoint, run_id, _drawn(chance, paths, sizes), chance) for _ in range(flips)]


def silent(found: list[Flip]) -> list[Flip]:
    """Those that would have been trained on."""
    return [flip for flip in found if flip.why is None and not flip.is_harmless]


def _drawn(chance: random.Random, paths: list[Path], sizes: dict[Path, int]) -> Path:
    if chance.random() < 0.5:
        return chance.choice(paths)
    return chance.choices(paths, [sizes[path] for path in paths])[0]


def _flip(checkpoint: Path, run_id: str, path: Path, chance: random.Random) -> Flip:
    at = chance.randrange(path.stat().st_size)
    with path.open("r+b", buffering=0) as file:
        file.seek(at)
        before = file.read(1)
        _put(file.fileno(), at, bytes([before[0] ^ chance.randrange(1, 256)]))
        why = checkpoints.fault(checkpoint, run_id, by_content=True)
        _put(file.fileno(), at, before)
    return Flip(str(path.relative_to(checkpoint)), at, why)


def _put(descriptor: int, at: int, byte: bytes) -> None:
    os.pwrite(descriptor, byte, at)


def trained(folder: Path) -> tuple[Path, str]:
    """A checkpoint of a real run, and the run's id."""
    rows = ({"instruction": f"Add {i} and 2.", "output": str(i + 2)} for i in range(16))
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "r.yaml").write_text(RECIPE)
    env = os.environ | {"PYTHONPATH": str(ROOT), "SFTRUN_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "sftrun", "apply", "r.yaml", "--yes"], cwd=folder, env=env, check=True)
    path = next((folder / "home").rglob("checkpoint-4"))
    return path, path.parent.name


def table(found: list[Flip], seed: int, checkpoint: Path, seconds: float) -> Iterator[str]:
    """Markdown."""
    size = sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())
    noticed, harmless = sum(flip.why is not None for flip in found), sum(flip.is_harmless for flip in found)
    yield (
        f"{len(found):,} flips (seed {seed}) in a checkpoint of {size / 1e6:.1f} MB: {noticed:,} noticed, "
        f"{harmless} harmless (in the marker, which still named the bytes that stood there), "
        f"**{len(silent(found))} silent**. Judging it took {1000 * seconds / len(found):.1f} ms each."
    )
    yield ""
    yield "| file | flips | noticed | harmless | silent |"
    yield "|---|---:|---:|---:|---:|"
    of = Counter(flip.file for flip in found)
    for file, count in sorted(of.items()):
        mine = [flip for flip in found if flip.file == file]
        known, calm = sum(flip.why is not None for flip in mine), sum(flip.is_harmless for flip in mine)
        yield f"| {file} | {count} | {known} | {calm} | {len(silent(mine))} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, help="a page whose table is replaced")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, run_id = trained(Path(folder))
        begin = time.perf_counter()
        found = campaign(checkpoint, run_id, flips=asked.flips, seed=asked.seed)
        lines = "\n".join(table(found, asked.seed, checkpoint, time.perf_counter() - begin))
    print(lines)
    if asked.write:
        before, rest = asked.write.read_text().split(MARKS[0])
        asked.write.write_text(f"{before}{MARKS[0]}\n\n{lines}\n\n{MARKS[1]}{rest.split(MARKS[1])[1]}")
    return 1 if silent(found) else 0


if __name__ == "__main__":
    sys.exit(main())
