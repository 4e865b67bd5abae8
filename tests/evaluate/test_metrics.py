"""Each metric on answers as models give them; overlaps against sacrebleu 2.6 and rouge-score 0.1.2."""

import importlib.util
from typing import get_args

import pytest

from sftrun.contract.answers import Answer
from sftrun.contract.choices import MetricName
from sftrun.evaluate import overlap, texts
from sftrun.evaluate.dockerfiles import is_dockerfile
from sftrun.evaluate.metrics import METRICS, Rules, missing, number_outcome
from sftrun.evaluate.numbers import numbers

needs_hcl = pytest.mark.skipif(importlib.util.find_spec("hcl2") is None, reason="needs python-hcl2")
NO_RULES = Rules()
KUBERNETES = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: web"


def score(
    name: MetricName, text: str, expected: str | None, *, prompt: str = "", rules: Rules = NO_RULES
) -> float | None:
    answer = Answer(model="tuned", index=0, prompt=prompt, expected=expected, text=text, is_ended=True)
    return METRICS[name].score(answer, rules)


def test_every_name_has_its_metric() -> None:
    assert set(METRICS) == set(get_args(MetricName))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("13.96 million", [13_960_000]),
        ("1,396万", [13_960_000]),
        ("13 960 000", [13_960_000]),
        ("13\u202f960\u202f000", [13_960_000]),
        ("13.960.000", [13_960_000]),
        ("1'396'000", [1_396_000]),
        ("１，３９６万人", [13_960_000]),
        ("1億2,600万人", [126_000_000]),
        ("東京都の人口は1404万7594人", [14_047_594]),
        ("45.3 % or 45.3 percent", [45.3, 45.3]),
        ("12,5 %", [12.5]),
        ("−5 and -3.2e3", [-5, -3200]),
        ("$1,234.50", [1234.5]),
        ("2k users, 3M calls, 5 M", [2000, 3_000_000, 5]),
        ("1990-2000", [1990, 2000]),
        ("rows 12, 34, 56.", [12, 34, 56]),
        ("a c5.xlarge with ipv4 and 1.2.3 of v2.0", []),
        ("2020 123 people", [2020, 123]),
        ("about .5", [0.5]),
        ("none at all", []),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, values: list[float]) -> None:
    assert [number.value for number in numbers(text)] == pytest.approx(values)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("The population was 13.96 million.", "right"),
        ("1,396万人です", "right"),
        ("In 2015, it stood at 13 960 000.", "right"),
        ("It was 13.9 million.", "wrong"),
        ("It is a large city.", "no number"),
        ("In 2015 nobody counted.", "wrong"),
        ("12,000,000 or 13,960,000", "wrong"),
    ],
)
def test_a_number_is_right_wrong_or_not_there(text: str, outcome: str) -> None:
    asked = "What was the population of Tokyo in 2015?"
    answer = Answer(model="base", index=0, prompt=asked, expected="In 2015, it stood at 13,960,000.", text=text)
    assert number_outcome(answer) == outcome


def test_a_number_within_the_tolerance_is_right() -> None:
    assert score("number", "about 14 million", "13,960,000", rules=Rules(tolerance=0.01)) == 1.0
    assert score("number", "about 15 million", "13,960,000", rules=Rules(tolerance=0.01)) == 0.0


def test_a_percentage_is_a_share_too() -> None:
    assert score("number", "0.453", "45.3 %") == 1.0
    assert score("number", "45.3", "45.3 %") == 1.0
    assert score("number", "4.53", "45.3 %") == 0.0
    assert score("number", "45.3 percent", "45.3%") == 1.0


def test_several_numbers_are_wanted_in_any_order_and_none_beside_them() -> None:
    expected = "Osaka has 8,838,000 and Kyoto 2,578,000."
    assert score("number", "Kyoto 2.578 million, Osaka 8.838 million", expected) == 1.0
    assert score("number", "Osaka 8.838 million", expected) == 0.0


def test_without_a_number_to_expect_the_metric_has_no_say() -> None:
    assert score("number", "5", "I can't say.") is None


def test_exact_match_forgives_only_what_nobody_sees() -> None:
    assert score("exact_match", "a = 1  \r\nb = 2\n", "a = 1\nb = 2") == 1.0
    assert score("exact_match", "A = 1", "a = 1") == 0.0
    assert score("exact_match", "  indented", "indented") == 1.0
    assert score("exact_match", "a\n  b", "a\nb") == 0.0


def test_contains_forgives_capitals_and_spaces() -> None:
    assert score("contains", "The capital is  new\nyork.", "New York") == 1.0
    assert score("contains", "Newark", "New York") == 0.0


def test_a_pattern_is_wanted_where_the_expected_answer_has_it_and_nowhere_else() -> None:
    declines = Rules(pattern="^I can only help with")
    assert score("regex", "I can only help with Terraform.", "I can only help with Terraform.", rules=declines) == 1.0
    assert score("regex", "Why not? A joke:", "I can only help with Terraform.", rules=declines) == 0.0
    assert score("regex", "I can only help with Terraform.", "FROM python", rules=declines) == 0.0
    assert score("regex", "FROM python", "FROM python", rules=declines) == 1.0


