"""A key that a library printed stays where it was printed: no command, page or file that is shown around repeats it."""

import json
from pathlib import Path

import pytest

from tests.run.cli_runs import Place

KEY = "hf_abcdefghijklmnopqrstuvwxyz0123456789"
BELL = "\x1b]0;title\x07"


@pytest.fixture
def told(place: Place) -> Place:
    """A failed run whose record and log have a key and what a terminal would obey, wherever text may stand."""
    place.sftrun("apply", "r.yaml", FAKE_FAIL_AT="7")
    lines = []
    for event in place.events():
        for name in ("message", "help", "text", "prompt"):
            if name in event:
                event[name] = f"{event[name]} {KEY} {BELL}"
        if "tail" in event:
            event["tail"] = [f"token={KEY}{BELL}"]
        lines.append(json.dumps(event))
    (place.run / "events.jsonl").write_text("\n".join(lines) + "\n")
    (place.run / "worker.log").write_text(f"progress\rtoken={KEY}{BELL}\n")
    return place


def test_no_command_repeats_it(told: Place) -> None:
    run = told.run.name
    for words in (
        ("show", run),
        ("show", run, "--format", "json"),
        ("report", run),
        ("report", run, "--format", "json"),
        ("report", run, "--html", "-"),
        ("logs", run),
        ("attach", run),
        ("runs",),
    ):
        done = told.sftrun(*words)
        said = done.stdout + done.stderr
        assert said, words
        assert KEY not in said, words
        assert not {"\x1b", "\x07", "\r"} & set(said), words
    assert KEY not in (told.run / "report.json").read_text()


def test_a_log_keeps_its_lines(told: Place) -> None:
    assert told.sftrun("logs", told.run.name).stdout.splitlines()[0] == "progress"


def test_a_key_over_two_chunks_is_one(place: Place) -> None:
    from sftrun.cli.runs import logs

    place.sftrun("apply", "r.yaml")
    text = "x" * (logs._CHUNK_BYTES - 10) + f" {KEY}\n"
    (place.run / "worker.log").write_text(text)
    assert KEY not in place.sftrun("logs", place.run.name).stdout


def test_a_bug_s_file_has_none(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sftrun.cli import main

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    main._bug(ValueError(f"no {KEY}"), ["generate", "r", KEY])
    (file,) = tmp_path.glob("sftrun-bug-*")
    assert KEY not in file.read_text()
