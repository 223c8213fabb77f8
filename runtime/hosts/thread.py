"""An engine on a thread of its own: light engines that block, such as FAISS."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from teola.runtime.engines.protocol import Capabilities
from teola.runtime.engines.registry import EngineEntry
from teola.runtime.hosts.handle import OnStatus
from teola.runtime.hosts.messages import Order, Report
from teola.runtime.hosts.remote import RemoteHost
from teola.runtime.hosts.service import EngineService

CLOSE_S = 10.0
logger = logging.getLogger(__name__)


class ThreadHost(RemoteHost):
    """One dedicated thread with an event loop, where all of the engine's code runs.

    A thread cannot be ended from outside: one that hangs is left behind when it is closed, and
    that is logged.
    """

    def __init__(self, entry: EngineEntry, config: Mapping[str, Any], on_status: OnStatus) -> None:
        super().__init__(entry, config, on_status)
        self._thread: _EngineThread | None = None

    async def _launch(self) -> Capabilities:
        self._gone = None
        self._thread = _EngineThread(self._entry.factory, self._config, self._receive)
        await self._thread.up
        return await self._start_engine()

    def _post(self, order: Order) -> None:
        if self._thread is not None:
            self._thread.post(order)

    async def _shut(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None and not await thread.stop(CLOSE_S):
            logger.warning("the thread of %s does not end; it is left", self._entry.factory)


class _EngineThread:
    """The thread between two loops: the caller's, where this is made, and its own."""

    def __init__(
        self, factory: str, config: Mapping[str, Any], receive: Callable[[Report], None]
    ) -> None:
        self._caller = asyncio.get_running_loop()
        self._own: asyncio.AbstractEventLoop | None = None
        self._receive = receive
        self._service = EngineService(factory, config, self._send)
        self._stopping = asyncio.Event()
        self._stopped = False
        self.up = self._caller.create_future()
        self._down = self._caller.create_future()
        self._thread = threading.Thread(target=self._main, name="teola-engine", daemon=True)
        self._thread.start()

    def post(self, order: Order) -> None:
        """Hand ``order`` over."""
        self._on_own(self._service.take, order)

    async def stop(self, limit_s: float) -> bool:
        """Close the engine and end the thread; False when it takes too long."""
        self._stopped = True
        self._on_own(self._stopping.set)
        done, _ = await asyncio.wait([self._down], timeout=limit_s)
        if done:
            self._thread.join()
        return bool(done)

    def _main(self) -> None:
        asyncio.run(self._live())
        self._on_caller(_settle, self._down)

    async def _live(self) -> None:
        self._own = asyncio.get_running_loop()
        self._on_caller(_settle, self.up)
        await self._stopping.wait()
        try:
            await self._service.close()
        except Exception:  # an engine that fails to close is gone all the same
            logger.warning("closing an engine failed", exc_info=True)

    def _send(self, report: Report) -> None:
        self._on_caller(self._hear, report)

    def _hear(self, report: Report) -> None:
        if not self._stopped:  # what one from before a restart says does not count
            self._receive(report)

    def _on_own(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._own is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed: nobody is there
                self._own.call_soon_threadsafe(function, *arguments)

    def _on_caller(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the caller's loop is closed: nobody waits
            self._caller.call_soon_threadsafe(function, *arguments)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
