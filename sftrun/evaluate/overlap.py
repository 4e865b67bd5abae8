"""ROUGE-L, chrF and BLEU of one answer, between 0 and 1: the figures of rouge-score and of sacrebleu (divided by 100).

A row has its own score here, so that base and tuned can be paired; sacrebleu's BLEU of a corpus is another figure than
the mean of its sentences.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from sftrun.evaluate.texts import letters_apart

CHRF_ORDER: Final = 6
CHRF_BETA: Final = 2
BLEU_ORDER: Final = 4
MOST_WORDS: Final = 4000  # ROUGE's work grows with the square
_BETWEEN: Final = re.compile(r"[\W_]+")
# sacrebleu's 13a: mteval-v13a.pl, in this order
_13A: Final = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)
_ENTITIES: Final = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))


def rouge_l(answer: str, expected: str) -> float:
    """The longest common subsequence of words, as F1 (Lin 2004); no stemming."""
    said, wanted = _rouge_words(answer), _rouge_words(expected)
    if not said or not wanted:
        return 0.0
    return 2 * _longest_common(said, wanted) / (len(said) + len(wanted))


def chrf(answer: str, expected: str) -> float:
    """n-grams of characters, 1 to 6, recall counted double (Popović 2015: chrF2)."""
    said, wanted = "".join(answer.split()), "".join(expected.split())
    shares = []
    for order in range(1, CHRF_ORDER + 1):
        mine, theirs = _grams(said, order), _grams(wanted, order)
        if mine and theirs:
            common = sum((mine & theirs).values())
            shares.append((common / mine.total(), common / theirs.total()))
    if not shares:
        return 0.0
    precision, recall = (sum(part) / len(shares) for part in zip(*shares, strict=True))
    weighted = CHRF_BETA**2 * precision + recall
    return (1 + CHRF_BETA**2) * precision * recall / weighted if weighted else 0.0


def bleu(answer: str, expected: str) -> float:
    """n-grams of words, 1 to 4, with the exponential smoothing and the effective order of sentences."""
    said, wanted = _bleu_words(answer), _bleu_words(expected)
    logs, halved = list[float](), 1.0
    for order in range(1, BLEU_ORDER + 1):
        mine = _grams(said, order)
        if not mine:
            break
        common = sum((mine & _grams(wanted, order)).values())
        if order == 1 and not common:
            return 0.0
        halved *= 1 if common else 2
        logs.append(math.log((common or 1 / halved) / mine.total()))
    if not logs:
        return 0.0
    short = math.exp(1 - len(wanted) / len(said)) if len(said) < len(wanted) else 1.0
    return short * math.exp(sum(logs) / len(logs))


def _grams(units: Sequence[str] | str, order: int) -> Counter[Sequence[str] | str]:
    whole = units if isinstance(units, str) else tuple(units)
    return Counter(whole[begin : begin + order] for begin in range(len(whole) - order + 1))


def _rouge_words(text: str) -> list[str]:
    return _BETWEEN.sub(" ", letters_apart(text.lower())).split()[:MOST_WORDS]


def _longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    row = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for place, found in enumerate(other, 1):
            before, row[place] = row[place], before + 1 if word == found else max(row[place], row[place - 1])
    return row[-1]


def _bleu_words(text: str) -> list[str]:
    line = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, char in _ENTITIES:
        line = line.replace(entity, char)
    line = f" {letters_apart(line)} "
    for pattern, spaced in _13A:
        line = pattern.sub(spaced, line)
    return line.split()
