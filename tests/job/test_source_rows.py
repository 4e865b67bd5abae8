"""Rows as the job reads them: a bad one is named by its file and line, and labels are those of the checks."""

from pathlib import Path
from typing import Any

import pytest

from sftrun.contract.jobspec import DatasetSpec, DataSource
from sftrun.contract.row_rules import RowRules
from sftrun.job.failures import JobFailure
from sftrun.job.prepare import prepared, row_tokenizer, source_rows
from sftrun.job.prepare.learnable import Learnable, label
from sftrun.job.prepare.shards import Crew
from sftrun.rows.labels import IGNORED, Labeller
from sftrun.rows.tokenizer import Tokens
from tests.job import tiny

pytestmark = pytest.mark.filterwarnings("ignore")
END = "<|im_end|>"


@pytest.fixture(scope="module", params=["marked", "unmarked"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    template = tiny.CHAT_TEMPLATE if request.param == "marked" else tiny.UNMARKED_TEMPLATE
    return tiny.make_model(tmp_path_factory.mktemp("model"), chat_template=template)


def learn(
    rows: list[dict[str, Any]], model: Path, folder: Path, *, max_length: int = 1024, **rules: Any
) -> tuple[Learnable, Tokens]:
    """Rows of a file, labelled as the job does it; a token is a byte."""
    file = tiny.write_rows(folder / "rows.jsonl", rows)
    wanted = RowRules(**({"instruction_template": "plain"} | rules))
    tokens = row_tokenizer.of_model(tiny.make_job(folder, model, folder).model, wanted)
    found = source_rows.of_source(DataSource(files=(str(file),)), wanted)
    return label(found.rows, found.places, Labeller(wanted, found.form, max_length, tokens)), tokens


def learnt(made: Learnable, tokens: Tokens, row: int = 0) -> str:
    ids = [one for one in made.labels[row] if one != IGNORED]
    return tokens.tokenizer.decode(ids, skip_special_tokens=False)


def whole(made: Learnable, tokens: Tokens, row: int = 0) -> str:
    return tokens.tokenizer.decode(list(made.input_ids[row]), skip_special_tokens=False)


def test_of_an_instruction_the_answer_and_its_end_are_learnt(model: Path, tmp_path: Path) -> None:
    rows = [{"instruction": "Say hi.", "input": "", "output": "hi"}, {"instruction": "a", "input": "b", "output": "c"}]
    made, tokens = learn(rows, model, tmp_path)
    assert whole(made, tokens) == "Say hi.\n\nhi" + END
    assert learnt(made, tokens) == "hi" + END
    assert whole(made, tokens, 1) == "a\nb\n\nc" + END
    assert (made.tokens, made.learnt_tokens) == (len("Say hi.\n\nhi") + 1 + len("a\nb\n\nc") + 1, 3 + 2)


def test_of_a_completion_all_is_learnt_and_its_end_is_added_once(model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": "1+1=", "completion": "2"}, {"prompt": "2+2=", "completion": "4" + END}]
    made, tokens = learn(rows, model, tmp_path)
    assert [learnt(made, tokens, row) for row in (0, 1)] == ["2" + END, "4" + END]


def test_prompts_are_learnt_too_when_asked(model: Path, tmp_path: Path) -> None:
    made, tokens = learn([{"prompt": "ab", "completion": "c"}], model, tmp_path, completion_only=False)
    assert learnt(made, tokens) == "abc" + END


def test_of_a_text_everything_is_learnt(model: Path, tmp_path: Path) -> None:
    made, tokens = learn([{"text": "hello"}], model, tmp_path)
    assert learnt(made, tokens) == "hello" + END
    assert made.learnt_tokens == 5  # nothing predicts the first


CHAT = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "q1"},
    {"role": "assistant", "content": "a1"},
    {"role": "user", "content": "q2"},
    {"role": "assistant", "content": "a2"},
]


def test_of_a_conversation_the_assistants_turns_are_learnt(model: Path, tmp_path: Path) -> None:
    made, tokens = learn([{"messages": CHAT}], model, tmp_path)
    assert learnt(made, tokens).replace("\n", "") == f"a1{END}a2{END}"
    assert "q1" in whole(made, tokens)


def test_a_turn_that_is_not_to_be_learnt_is_not(model: Path, tmp_path: Path) -> None:
    talk = [turn | ({"weight": 0} if turn["content"] == "a1" else {}) for turn in CHAT]
    made, tokens = learn([{"messages": talk}], model, tmp_path)
    assert learnt(made, tokens).replace("\n", "") == f"a2{END}"


def test_the_whole_conversation_is_learnt_when_asked(model: Path, tmp_path: Path) -> None:
    made, tokens = learn([{"messages": CHAT}], model, tmp_path, assistant_only=False)
    assert learnt(made, tokens) == whole(made, tokens)


def test_a_prompt_of_turns_has_its_completion_learnt(model: Path, tmp_path: Path) -> None:
    made, tokens = learn([{"prompt": CHAT[:2], "completion": CHAT[2:3]}], model, tmp_path)
    assert learnt(made, tokens).replace("\n", "") == f"a1{END}"


def test_rows_are_cut_and_counted(model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": "p" * 20, "completion": "c"}, {"prompt": "p", "completion": "c" * 20}]
    made, _ = learn(rows, model, tmp_path, max_length=10)
    assert (len(made), made.cut, made.dropped) == (1, 2, [0])
    made, tokens = learn(rows, model, tmp_path, max_length=10, truncation_mode="keep_end")
    assert (len(made), made.cut, made.dropped) == (2, 2, [])
    assert whole(made, tokens) == "p" * 8 + "c" + END


def test_conversations_need_a_template(tmp_path: Path) -> None:
    model = tiny.make_model(tmp_path / "bare", chat_template="")
    file = tiny.write_rows(tmp_path / "rows.jsonl", [{"messages": CHAT}])
    spec = tiny.make_job(tmp_path, model, file, dataset=DatasetSpec(train=(DataSource(files=(str(file),)),)))
    tokens = row_tokenizer.of_job(spec)
    with pytest.raises(JobFailure, match="no chat template"):
        prepared.make(spec, tokens, prepared.folder(spec, tokens), Crew())
    named = spec.model_copy(update={"rows": RowRules(chat_template=tiny.CHAT_TEMPLATE)})
    tokens = row_tokenizer.of_job(named)
    assert prepared.make(named, tokens, prepared.folder(named, tokens), Crew()).marker.are_conversations


def test_a_row_that_its_template_can_t_print_ends_the_run_by_its_place(model: Path, tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    with pytest.raises(JobFailure, match=r"rows.jsonl:2: the chat template does not print the assistant's call of `f`"):
        learn([{"messages": CHAT}, {"messages": [*CHAT[:2], call]}], model, tmp_path)


@pytest.mark.parametrize("key", ["eos_token", "pad_token"])
def test_a_token_that_the_vocabulary_lacks_is_named_by_its_key(key: str, model: Path, tmp_path: Path) -> None:
    with pytest.raises(JobFailure, match=f"`{key}` '<nope>' is no token"):
        learn([{"text": "a"}], model, tmp_path, **{key: "<nope>"})


def test_a_loss_that_the_rows_can_t_obey_is_refused_where_the_form_is_first_seen(model: Path, tmp_path: Path) -> None:
    with pytest.raises(JobFailure, match=r"`trainer\.assistant_only_loss` needs rows of messages"):
        learn([{"text": "a"}], model, tmp_path, assistant_only=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', "a.jsonl:2: not JSON"),
        ("a.jsonl", b'{"text": "x"}\n[1]\n', "a.jsonl:2: `[1]` is no object"),
        ("a.jsonl", b'{"text": "x"}\n\n{"txt": "y"}\n', "a.jsonl:3: no `text`"),
        ("a.jsonl", b'{"text": 7}\n', "a.jsonl:1: `text` is `7`, not a text"),
        ("a.jsonl", b'{"messages": "hi"}\n', 'a.jsonl:1: `messages` is `"hi"`, not a list of role and content'),
        ("a.jsonl", b"", "no rows in"),
        ("a.jsonl", b'{"foo": 1}\n', "has the columns foo, which are no known form"),
        ("a.jsonl", b'{"text": "\xff"}\n', "a.jsonl:1: byte 11 is not UTF-8"),
        ("a.json", b'[{"text": "x"}, 3]', "a.json, entry 2: `3` is no object"),
        ("a.json", b'[{"text": "x"},', "a.json, entry 1: not JSON"),
        ("a.csv", b"text\nx\na,b\n", "a.csv:3: more fields than the header"),
        ("a.csv", b"text\n\xff\n", "a.csv:2: not UTF-8"),
        ("a.parquet", b"PAR1nonsense", "a.parquet, entry 1: not Parquet"),
        ("a.xyz", b"x", "a.xyz is no data file"),
    ],
)
def test_a_broken_file_is_named_by_its_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(JobFailure) as caught:
        source_rows.of_source(DataSource(files=(str(tmp_path / name),)), RowRules())
    assert caught.value.kind == "data"
    assert message in caught.value.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobFailure, match=r"can't read .*none\.jsonl: No such file"):
        source_rows.of_source(DataSource(files=(str(tmp_path / "none.jsonl"),)), RowRules())
