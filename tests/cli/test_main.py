import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sftrun.cli import main as door
from sftrun.cli.main import SECTIONS, cli, main
from sftrun.errors import RunBusy


def sftrun(*arguments: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "sftrun.cli.main", *arguments],
        cwd=cwd,
        env={**{name: value for name, value in os.environ.items() if name != "SFTRUN_HOME"}, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_lists_every_command_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {entry.name} " in said for entries in SECTIONS.values() for entry in entries)


def test_every_command_has_a_help_with_examples() -> None:
    context = click.Context(cli, info_name="sftrun")
    for entries in SECTIONS.values():
        for entry in entries:
            command = cli.get_command(context, entry.name)
            assert command is not None
            text = help_of(command, entry.name, context)
            assert "Example" in text, entry.name
            assert "sftrun " + entry.name in text, entry.name


def help_of(command: click.Command, name: str, parent: click.Context) -> str:
    """The help of a command, and of its commands."""
    context = click.Context(command, info_name=name, parent=parent)
    below = command.commands if isinstance(command, click.Group) else {}
    return "\n".join([command.get_help(context), *(help_of(c, n, context) for n, c in below.items())])


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sftrun ")


def test_a_misspelt_command_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["aply"]) == 2
    assert "no command `aply`; did you mean `apply`?" in capsys.readouterr().err


def test_a_misspelt_option_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--limmit", "3"]) == 2
    assert "--limit" in capsys.readouterr().err


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """`sftrun runs` raises what is put into the list."""
    errors: list[BaseException] = []

    @click.command()
    def command() -> None:
        raise errors[0]

    monkeypatch.setattr(door.LazyGroup, "get_command", lambda *_: command)
    return errors


def test_an_error_of_the_world_is_two_lines_and_its_code(
    broken: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    broken.append(RunBusy("somebody is at it", help="wait"))
    assert main(["runs"]) == 6
    assert capsys.readouterr() == ("", "error: somebody is at it\n  help: wait\n")


def test_a_bug_says_how_to_report_it_and_keeps_its_traceback(
    broken: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    broken.append(ZeroDivisionError("oh"))
    assert main(["runs"]) == 70
    said = capsys.readouterr().err
    assert "bug in sftrun: ZeroDivisionError: oh" in said
    assert "Traceback" not in said
    file = Path(said.rpartition("with ")[2].strip())
    assert "Traceback" in file.read_text()
    assert "$ sftrun runs" in file.read_text()
    file.unlink()


def test_a_bug_with_debug_prints_its_traceback(broken: list[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    broken.append(ZeroDivisionError("oh"))
    assert main(["--debug", "runs"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_130(broken: list[BaseException]) -> None:
    broken.append(KeyboardInterrupt())
    assert main(["runs"]) == 130


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; from sftrun.cli.main import main; sys.exit(main(['--help']))"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.close()
    assert child.wait(60) in (0, 1)
    assert child.stderr is not None
    assert child.stderr.read() == b""
    child.stderr.close()


def test_a_terminal_without_unicode_gets_question_marks(tmp_path: Path) -> None:
    done = sftrun("doctor", cwd=tmp_path, PYTHONIOENCODING="latin-1")
    assert done.returncode in (0, 1)
    assert "? python" in done.stdout


def test_doctor_names_the_command_that_mends(tmp_path: Path) -> None:
    done = sftrun(
        "doctor",
        "--format",
        "json",
        cwd=tmp_path,
        HOME=str(tmp_path),
        MODAL_TOKEN_ID="",
        MODAL_CONFIG_PATH=str(tmp_path / "none"),
    )
    findings = {finding["about"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["modal"]["mend"] == "modal token new"
    assert set(findings) == {"python", "packages", "gpu", "cpu", "ledger", "modal", "hub"}


def test_no_runs_yet_says_what_to_do(tmp_path: Path) -> None:
    done = sftrun("runs", cwd=tmp_path)
    assert done.returncode == 0
    assert "no runs in" in done.stdout
    assert not (tmp_path / ".sftrun").exists()


@pytest.mark.parametrize("command", ["show", "logs", "attach", "cancel"])
def test_an_unknown_run_is_one_message(tmp_path: Path, command: str) -> None:
    done = sftrun(command, "nothing", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no run answers to `nothing`")
    assert "Traceback" not in done.stderr


def completions(cwd: Path, *words: str) -> list[str]:
    done = sftrun(cwd=cwd, _SFTRUN_COMPLETE="bash_complete", COMP_WORDS=" ".join(words), COMP_CWORD=str(len(words) - 1))
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_completion_knows_commands_recipes_and_runs(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("")
    (tmp_path / "two.txt").write_text("")
    run = tmp_path / ".sftrun" / "runs" / "abcdef0123"
    run.mkdir(parents=True)
    manifest = {"id": "abcdef0123", "name": "mine", "created": 1.0, "executor": "local", "model": "m"}
    (run / "run.json").write_text(json.dumps(manifest))
    assert completions(tmp_path, "sftrun", "ap") == ["apply"]
    assert completions(tmp_path, "sftrun", "apply", "o") == ["one.yaml"]
    assert completions(tmp_path, "sftrun", "show", "m") == ["mine"]
    assert completions(tmp_path, "sftrun", "show", "ab") == ["abcdef0123"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_a_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_SFTRUN_COMPLETE" in capsys.readouterr().out
