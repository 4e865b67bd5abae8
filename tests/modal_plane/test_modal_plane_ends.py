"""The plane's end: nothing of it waits on, and no socket of it is left."""

import asyncio
import gc
import socket
import warnings
from contextlib import suppress
from pathlib import Path

import modal

from modal_plane import Plane
from modal_plane.state import Bell
from modal_plane.wire import _transport
from modal_plane.work import WAIT, Spawn, holds, jobs

pytest_plugins = ["modal_plane.fixtures"]


def test_one_who_waits_for_the_bell_is_cancelled_also_at_the_moment_when_it_rings() -> None:
    async def serve(bell: Bell) -> None:
        while True:
            await bell.rung(60.0)

    async def scene() -> list[bool]:
        bell = Bell()
        waiters = [asyncio.ensure_future(work) for work in (bell.until(lambda: None, 60.0), serve(bell))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        bell.ring()
        await asyncio.sleep(0)
        for waiter in waiters:
            waiter.cancel()
        await asyncio.wait(waiters, timeout=1.0)
        return [waiter.cancelled() for waiter in waiters]

    assert asyncio.run(scene()) == [True, True]


def test_a_plane_that_was_used_leaves_no_socket_open(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ResourceWarning)
        with Plane(tmp_path / "plane") as plane, plane.client() as client:
            there = modal.Volume.from_name("data", create_if_missing=True, version=2, client=client)
            there.hydrate(client)
            idle = socket.create_connection(("127.0.0.1", int(plane.url.rsplit(":", 1)[1])))
            assert list(there.listdir("/")) == []
            kept = [transport for each in plane._server._protocols if (transport := _transport(each))]
            assert kept
        assert [transport.get_extra_info("socket").fileno() for transport in kept] == [-1] * len(kept)
        with idle:
            idle.settimeout(WAIT)
            _until_hung_up(idle)
        del plane, client, kept
        gc.collect()
    assert [str(each.message) for each in seen if "socket" in str(each.message)] == []


def test_a_plane_ends_under_a_container_that_works_and_a_client_that_waits(plane: Plane, spawn: Spawn) -> None:
    spawn(jobs.hold)
    holds(plane)


def _until_hung_up(peer: socket.socket) -> None:
    with suppress(ConnectionResetError):
        while peer.recv(1024):
            pass
