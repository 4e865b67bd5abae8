"""What is learnt, token by token, against a hand computation: with a byte tokenizer a token is a character."""

import json
from pathlib import Path
from typing import Any

import pytest

from sftrun.contract.jobspec import DatasetSpec, DataSource, JobSpec
from sftrun.job import data, tokens
from sftrun.job.failures import JobFailure
from sftrun.job.train.loading import load_tokenizer
from tests.job import tiny

pytestmark = pytest.mark.filterwarnings("ignore")
END = "<|im_end|>"


@pytest.fixture(scope="module", params=["marked", "unmarked"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    template = tiny.CHAT_TEMPLATE if request.param == "marked" else tiny.UNMARKED_TEMPLATE
    folder = tiny.make_model(tmp_path_factory.mktemp("tokenizer"), chat_template=template)
    return load_tokenizer(tiny.make_job(folder, folder, folder / "d").model)


def learn(
    rows: list[dict[str, Any]], tokenizer: Any, tmp_path: Path, form: Any = "auto", **trainer: Any
) -> tokens.Learnable:
    file = tiny.write_rows(tmp_path / "rows.jsonl", rows)
    found = data.read(DataSource(files=(str(file),)), form)
    return tokens.label(found.rows, found.format, job(tmp_path, form, **trainer), tokenizer)


def job(tmp_path: Path, form: Any, **trainer: Any) -> JobSpec:
    dataset = DatasetSpec(train=DataSource(files=("/x.jsonl",)), format=form, instruction_template="plain")
    return tiny.make_job(tmp_path, tmp_path, tmp_path, dataset=dataset, trainer=trainer)


def learnt(made: tokens.Learnable, tokenizer: Any, row: int = 0) -> str:
    return tokenizer.decode([label for label in made.labels[row] if label != tokens.IGNORED])


def whole(made: tokens.Learnable, tokenizer: Any, row: int = 0) -> str:
    return tokenizer.decode(made.input_ids[row])


def test_of_an_instruction_the_answer_and_its_end_are_learnt(tokenizer: Any, tmp_path: Path) -> None:
    rows = [{"instruction": "Say hi.", "input": "", "output": "hi"}, {"instruction": "a", "input": "b", "output": "c"}]
    made = learn(rows, tokenizer, tmp_path)
    assert whole(made, tokenizer) == "Say hi.\n\nhi" + END
    assert learnt(made, tokenizer) == "hi" + END
    assert whole(made, tokenizer, 1) == "a\nb\n\nc" + END
    assert (made.tokens, made.learnt_tokens) == (len("Say hi.\n\nhi") + 1 + len("a\nb\n\nc") + 1, 3 + 2)


def test_of_a_completion_all_is_learnt_and_its_end_is_added_once(tokenizer: Any, tmp_path: Path) -> None:
    rows = [{"prompt": "1+1=", "completion": "2"}, {"prompt": "2+2=", "completion": "4" + END}]
    made = learn(rows, tokenizer, tmp_path)
    assert [learnt(made, tokenizer, row) for row in (0, 1)] == ["2" + END, "4" + END]


def test_prompts_are_learnt_too_when_asked(tokenizer: Any, tmp_path: Path) -> None:
    made = learn([{"prompt": "ab", "completion": "c"}], tokenizer, tmp_path, completion_only_loss=False)
    assert learnt(made, tokenizer) == "abc" + END


def test_of_a_text_everything_is_learnt(tokenizer: Any, tmp_path: Path) -> None:
    made = learn([{"text": "hello"}], tokenizer, tmp_path)
    assert learnt(made, tokenizer) == "hello" + END
    assert made.learnt_tokens == 5  # nothing predicts the first


CHAT = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "q1"},
    {"role": "assistant", "content": "a1"},
    {"role": "user", "content": "q2"},
    {"role": "assistant", "content": "a2"},
]


def test_of_a_conversation_the_assistants_turns_are_learnt(tokenizer: Any, tmp_path: Path) -> None:
    made = learn([{"messages": CHAT}], tokenizer, tmp_path)
    said = learnt(made, tokenizer)
    assert said.replace("\n", "") == f"a1{END}a2{END}"
    assert "q1" in whole(made, tokenizer)


def test_the_whole_conversation_is_learnt_when_asked(tokenizer: Any, tmp_path: Path) -> None:
    made = learn([{"messages": CHAT}], tokenizer, tmp_path, assistant_only_loss=False)
    assert learnt(made, tokenizer) == whole(made, tokenizer)


