"""What holds for all tests.

One thread for each library's arithmetic: tests run beside each other, and threads that wait for a core spin.

A test is slow (more than a second) if it is marked so or has a fixture that starts processes; what starts a job's
processes asks for the mark (`tests.warm.start`).  Slow ones come first, those of the last files, which are whole runs,
before others: what fills the end of a run of all tests is short.
"""

import os
import signal

import pytest

from tests import warm

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before anything loads them; processes that tests start inherit it
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it, and so would children

STARTS_PROCESSES = {"place", "desk", "plane"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if STARTS_PROCESSES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("slow")
    files = {file: -number for number, file in enumerate(dict.fromkeys(item.path for item in items))}
    items.sort(key=lambda item: (not is_slow(item), files[item.path]))


def pytest_runtest_setup(item: pytest.Item) -> None:
    warm.is_allowed = is_slow(item)


def is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None
