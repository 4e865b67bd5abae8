"""What a job posts, a watcher reads: all of it, once, in order, over pages and attempts."""

import json
import threading

import pytest

from sftrun.contract import events
from sftrun.run.modal.board import PAGE, close, page_key, read, stop_key
from sftrun.run.modal.container.poster import Poster


class Memory(dict[str, str]):
    """A store that refuses the first `failures` puts."""

    failures = 0

    def put(self, key: str, value: str, *, skip_if_exists: bool = False) -> bool:
        if skip_if_exists and key in self:
            return False
        if self.failures:
            self.failures -= 1
            raise ConnectionError("down")
        self[key] = value
        return True


def line(seq: int) -> str:
    return json.dumps({"seq": seq, "kind": "note"})


def posted(store: Memory, first: int, last: int) -> None:
    board = Poster(store, "r", lambda: None)
    for seq in range(first, last + 1):
        board.post(line(seq))
    board.close()


def test_all_lines_come_back_in_order_over_several_pages() -> None:
    store = Memory()
    posted(store, 1, 3 * PAGE)
    assert read(store, "r", 0) == [line(seq) for seq in range(1, 3 * PAGE + 1)]


def test_a_line_with_characters_that_end_lines_elsewhere_stays_one() -> None:
    store, odd = Memory(), events.dump(events.Note(seq=1, message="a\u2028b\x85c"))
    poster = Poster(store, "r", lambda: None)
    poster.post(odd)
    poster.close()
    posted(store, 2, 3)
    assert read(store, "r", 0) == [odd, line(2), line(3)]


def test_a_page_that_somebody_has_damaged_ends_where_it_is_damaged() -> None:
    store = Memory()
    posted(store, 1, 3)
    store[page_key("r", 0)] += "\n[1]\n{"
    assert read(store, "r", 0) == [line(1), line(2), line(3)]


def test_a_watcher_gets_only_what_is_new() -> None:
    store = Memory()
    posted(store, 1, PAGE + 5)
    assert read(store, "r", PAGE + 3) == [line(PAGE + 4), line(PAGE + 5)]
    assert read(store, "r", PAGE + 5) == []


def test_a_new_attempt_goes_on_with_the_page_of_the_last() -> None:
    store = Memory()
    posted(store, 1, 10)
    posted(store, 11, 12)
    assert read(store, "r", 0) == [line(seq) for seq in range(1, 13)]


def test_lines_that_an_attempt_lost_are_replaced_by_those_of_the_next() -> None:
    store = Memory()
    posted(store, 1, 10)
    posted(store, 8, 9)  # seq 8 to 10 were never committed
    assert read(store, "r", 0) == [line(seq) for seq in range(1, 10)]


def test_a_store_that_does_not_answer_loses_nothing() -> None:
    store = Memory()
    store.failures = 1
    posted(store, 1, 5)
    assert read(store, "r", 0) == [line(seq) for seq in range(1, 6)]


def test_a_wiped_board_says_nothing() -> None:
    assert read(Memory(), "r", 7) == []
    assert page_key("r", 0) == "r/0"


@pytest.mark.slow
def test_a_stop_asked_for_is_heard_once() -> None:
    store = Memory({stop_key("r"): "user"})
    heard, calls = threading.Event(), []

    def on_stop() -> None:
        calls.append(1)
        heard.set()

    board = Poster(store, "r", on_stop)
    assert heard.wait(60)
    board.close()
    assert calls == [1]


@pytest.mark.slow
def test_a_stop_that_could_not_be_noted_is_heard_again() -> None:
    store = Memory({stop_key("r"): "user"})
    heard, calls = threading.Event(), []

    def on_stop() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("the disk is full")
        heard.set()

    board = Poster(store, "r", on_stop)
    assert heard.wait(60)
    board.close()
    assert calls == [1, 1]


def test_the_last_word_for_a_silent_attempt_is_said_once_and_only_at_its_end() -> None:
    store = Memory()
    posted(store, 1, 3)
    assert close(store, "r", line(4)) == line(4)
    assert close(store, "r", json.dumps({"seq": 4, "kind": "other"})) == line(4)
    assert read(store, "r", 0) == [line(1), line(2), line(3)]
    close(store, "r", line(5))
    assert read(store, "r", 0, has_ended=True) == [line(1), line(2), line(3), line(4), line(5)]
