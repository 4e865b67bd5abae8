"""An event loop in a thread of its own, and three ways into it."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE_SECONDS = 300.0


class LoopThread:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="modal plane", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End all that still runs there, then the thread."""
        self.do(_cancel_the_rest())
        self.do(self.loop.shutdown_asyncgens())
        self.do(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_SECONDS)

    def run(self, act: Callable[[], T]) -> T:
        """Call a plain function where it may touch the plane's state."""

        async def inside() -> T:
            return act()

        return self.do(inside())

    def later(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def waiting() -> None:
            await asyncio.sleep(seconds)
            await work()

        asyncio.run_coroutine_threadsafe(waiting(), self.loop)


async def _cancel_the_rest() -> None:
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