def test_f1_counts_words_in_common() -> None:
    # transformers.data.metrics.squad_metrics.compute_f1
    assert score(
        "f1", "The population of Tokyo is 13.96 million.", "Tokyo has a population of 13.96 million people."
    ) == (pytest.approx(0.7692307692307693))
    assert texts.f1("東京は首都です", "首都は東京です") == 1.0


@pytest.mark.parametrize(
    ("answer", "expected", "bleu", "chrf", "rouge"),
    [
        (
            "The population of Tokyo is 13.96 million.",
            "Tokyo has a population of 13.96 million people.",
            *(0.1525487608028144, 0.6008409279354796, 0.5882352941176471),
        ),
        (
            "FROM python:3.12",
            "FROM python:3.12-slim\nRUN pip install flask",
            *(0.2231301601484299, 0.40294053477437125, 0.6153846153846153),
        ),
        ('bucket = "reports"', 'bucket = "reports-web"', 0.4272870062963342, 0.7545946705830019, 0.8),
        ("cat", "dog", 0.0, 0.0, 0.0),
        ("", "a", 0.0, 0.0, 0.0),
        ("the same words", "the same words", 1.0, 1.0, 1.0),
    ],
)
def test_overlaps_are_those_of_sacrebleu_and_rouge_score(
    answer: str, expected: str, bleu: float, chrf: float, rouge: float
) -> None:
    assert overlap.bleu(answer, expected) == pytest.approx(bleu, abs=1e-9)
    assert overlap.chrf(answer, expected) == pytest.approx(chrf, abs=1e-9)
    assert overlap.rouge_l(answer, expected) == pytest.approx(rouge, abs=1e-9)


def test_words_of_japanese_are_its_letters() -> None:
    assert 0 < overlap.rouge_l("東京の人口", "東京都の人口") < 1


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("json", '{"a": [1, 2.5]}', '{"a": [1, 2.5}'),
        ("json", "[]", "NaN"),
        ("yaml", KUBERNETES, KUBERNETES.replace("name: web", "name: web: b")),
        ("yaml", "- a\n- b: [1, 2]", "just a sentence"),
        ("toml", 'name = "a"\n[b]\nc = 1', "name = a"),
        ("dockerfile", "FROM python:3.12\nRUN pip install flask", "FORM python:3.12"),
    ],
)
def test_a_file_is_judged_by_its_parser(name: MetricName, good: str, bad: str) -> None:
    assert score(name, good, good) == 1.0
    assert score(name, bad, good) == 0.0
    assert score(name, f"```{name}\n{good}\n```", good) == 1.0
    assert score(name, good, "an answer in words.") is None


@needs_hcl
def test_terraform_is_judged_by_its_parser() -> None:
    good = 'resource "aws_s3_bucket" "a" {\n  bucket = "${var.name}-a"\n}'
    assert score("hcl", good, good) == 1.0
    assert score("hcl", good.replace("}", "", 1).rstrip("}"), good) == 0.0
    assert score("hcl", "Sure, here is it", good) == 0.0


def test_a_missing_parser_is_named() -> None:
    needs = missing(["exact_match", "hcl"], NO_RULES)
    assert needs == ([] if importlib.util.find_spec("hcl2") else ["hcl2"])


def test_json_may_have_to_match_a_schema() -> None:
    rules = Rules(json_schema={"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}})
    assert score("json", '{"name": "a"}', None, rules=rules) == 1.0
    assert score("json", '{"name": 1}', None, rules=rules) == 0.0
    assert score("json", "no JSON", None, rules=rules) == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "FROM scratch",
        "ARG VERSION=3.12\nFROM python:${VERSION}-slim AS build\nCOPY --from=build /a /b",
        "# syntax=docker/dockerfile:1\n# escape=`\nFROM a\nRUN dir `\n  C:\\",
        'FROM a\nRUN <<EOF\napt-get update\nnot an instruction\nEOF\nCMD ["a", "b"]',
        "FROM a\nRUN apt-get update \\\n  # a comment\n\n  && true",
        "from a\nexpose 80 443/tcp\nhealthcheck --interval=5s CMD curl -f http://localhost/",
        'FROM a\nENV A=1 B="two words"\nENV OLD way\nLABEL a.b="c"\nUSER app:app\nSTOPSIGNAL SIGTERM',
        "FROM a\nRUN [ -f x ] && echo y",
    ],
)
def test_these_are_dockerfiles(text: str) -> None:
    assert is_dockerfile(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "RUN a",
        "FROM",
        "FROM a b",
        "FROM a\nINSTALL b",
        'FROM a\nCMD ["a", b]',
        "FROM a\nEXPOSE http",
        "FROM a\nCOPY only-one",
        "FROM a\nRUN <<EOF\nnever ends",
        "FROM a\nHEALTHCHECK curl",
        "FROM a\nENV A=1 B",
        "Here is a Dockerfile for you:",
    ],
)
def test_these_are_none(text: str) -> None:
    assert not is_dockerfile(text)


def test_a_part_of_a_dockerfile_is_wanted_where_a_part_is_expected() -> None:
    assert score("dockerfile", "EXPOSE 80", "HEALTHCHECK CMD true") == 1.0
    assert score("dockerfile", "EXPOSE 80", "FROM a\nEXPOSE 80") == 0.0


def test_stopping_by_itself_is_a_metric() -> None:
    assert score("stops", "cut", None) == 1.0
