"""The metrics by name: an answer and what was expected -> a figure, or None where the metric has no say."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, Final, Literal, NamedTuple

from sftrun.contract.answers import Answer
from sftrun.contract.choices import MetricName
from sftrun.evaluate import formats, numbers, overlap, texts

EXTRA: Final = "pip install 'sftrun[evaluate]'"
Kind = Literal["yes_no", "score", "loss"]


class Rules(NamedTuple):
    """What some of the metrics must be told."""

    tolerance: float = 0.0
    pattern: str | None = None
    json_schema: Any = None


class Metric(NamedTuple):
    """One metric.  `kind`: right or wrong, a score from 0 to 1, or a loss, of which less is better."""

    name: MetricName
    kind: Kind
    about: str
    score: Callable[[Answer, Rules], float | None]
    package: str | None = None
    needs_loss: bool = False

    @property
    def sign(self) -> int:
        """What makes a gain of a difference."""
        return -1 if self.kind == "loss" else 1


def metric(name: MetricName) -> Metric:
    """The metric of that name."""
    return METRICS[name]


def missing(names: Sequence[MetricName], rules: Rules) -> list[str]:
    """Packages that these metrics need and this environment has not; found without importing them."""
    wanted = [METRICS[name].package for name in names]
    wanted += ["jsonschema"] if "json" in names and rules.json_schema is not None else []
    return sorted({name for name in wanted if name is not None and find_spec(name) is None})


def number_outcome(answer: Answer, tolerance: float = 0.0) -> Literal["right", "wrong", "no number"] | None:
    """Of the numbers that the expected answer has beyond the question's; None where it has none.

    As many of the answer's first ones must be the same, in any order.
    """
    asked = numbers.numbers(answer.prompt)
    wanted = numbers.beyond(numbers.numbers(answer.expected or ""), asked)
    if not wanted:
        return None
    said = numbers.numbers(answer.text or "")
    if not said:
        return "no number"
    if not any(number.is_year for number in wanted):
        said = [number for number in said if not number.is_year] or said
    given = {number.value for number in asked} - {number.value for number in wanted}
    said = [number for number in said if number.value not in given] or said
    return "right" if _covers(said[: len(wanted)], wanted, tolerance) else "wrong"


def _covers(said: Sequence[numbers.Number], wanted: Sequence[numbers.Number], tolerance: float) -> bool:
    left = list(said)
    for number in wanted:
        found = next((one for one in left if numbers.agree(one, number, tolerance)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _number(answer: Answer, rules: Rules) -> float | None:
    outcome = number_outcome(answer, rules.tolerance)
    return None if outcome is None else float(outcome == "right")


def _regex(answer: Answer, rules: Rules) -> float | None:
    """Where the expected answer matches, the answer must; where it does not, it must not."""
    pattern = _compiled(rules.pattern or "")
    wanted = answer.expected is None or pattern.search(answer.expected) is not None
    return float((pattern.search(answer.text or "") is not None) == wanted)


@cache
def _compiled(pattern: str) -> "re.Pattern[str]":
    return re.compile(pattern, re.MULTILINE)


def _json(answer: Answer, rules: Rules) -> float | None:
    if rules.json_schema is not None:
        return float(formats.matches(answer.text or "", rules.json_schema))
    return _parsed(formats.is_json)(answer, rules)


def _dockerfile(answer: Answer, rules: Rules) -> float | None:
    """A whole one is wanted where the expected answer is one; where it is a part, a part."""
    expected, text = answer.expected or "", answer.text or ""
    if not formats.is_docker_part(expected):
        return None
    return float(formats.is_docker(text) if formats.begins_an_image(expected) else formats.is_docker_part(text))


def _parsed(is_one: Callable[[str], bool]) -> Callable[[Answer, Rules], float | None]:
    return lambda answer, rules: float(is_one(answer.text or "")) if is_one(answer.expected or "") else None


def _against(score: Callable[[str, str], float]) -> Callable[[Answer, Rules], float | None]:
    return lambda answer, rules: None if answer.expected is None else float(score(answer.text or "", answer.expected))


def _token_accuracy(answer: Answer, rules: Rules) -> float | None:
    return answer.right / answer.learnt if answer.learnt else None


_ALL: Final = (
    Metric("exact_match", "yes_no", "the same text, but for spaces at the ends of lines", _against(texts.is_same)),
    Metric("number", "yes_no", "the numbers of the expected answer, however they are written", _number),
    Metric("contains", "yes_no", "the expected text stands in the answer, in any capitals", _against(texts.contains)),
    Metric("regex", "yes_no", "matches `pattern` where the expected answer does, and not where it does not", _regex),
    Metric("f1", "score", "words in common, as SQuAD counts them", _against(texts.f1)),
    Metric("json", "yes_no", "parses as JSON, and matches `json_schema`", _json),
    Metric("yaml", "yes_no", "parses as YAML", _parsed(formats.is_yaml)),
    Metric("toml", "yes_no", "parses as TOML", _parsed(formats.is_toml)),
    Metric("hcl", "yes_no", "parses as HCL, Terraform's language", _parsed(formats.is_hcl), package="hcl2"),
    Metric("dockerfile", "yes_no", "is a Dockerfile, or a part of one", _dockerfile),
    Metric("rouge", "score", "ROUGE-L: the longest common subsequence of words", _against(overlap.rouge_l)),
    Metric("chrf", "score", "chrF2: n-grams of characters", _against(overlap.chrf)),
    Metric("bleu", "score", "BLEU of each answer: n-grams of words", _against(overlap.bleu)),
    Metric("stops", "yes_no", "ends by itself before `max_new_tokens`", lambda answer, rules: float(answer.is_ended)),
    Metric("loss", "loss", "loss of the expected answer", lambda answer, rules: answer.loss, needs_loss=True),
    Metric(
        "token_accuracy", "score", "tokens of the expected answer that come first", _token_accuracy, needs_loss=True
    ),
)
METRICS: Final = {metric.name: metric for metric in _ALL}
