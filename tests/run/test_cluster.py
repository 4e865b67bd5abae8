"""The words between the machines of a run, without machines."""

import threading

import pytest

from sftrun.contract import events
from sftrun.contract.events import Failed
from sftrun.contract.jobspec import JobSpec
from sftrun.run.modal.container import cluster
from sftrun.run.modal.container.cluster import GO, OVER, PORTS, TAKEN, Cluster, Lead, follow

JOB = JobSpec.model_construct(nodes=2)
FAILED = Failed(failure="out_of_memory", stage="train", message="machine 2 of 2: the GPU ran out of memory")


class Memory(dict[str, str]):
    """A store."""

    def put(self, key: str, value: str, *, skip_if_exists: bool = False) -> bool:
        self[key] = value
        return True


def machine(rank: int, store: Memory, id: str = "cu-1") -> Cluster:
    return Cluster(id, rank, "fd00::1", 2, store)


def never() -> None:
    raise AssertionError("it was not to begin")


def test_a_machine_that_is_told_that_it_is_over_begins_nothing() -> None:
    store = Memory()
    machine(0, store).say(OVER)
    assert follow(JOB, machine(1, store), never) == 0


def test_a_machine_whose_first_never_calls_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE_SECONDS", 0.0)
    assert follow(JOB, machine(1, Memory()), never) == 0


def test_a_machine_that_can_t_begin_says_why() -> None:
    store = Memory()
    machine(0, store).say(GO)

    def refuse() -> None:
        raise RuntimeError("there are open files")

    follow(JOB, machine(1, store), refuse)
    said = events.parse(store["cu-1/1"])
    assert isinstance(said, Failed)
    assert said.message == "machine 2 of 2: RuntimeError: there are open files"


def test_the_first_machine_hears_how_another_failed() -> None:
    store = Memory()
    lead = Lead(machine(0, store), never)
    assert "cu-1/0" not in store
    lead.call()
    assert store["cu-1/0"] == GO
    assert lead.failure(0.0) is None
    machine(1, store).say(events.dump(FAILED))
    assert lead.failure(30.0) == FAILED
    lead.close()


def test_the_first_machine_hears_once_that_another_is_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.01)
    store, times, heard = Memory(), [], threading.Event()

    def taken() -> None:
        times.append(1)
        heard.set()

    machine(1, store).say(TAKEN)
    lead = Lead(machine(0, store), taken)
    assert heard.wait(30.0)
    machine(1, store).say(events.dump(FAILED))
    assert lead.failure(30.0) == FAILED
    lead.close()
    assert times == [1]


def test_the_first_machine_listens_on_when_it_could_not_pass_on_what_it_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.01)
    store, times, heard = Memory(), [], threading.Event()

    def taken() -> None:
        times.append(1)
        if len(times) == 1:
            raise OSError("the disk is full")
        heard.set()

    machine(1, store).say(TAKEN)
    lead = Lead(machine(0, store), taken)
    assert heard.wait(30.0)
    lead.close()
    assert times == [1, 1]


def test_words_of_an_earlier_attempt_are_not_heard() -> None:
    store = Memory()
    machine(0, store, "cu-1").say(OVER)
    assert machine(1, store, "cu-2").heard(0) is None
    ports = {machine(0, store, f"cu-{number}").spec().port for number in range(50)}
    assert len(ports) > 45
    assert ports <= set(PORTS)
