"""What is seen of a transfer, by a clock that the test turns."""

import io

from sftrun.run.transfer import Transfer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_short_transfer_shows_nothing() -> None:
    said: list[str] = []
    stream, clock = Terminal(), Clock()
    with Transfer("uploaded", 10_000_000, said.append, stream, clock) as bar:
        clock.now += 1.9
        bar.move(advance=10_000_000)
    assert (stream.getvalue(), said) == ("", [])


def test_a_terminal_gets_a_bar_with_bytes_and_rate_after_two_seconds() -> None:
    said: list[str] = []
    stream, clock = Terminal(), Clock()
    with Transfer("uploaded", 100_000_000, said.append, stream, clock) as bar:
        clock.now += 4.0
        bar.move(advance=50_000_000)
        bar.move(advance=10_000_000)  # too soon to be drawn again
        assert stream.getvalue() == f"\r\x1b[K  {'━' * 12}{' ' * 12}  50% of 100.0 MB, 12.5 MB/s"
        clock.now += 4.0
        bar.move(advance=40_000_000)
    assert stream.getvalue().endswith("100% of 100.0 MB, 12.5 MB/s\r\x1b[K")
    assert said == ["uploaded 100.0 MB in 8 s, 12.5 MB/s"]


def test_what_has_to_be_sent_again_is_taken_off() -> None:
    with Transfer("uploaded", 100, lambda _: None, Terminal(), Clock()) as bar:
        bar.move(advance=60)
        bar.move(advance=-60)
    assert bar.moved == 0


def test_elsewhere_lines_come_now_and_then() -> None:
    said: list[str] = []
    stream, clock = io.StringIO(), Clock()
    with Transfer("uploaded", 300_000_000, said.append, stream, clock) as bar:
        for _ in range(30):
            clock.now += 1.0
            bar.move(advance=10_000_000)
    assert stream.getvalue() == ""
    assert said == [
        "uploaded 20.0 of 300.0 MB, 10.0 MB/s",
        "uploaded 120.0 of 300.0 MB, 10.0 MB/s",
        "uploaded 220.0 of 300.0 MB, 10.0 MB/s",
        "uploaded 300.0 MB in 30 s, 10.0 MB/s",
    ]


def test_a_transfer_that_breaks_off_leaves_no_bar_and_no_word_of_success() -> None:
    said: list[str] = []
    stream, clock = Terminal(), Clock()
    try:
        with Transfer("uploaded", 100, said.append, stream, clock) as bar:
            clock.now += 5.0
            bar.move(advance=50)
            raise OSError
    except OSError:
        pass
    assert stream.getvalue().endswith("\r\x1b[K")
    assert said == []
