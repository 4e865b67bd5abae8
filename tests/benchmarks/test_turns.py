"""Who measures is alone: with real processes, told by what the kernel says of them."""

import sys
from pathlib import Path

from benchmarks.turns import Group, Turns

FOLDER = Path(__file__).parents[2] / "benchmarks"
BEGIN = f"""
import os, signal, sys
sys.path.insert(0, {str(FOLDER)!r})
from turns import Turn
turn = Turn(int(sys.argv[-1]))
"""
WORK = "while True: pass"
STATE = "def state(): return open(f'/proc/{sys.argv[1]}/stat').read().rpartition(')')[2].split()[0]\n"


def test_others_are_stopped_while_one_measures_and_go_on_after(tmp_path: Path) -> None:
    turns = Turns()
    working = _start(turns, tmp_path, "working", WORK)
    look = "turn.measure()\nwhile state() != 'T': pass\nturn.over()\nwhile state() == 'T': pass\n"
    measuring = _start(turns, tmp_path, "measuring", STATE + look + "print('went on')", working)
    _serve_until_gone(turns, measuring)
    assert (tmp_path / "measuring.log").read_text() == "went on\n"
    turns.end()
    assert working.lost > 0


def test_one_that_is_killed_while_it_measures_lets_the_next_one_measure(tmp_path: Path) -> None:
    turns = Turns()
    killed = _start(turns, tmp_path, "killed", "turn.measure(); os.kill(os.getpid(), signal.SIGKILL)")
    _serve_until_gone(turns, killed)
    following = _start(turns, tmp_path, "following", "turn.measure(); print('alone')")
    _serve_until_gone(turns, following)
    assert (tmp_path / "following.log").read_text() == "alone\n"
    turns.end()


def test_two_that_want_to_measure_do_it_in_turn(tmp_path: Path) -> None:
    turns = Turns()
    both = [_start(turns, tmp_path, name, "turn.measure(); print(turn.over() > 0)") for name in ("one", "other")]
    for group in both:
        _serve_until_gone(turns, group)
    assert [(tmp_path / f"{name}.log").read_text() for name in ("one", "other")] == ["True\n"] * 2
    turns.end()


def test_a_loaders_worker_does_not_keep_the_line_of_its_killed_parent_open(tmp_path: Path) -> None:
    turns = Turns()
    code = "turn.measure()\nif os.fork() == 0: signal.pause()\nos.kill(os.getpid(), signal.SIGKILL)"
    killed = _start(turns, tmp_path, "killed", code)
    _serve_until_gone(turns, killed)
    assert turns.alone is None
    killed.send(15)
    turns.end()


def _start(turns: Turns, folder: Path, name: str, code: str, other: Group | None = None) -> Group:
    seen = [str(other.process.pid)] if other else []
    return turns.start([sys.executable, "-c", BEGIN + code, *seen], folder, folder / f"{name}.log", {})


def _serve_until_gone(turns: Turns, group: Group) -> None:
    while group in turns.groups:
        turns.serve(1.0)
    group.process.wait()
