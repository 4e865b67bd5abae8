"""The wire between client and plane as a TCP proxy, so that a test can cut it or make it fall silent.

Clients connect here; containers do not (theirs is a unix socket), so a cut hits the laptop and not the job.
"""

import asyncio
import socket
from contextlib import suppress

CHUNK = 1 << 16


class Wire:
    """One listening port that forwards to one port of the plane."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._held: socket.socket | None = None
        self._pumps: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.port = 0

    async def open(self, port: int = 0) -> None:
        """Listen; does nothing when it does already."""
        if self._server is None:
            self._held = self._held or _bound(port)
            self.port = self._held.getsockname()[1]
            self._server = await asyncio.start_server(self._connected, sock=self._held)
            self._held = None

    async def cut(self) -> None:
        """Break each connection and refuse new ones until `open`."""
        if self._server:
            self._server.close()
            self._server = None
            self._held = _bound(self.port)  # bound and not listening: connections are refused, the port stays ours
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def close(self) -> None:
        await self.cut()
        if self._held:
            self._held.close()

    def silence(self) -> None:
        """Keep connections open and let nothing through until `resume`."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pump = asyncio.ensure_future(self._join(reader, writer))
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_writer: asyncio.StreamWriter | None = None
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            there, back = (
                asyncio.ensure_future(self._pump(*way)) for way in ((reader, far_writer), (far_reader, writer))
            )
            try:
                await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            finally:
                there.cancel()
                back.cancel()
                await asyncio.gather(there, back, return_exceptions=True)
        except OSError:
            pass
        finally:
            ends = [end for end in (writer, far_writer) if end]
            for end in ends:
                end.transport.abort()
            for end in ends:
                with suppress(OSError):
                    await end.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()


def _bound(port: int) -> socket.socket:
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", port))
    held.setblocking(False)
    return held
