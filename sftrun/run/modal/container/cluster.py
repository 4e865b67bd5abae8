"""The machines of one attempt on Modal: who is who, and the few words between them.

The first machine supervises, keeps the record and answers; the others run their processes of the job.  They talk
through the Dict of the board, under the cluster's id, which is new with each attempt: the first says `go` once the
checkpoints are in order and `over` at the end, the others say how they failed or that they are taken away.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from zlib import crc32

import modal

from sftrun.contract import events
from sftrun.contract.events import Failed
from sftrun.contract.jobspec import ClusterSpec, JobSpec
from sftrun.job.supervise import peer
from sftrun.run.modal.board import Store

GO, OVER, TAKEN = "go", "over", "taken"
POLL_SECONDS = 1.0
PATIENCE_SECONDS = 900.0  # for the first machine, which has to put the record in order before it calls
# of the rendezvous: below those that systems give out by themselves, and not the same for two clusters on one host
PORTS = range(20_000, 30_000)


@dataclass(frozen=True)
class Cluster:
    """A machine's place among `size`, and where words are left for the others."""

    id: str
    rank: int
    address: str
    size: int
    store: Store

    def spec(self) -> ClusterSpec:
        return ClusterSpec(rank=self.rank, address=self.address, port=PORTS[crc32(self.id.encode()) % len(PORTS)])

    def say(self, word: str) -> None:
        self.store.put(self._key(self.rank), word)

    def heard(self, rank: int) -> str | None:
        """What that machine said last; None also where the Dict does not answer."""
        with suppress(Exception):
            return self.store.get(self._key(rank))
        return None

    def dismiss(self) -> None:
        """Send the others home; where that can't be said they end with the processes that they have lost."""
        with suppress(Exception):
            self.say(OVER)

    def _key(self, rank: int) -> str:
        return f"{self.id}/{rank}"


def here(store: Store) -> Cluster:
    """This container's place."""
    found = modal.Cluster.from_context()
    addresses = found.container_ips()
    return Cluster(found.object_id, found.container_rank(), addresses[0], len(addresses), store)


def follow(job: JobSpec, cluster: Cluster, reload: Callable[[], None]) -> int:
    """On a machine that is not the first: wait for it, see the Volume as it has left it, then run with it."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while (word := cluster.heard(0)) is None and time.monotonic() < give_up:
        time.sleep(POLL_SECONDS)
    if word != GO:
        return 0
    job = job.model_copy(update={"cluster": cluster.spec()})
    try:
        reload()
        failed = peer.attend(job, lambda: cluster.heard(0) == OVER, lambda: cluster.say(TAKEN))
    except Exception as error:
        said = f"machine {cluster.rank + 1} of {cluster.size}: {type(error).__name__}: {error}"
        failed = Failed(failure="error", stage="start", message=said)
    if failed is not None:
        cluster.say(events.dump(failed))
    return 0


class Lead:
    """The first machine's ear for the others.  `on_taken` is called when one is to go, until it has once gone well."""

    def __init__(self, cluster: Cluster, on_taken: Callable[[], None]) -> None:
        self._cluster, self._on_taken = cluster, on_taken
        self._failure: Failed | None = None
        self._taken = False
        self._failed, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._listen, name="cluster", daemon=True)
        self._thread.start()

    def call(self) -> None:
        """Have the others begin: the checkpoints are in order."""
        self._cluster.say(GO)

    def failure(self, wait_seconds: float) -> Failed | None:
        """How another machine failed; None if none has said so within that time."""
        self._failed.wait(wait_seconds)
        return self._failure

    def close(self) -> None:
        self._done.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._done.wait(POLL_SECONDS):
            for rank in range(1, self._cluster.size):
                with suppress(Exception):  # the word stands, and is read again
                    self._take(self._cluster.heard(rank))

    def _take(self, word: str | None) -> None:
        if word == TAKEN and not self._taken:
            self._on_taken()
            self._taken = True
        elif word and word != TAKEN and self._failure is None:
            event = events.parse(word)
            self._failure = event if isinstance(event, Failed) else None
            self._failed.set()
