"""`validate`, `explain`, `migrate`, `import`, `schema` as one calls them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sftrun.cli.main import cli
from sftrun.recipe.words.codes import TABLE

GOOD = """\
version: 1
name: good
model: {name_or_path: Qwen/Qwen2.5-0.5B-Instruct}   # the model
lora: {r: 16}
dataset: {train: {hub: tatsu-lab/alpaca}}
trainer: {max_steps: 60}
compute: {gpu: L4}
output: {dir: /data/good}
volumes: {/data: store}
"""
BAD = GOOD.replace("max_steps", "max_stepz")
MISNAMED = GOOD.replace("r: 16", "lora_rank: 16").replace("max_steps: 60", "lr: 2e-4, epochs: 1,  packing: yes")


def sftrun(*arguments: str | Path, stdin: str | bytes | None = None) -> tuple[int, Result]:
    done = CliRunner().invoke(cli, [str(one) for one in arguments], input=stdin, standalone_mode=False)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        return getattr(done.exception, "exit_code", 70), done
    return done.return_value or 0, done


@pytest.fixture
def good(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(GOOD)
    return tmp_path / "good.yaml"


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    (tmp_path / "bad.yaml").write_text(BAD)
    return tmp_path / "bad.yaml"


def test_a_good_recipe_exits_with_0(good: Path) -> None:
    code, done = sftrun("validate", "--offline", good)

    assert (code, done.stdout.splitlines()[-1]) == (0, f"{good}: ok")


def test_a_bad_recipe_exits_with_1_and_says_where(bad: Path) -> None:
    code, done = sftrun("validate", "--offline", bad)

    assert code == 1
    assert f"--> {bad}:6:11" in done.stdout
    assert done.stdout.splitlines()[-1] == f"{bad}: 1 error"


def test_a_folder_and_a_glob_name_all_their_recipes(good: Path, bad: Path) -> None:
    for name in (good.parent, good.parent / "*.yaml"):
        code, done = sftrun("validate", "--offline", name)

        assert code == 1
        assert [line.rpartition("/")[2] for line in done.stdout.splitlines()[-2:]] == [
            "bad.yaml: 1 error",
            "good.yaml: ok",
        ]


@pytest.mark.parametrize("name", ["empty", "none-*.yaml"])
def test_a_folder_or_glob_without_recipes_is_wrong_use(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()

    assert sftrun("validate", tmp_path / name)[0] == 2


def test_a_missing_file_is_a_diagnostic(tmp_path: Path) -> None:
    code, done = sftrun("validate", tmp_path / "none.yaml")

    assert code == 1
    assert "error[Y116]: there is no file" in done.stdout
    assert "none.yaml:1" not in done.stdout


def test_stdin_is_a_recipe_too() -> None:
    code, done = sftrun("validate", "--offline", "-", stdin=BAD)

    assert code == 1
    assert "--> <stdin>:6:11" in done.stdout


def test_stdin_of_any_bytes_is_a_diagnostic() -> None:
    code, done = sftrun("validate", "--offline", "-", stdin=b"\xff\xfe\x00")

    assert code == 1
    assert "error[Y108]" in done.stdout


def test_json_is_one_document_for_all_files(good: Path, bad: Path) -> None:
    code, done = sftrun("validate", "--offline", good, bad, "--format", "json")

    files = json.loads(done.stdout)["files"]
    assert code == 1
    assert [(Path(file["file"]).name, file["ok"]) for file in files] == [("good.yaml", True), ("bad.yaml", False)]


def test_github_gets_annotations(bad: Path) -> None:
    assert sftrun("validate", "--offline", bad, "--format", "github")[1].stdout.startswith(f"::error file={bad},line=6")


def test_a_warning_is_allowed_unless_strict(good: Path) -> None:
    override = "trainer.warmup_steps=100"

    assert sftrun("validate", "--offline", good, "--set", override)[0] == 0
    assert sftrun("validate", "--offline", good, "--set", override, "--strict")[0] == 1


def test_fix_corrects_what_is_certain_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(MISNAMED.replace("\n", "\r\n").encode())

    code, done = sftrun("validate", "--offline", "--fix", file)

    wanted = MISNAMED.replace("lora_rank", "r").replace("lr:", "learning_rate:").replace("epochs:", "num_train_epochs:")
    assert file.read_bytes().decode() == wanted.replace("yes", "true").replace("\n", "\r\n")
    assert code == 0
    assert "corrected 4 places" in done.stdout


def test_fix_leaves_a_key_that_stands_under_both_names(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(GOOD.replace("max_steps: 60", "learning_rate: 1e-4, lr: 2e-4"))

    assert sftrun("validate", "--offline", "--fix", file)[0] == 1
    assert "lr: 2e-4" in file.read_text()


@pytest.mark.parametrize("code", TABLE)
def test_every_code_can_be_explained(code: str) -> None:
    status, done = sftrun("explain", code.lower())

    assert status == 0
    assert TABLE[code].title in done.stdout


def test_explain_knows_keys_sections_and_other_tools_names() -> None:
    assert "takes a whole number of at least 1" in sftrun("explain", "trainer.max_length")[1].stdout
    assert "lora_dropout" in sftrun("explain", "lora")[1].stdout
    assert "R202" in sftrun("explain")[1].stdout
    assert sftrun("explain", "micro_batch_size")[0] == 2
    assert sftrun("explain", "seed")[0] == 0


def test_migrate_writes_checks_and_prints(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("name: a\nlora_r: 8 # small\n")

    assert sftrun("migrate", "--check", file)[0] == 1
    assert sftrun("migrate", "--stdout", file)[0] == 0
    assert file.read_text() == "name: a\nlora_r: 8 # small\n"
    assert sftrun("migrate", file)[0] == 0
    assert file.read_text() == "version: 1\nname: a\nlora:\n  r: 8 # small\n"
    assert sftrun("migrate", "--check", file)[0] == 0


@pytest.mark.parametrize("command", ["migrate", "import"])
def test_a_file_that_can_not_be_read_is_told_so(tmp_path: Path, command: str) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    for name in ("none.yaml", "latin.yaml"):
        code, done = sftrun(command, tmp_path / name)

        assert code == 1
        assert "latin.yaml" in str(done.exception) or "none.yaml" in str(done.exception)


def test_import_writes_a_new_file_and_never_over_another(tmp_path: Path) -> None:
    source = Path(__file__).parent.parent / "recipe/imports/trl.yaml"

    assert sftrun("import", source, "-o", tmp_path / "r.yaml")[0] == 0
    assert sftrun("import", source, "-o", tmp_path / "r.yaml")[0] == 1
    assert "version: 1" in (tmp_path / "r.yaml").read_text()


@pytest.mark.parametrize("name", ["recipe", "plan", "event", "report"])
def test_schemas_are_valid_json_schemas(name: str) -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(json.loads(sftrun("schema", name)[1].stdout))


@pytest.mark.parametrize("command", ["validate", "explain", "migrate", "import", "schema"])
def test_help_shows_examples(command: str) -> None:
    assert f"sftrun {command}" in sftrun(command, "--help")[1].stdout
