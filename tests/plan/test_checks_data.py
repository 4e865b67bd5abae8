"""Checks of the data: one behaviour each, on facts made by hand."""

import json
from typing import Any

from sftrun.diagnostics import Diagnostic, Span
from sftrun.facts.values import DataFacts, RowFault
from sftrun.plan.check.data_facts import check_data
from sftrun.recipe.models import Recipe


def recipe(**sections: Any) -> Recipe:
    whole = {
        "version": 1,
        "name": "x",
        "model": {"name_or_path": "x"},
        "dataset": {"train": {"path": "a.jsonl"}, "eval": {"path": "b.jsonl"}},
        "output": {"dir": "/o"},
    }
    return Recipe.model_validate_json(json.dumps(whole | sections))


def facts(**known: Any) -> DataFacts:
    return DataFacts(**({"source": "counted", "format": "instruction", "rows": 1000} | known))


def fault(kind: Any, line: int, message: str) -> RowFault:
    return RowFault(file="/d/a.jsonl", line=line, kind=kind, message=message)


def checked(train: DataFacts, evaluation: DataFacts | None = None, **sections: Any) -> list[Diagnostic]:
    return list(check_data(recipe(**sections), train, evaluation))


def test_data_without_faults_give_nothing() -> None:
    assert checked(facts(), facts()) == []


def test_data_that_were_not_read_give_nothing() -> None:
    assert checked(facts(source="declared", rows_cut=5)) == []


def test_a_broken_line_is_pointed_at_in_its_own_file() -> None:
    broken = [fault("syntax", 3, "not JSON at column 2: expecting value"), fault("syntax", 9, "x")]
    (found,) = checked(facts(rows_broken=4, faults=tuple(broken)))
    assert (found.code, found.severity, found.span) == ("D102", "error", Span("/d/a.jsonl", 3, 1, 3, 1))
    assert found.message == "a.jsonl, line 3: not JSON at column 2: expecting value"
    assert found.notes == ("4 such rows: also line 9 and 2 more",)


def test_a_row_of_the_wrong_form_is_an_error() -> None:
    (found,) = checked(facts(rows_misshapen=1, faults=(fault("form", 2, "no `output`"),)))
    assert (found.code, found.message) == ("D112", "a.jsonl, line 2: no `output`")


def test_columns_of_no_known_form_are_an_error() -> None:
    (found,) = checked(facts(format=None, rows=1, columns=("question", "answer")))
    assert found.code == "D103"
    assert found.message == "no known format has the columns of `a.jsonl`: `question`, `answer`"


def test_columns_that_a_named_format_needs_are_an_error_at_the_format() -> None:
    dataset = {"train": {"path": "a.jsonl"}, "format": "messages"}
    (found,) = checked(facts(format=None, rows=1, columns=("text",)), dataset=dataset)
    assert (found.code, found.at) == ("D103", ("dataset", "format"))
    assert found.message == "the format `messages` needs `messages`, `a.jsonl` has `text`"


def test_no_rows_are_an_error() -> None:
    assert [found.code for found in checked(facts(rows=0))] == ["D104"]
    assert [found.code for found in checked(facts(format=None, rows=0))] == ["D104"]


def test_rows_with_nothing_to_learn_are_an_error_above_one_per_cent() -> None:
    assert checked(facts(rows_nothing_learnt=10)) == []
    (found,) = checked(facts(rows_nothing_learnt=11, faults=(fault("nothing_learnt", 7, "the prompt alone"),)))
    assert found.message == "nothing can be learnt from 11 of 1,000 rows (1.1%): every label is masked"
    assert found.notes == ("the first: a.jsonl, line 7: the prompt alone",)


def test_a_cut_says_the_length_that_keeps_99_per_cent() -> None:
    known = {"percentiles": {"100": 3000}, "length_for_99_percent": 1500}
    (found,) = checked(facts(rows_cut=200, **known))
    assert found.message == "`max_length` 1024 cuts 200 of 1,000 rows (20%): the longest has 3,000 tokens"
    assert found.help == "write `max_length: 1536` to keep 99 % whole"
    (found,) = checked(facts(rows_cut=2, percentiles={"100": 3000}, length_for_99_percent=500))
    assert found.help == "write `max_length: 3000` to keep every row whole"


def test_duplicates_and_overlap_are_warnings_each_at_its_source() -> None:
    twice = fault("duplicate", 8, "the same as line 2")
    found = checked(facts(rows_duplicate=3, faults=(twice,)), facts(rows_in_train=5))
    assert [(one.code, one.at, one.severity) for one in found] == [
        ("D108", ("dataset", "train", "path"), "warning"),
        ("D109", ("dataset", "eval", "path"), "warning"),
    ]


def test_roles_and_templates_are_judged() -> None:
    faults = (fault("roles", 1, "message 1 is `assistant` and comes first"), fault("template", 2, "no"))
    found = checked(facts(rows_roles_out_of_order=1, rows_unrenderable=1, template_asks=False, faults=faults))
    assert [(one.code, one.severity) for one in found] == [("D113", "error"), ("D114", "warning")]
    (found_roles,) = checked(facts(rows_roles_out_of_order=1, faults=faults))
    assert (found_roles.code, found_roles.severity) == ("D110", "warning")


def test_no_length_above_the_model_s_positions_is_advised() -> None:
    known = facts(rows_cut=2, percentiles={"100": 3000}, length_for_99_percent=500)
    (found,) = check_data(recipe(), known, None, positions=2048)
    assert found.help == "split the long rows: the model has 2,048 positions, every row would need 3,000"


def test_an_entry_that_is_no_line_is_pointed_at_in_the_recipe() -> None:
    entry = RowFault(file="/d/a.json", line=3, kind="form", message="no `output`")
    (found,) = checked(facts(rows_misshapen=1, faults=(entry,)))
    assert (found.span, found.at) == (None, ("dataset", "train", "path"))
    assert found.message == "a.json, entry 3: no `output`"


def test_a_token_that_spans_prompt_and_answer_is_a_warning_above_one_per_cent() -> None:
    assert checked(facts(rows_border_merged=10)) == []
    assert [found.code for found in checked(facts(rows_border_merged=11))] == ["D115"]


def test_what_was_declared_otherwise_than_counted_is_a_warning() -> None:
    dataset = {"train": {"path": "a.jsonl", "num_examples": 10, "mean_tokens": 180}}
    (found,) = checked(facts(mean_tokens=185.0), dataset=dataset)
    assert found.message == "`num_examples` says 10, counted are 1,000: the count is used"
