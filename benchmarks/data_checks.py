"""How fast data are checked: rows a second, memory, and the second look, for the census form and a BPE of 32,000.

python -m benchmarks.data_checks                 # 214,148 rows, a minute or two with the tokenizer's training
python -m benchmarks.data_checks --rows 20000 --tokenizer FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from sftrun.contract.row_rules import RowRules
from sftrun.facts.data.count import Asked, data_facts
from sftrun.facts.values import DataFacts
from sftrun.rows.raw.find import Files

PREFECTURES = (
    *("Tokyo", "Osaka", "Hokkaido", "Aichi", "Fukuoka", "Kyoto"),
    *("Hyogo", "Saitama", "Chiba", "Kanagawa", "Okinawa", "Nagano"),
)
TOPICS = (
    "population",
    "number of households",
    "number of males",
    "population density",
    "number of employed persons",
    "share of persons aged 65 and over",
)
SYLLABLES = [a + b + c for a in "bcdfghklmnprstvwz" for b in "aeiou" for c in ("", "n", "r", "s", "t")]


def main() -> None:
    """Make rows and a tokenizer, count twice, print a table."""
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "train.jsonl"
        with path.open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in rows(options.rows, options.japanese))
        tokenizer = options.tokenizer or trained_tokenizer(folder / "model", path)
        megabytes, load = path.stat().st_size / 1e6, os.getloadavg()[0]
        print(f"{options.rows:,} rows, {megabytes:.0f} MB, {os.cpu_count()} cores, load {load:.1f}")
        for label in ("first look", "second look"):
            _look(label, path, tokenizer, folder / "cache", options.processes)


def rows(count: int, japanese: bool = False) -> Iterator[dict[str, str]]:
    """Questions and answers in Alpaca's form, with the census's constant input."""
    rng = Random(3407)
    for _ in range(count):
        topic, prefecture, year = rng.choice(TOPICS), rng.choice(PREFECTURES), rng.randrange(1920, 2021, 5)
        town = "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4))).title() + (
            "市" if japanese else " City"
        )
        number, change = rng.randint(1000, 14_000_000), rng.randint(-9999, 9999)
        answer = f"According to the {year} Japan Census, the {topic} of {town} in {prefecture} was {number:,}."
        if rng.random() < 0.7:
            answer += f" Compared with {year - 5}, this is a change of {change:,} ({rng.uniform(-9, 9):.1f} %)."
        question = f"What is the {topic} of {town}, {prefecture} in {year}?"
        yield {"instruction": question, "input": "Context: Japan Census data.", "output": answer}


def _look(label: str, path: Path, tokenizer: Path, cache: Path, processes: int) -> None:
    started, used = time.perf_counter(), _cpu_seconds()
    files = Files(paths=(str(path),), sha256="a" * 64)
    (found,), _ = data_facts([Asked(files, RowRules())], [], 2048, tokenizer, cache_dir=cache, processes=processes)
    seconds, cpu = time.perf_counter() - started, _cpu_seconds() - used
    assert isinstance(found, DataFacts)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1e3
    print(
        f"{label:12} {seconds:7.2f} s  {found.rows / seconds:9,.0f} rows/s  "
        f"{found.rows / max(cpu, 1e-9):9,.0f} rows per second of one core  {peak:5,.0f} MB in the largest process  "
        f"{found.tokens or 0:,} tokens, {found.learnt_tokens or 0:,} learnt"
    )


def _cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def trained_tokenizer(folder: Path, path: Path) -> Path:
    """A byte-level BPE of 32,000, learnt from the rows and from words enough to fill it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    rng = Random(5)
    words = ["".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 4))) for _ in range(60_000)]

    def texts() -> Iterator[str]:
        with path.open(encoding="utf-8") as stream:
            yield from (" ".join(json.loads(line).values()) for line, _ in zip(stream, range(40_000), strict=False))
        yield from (" ".join(rng.choice(words) for _ in range(30)) for _ in range(60_000))

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=32_000, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(texts(), trainer)
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}', encoding="utf-8")
    return folder


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=214_148, help="rows to make (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--tokenizer", type=Path, help="a model's folder (default: one is trained)")
    parser.add_argument("--japanese", action="store_true", help="a character in each row that is not ASCII")
    return parser.parse_args()


if __name__ == "__main__":
    main()