def test_a_prompt_of_turns_has_its_completion_learnt(tokenizer: Any, tmp_path: Path) -> None:
    made = learn([{"prompt": CHAT[:2], "completion": CHAT[2:3]}], tokenizer, tmp_path)
    assert learnt(made, tokenizer).replace("\n", "") == f"a1{END}"


def test_rows_are_cut_and_counted(tokenizer: Any, tmp_path: Path) -> None:
    rows = [{"prompt": "p" * 20, "completion": "c"}, {"prompt": "p", "completion": "c" * 20}]
    made = learn(rows, tokenizer, tmp_path, max_length=10)
    assert (len(made), made.cut, made.dropped) == (1, 2, [0])


def test_conversations_need_a_template(tmp_path: Path) -> None:
    folder = tiny.make_model(tmp_path / "bare", chat_template="")
    bare = load_tokenizer(tiny.make_job(folder, folder, folder).model)
    with pytest.raises(JobFailure, match="no chat template"):
        learn([{"messages": CHAT}], bare, tmp_path)


def test_the_labels_are_trls_own(tokenizer: Any, tmp_path: Path) -> None:
    """Against the rule of TRL's tokenise_fn: completion tokens are those beyond the common prefix."""
    rows = tiny.make_rows(7)
    made = learn(rows, tokenizer, tmp_path)
    for row, ids, labels in zip(rows, made.input_ids, made.labels, strict=True):
        prompt = tokenizer(f"{row['instruction']}\n\n")["input_ids"]
        assert list(ids) == tokenizer(f"{row['instruction']}\n\n{row['output']}{END}")["input_ids"]
        assert list(labels) == [tokens.IGNORED] * len(prompt) + list(ids[len(prompt) :])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', "a.jsonl:2 is not JSON"),
        ("a.jsonl", b'{"text": "x"}\n[1]\n', "a.jsonl:2 is [1], not an object"),
        ("a.jsonl", b'{"text": "x"}\n\n{"txt": "y"}\n', "a.jsonl:3: no `text`"),
        ("a.jsonl", b'{"text": 7}\n', "a.jsonl:1: `text` is 7, not a text"),
        ("a.jsonl", b'{"messages": "hi"}\n', 'a.jsonl:1: `messages` is "hi", not a list of role and content'),
        ("a.jsonl", b"", "no rows in"),
        ("a.jsonl", b'{"foo": 1}\n', "has the columns foo, which are no known form"),
        ("a.jsonl", b'{"text": "\xff"}\n', "a.jsonl:1 is not JSON"),
        ("a.json", b'[{"text": "x"}, 3]', "a.json: entry 2 is 3, not an object"),
        ("a.json", b'[{"text": "x"},', "a.json is not JSON"),
        ("a.csv", b"text\nx\na,b\n", "a.csv:3 has more fields than the header"),
        ("a.csv", b"text\n\xff\n", "a.csv is not UTF-8"),
        ("a.parquet", b"PAR1nonsense", "a.parquet is not Parquet"),
        ("a.txt", b"x", "a.txt is no data file"),
    ],
)
def test_a_broken_file_is_named_by_its_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(JobFailure) as caught:
        data.read(DataSource(files=(str(tmp_path / name),)), "auto")
    assert caught.value.kind == "data"
    assert message in caught.value.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobFailure, match=r"can't read .*none\.jsonl: No such file"):
        data.read(DataSource(files=(str(tmp_path / "none.jsonl"),)), "auto")


def test_all_kinds_of_files_give_the_same_rows(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"prompt": "a,b", "completion": "c"}, {"prompt": "d", "completion": 'e"f'}]
    tiny.write_rows(tmp_path / "r.jsonl", rows)
    (tmp_path / "r.json").write_text(json.dumps(rows))
    (tmp_path / "r.csv").write_text('prompt,completion\n"a,b",c\nd,"e""f"\n')
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "r.parquet")
    for name in ("r.jsonl", "r.json", "r.csv", "r.parquet"):
        assert data.read(DataSource(files=(str(tmp_path / name),)), "auto").rows == rows
    assert len(data.read(DataSource(files=(str(tmp_path),)), "prompt_completion")) == 8
    assert len(data.read(DataSource(files=(str(tmp_path / "*.[jp]*"),)), "auto")) == 6
