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
from teola.runtime.hosts.errors import EngineDied, EngineStartError, HostError
from teola.runtime.hosts.handle import OnStatus
from teola.runtime.hosts.messages import Cancel, Died, Order, Raised, Report, Result
from teola.runtime.hosts.remote import RemoteHost
from teola.runtime.hosts.service import EngineService

CLOSE_S = 10.0
CANCEL_S = 30.0
"""A call cannot be cancelled while it blocks its thread: longer than any that is well."""
logger = logging.getLogger(__name__)


class ThreadHost(RemoteHost):
    """One dedicated thread with an event loop, where all of the engine's code runs.

    A thread cannot be ended from outside. One that hangs, so that it does not close or does not
    answer to the cancelling of a call, is left behind and the host is broken: every call and every
    start is refused from then on.
    """

    def __init__(self, entry: EngineEntry, config: Mapping[str, Any], on_status: OnStatus) -> None:
        super().__init__(entry, config, on_status)
        self._thread: _EngineThread | None = None
        self._cancelled: dict[int, asyncio.TimerHandle] = {}
        self._broken: str | None = None

    async def _launch(self) -> Capabilities:
        if self._broken is not None:
            raise EngineStartError(self._broken)
        self._gone = None
        self._thread = _EngineThread(self._entry.factory, self._config, self._receive)
        await self._thread.up
        return await self._start_engine()

    def _post(self, order: Order) -> None:
        if self._thread is None:
            return
        self._thread.post(order)
        if isinstance(order, Cancel):
            loop = asyncio.get_running_loop()
            late = loop.call_later(CANCEL_S, self._break, "answer to a cancelled call", CANCEL_S)
            self._cancelled[order.number] = late

    def _receive(self, report: Report) -> None:
        if isinstance(report, Died):
            self._expect_nothing()
        elif isinstance(report, Result | Raised) and report.number in self._cancelled:
            self._cancelled.pop(report.number).cancel()
        super()._receive(report)

    def _expect_nothing(self) -> None:
        for late in self._cancelled.values():
            late.cancel()
        self._cancelled.clear()

    def _require_alive(self) -> None:
        if self._broken is not None:
            raise HostError(self._broken)
        super()._require_alive()

    def _break(self, missed: str, limit_s: float) -> None:
        """The thread did not do what it must."""
        if self._broken is not None:
            return
        self._broken = (
            f"the engine's thread hangs: it did not {missed} within {limit_s:g} s. A thread cannot "
            "be ended: start the program again"
        )
        logger.warning("%s: %s", self._entry.factory, self._broken)
        self._end(EngineDied(self._broken))

    async def _shut(self) -> None:
        self._expect_nothing()
        limit_s = CLOSE_S if self._broken is None else 0
        if self._thread is not None and not await self._thread.stop(limit_s):
            self._break("close", limit_s)
        self._thread = None


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
        if not self._stopped:  # else it was stopped before there was a loop to say so on
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
