"""What hosts share whose engine has an event loop of its own: calls by number, answered later."""

from __future__ import annotations

import asyncio
import copy
import itertools
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from teola.runtime.engines.protocol import Capabilities
from teola.runtime.engines.registry import EngineEntry
from teola.runtime.hosts.errors import EngineDied, EngineStartError, HostError
from teola.runtime.hosts.handle import OnStatus
from teola.runtime.hosts.host import Host
from teola.runtime.hosts.messages import Call, Cancel, Died, Events, Order, Raised, Report


class RemoteHost(Host):
    """Sends orders and matches reports; subclasses carry both."""

    def __init__(self, entry: EngineEntry, config: Mapping[str, Any], on_status: OnStatus) -> None:
        super().__init__(entry, config, on_status)
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._gone: EngineDied | None = None

    @property
    def unanswered(self) -> frozenset[int]:
        """The calls on their way, by number."""
        return frozenset(self._waiting)

    @abstractmethod
    def _post(self, order: Order) -> None:
        """Send ``order`` and return at once; nothing when nobody is there any more."""

    def _last_lines(self) -> Sequence[str]:
        """What the engine printed last, where that is known."""
        return ()

    async def _call(self, method: str, *arguments: Any) -> Any:
        self._require_alive()
        return await self._ask(method, *arguments)

    async def _start_engine(self) -> Capabilities:
        try:
            capabilities: Capabilities = await self._ask("start")
        except EngineDied as error:
            raise EngineStartError(f"while starting, {error.reason}", error.output) from error
        if self._gone is not None:
            raise EngineStartError(f"just started, {self._gone.reason}", self._gone.output)
        return capabilities

    async def _ask(self, method: str, *arguments: Any) -> Any:
        number = next(self._numbers)
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = reply
        try:
            self._post(Call(number, method, arguments))
            return await reply
        except asyncio.CancelledError:
            if self._waiting.pop(number, None) is not None:
                self._post(Cancel(number))
            elif not reply.cancelled():
                reply.exception()  # it came just before; nobody else will look at it
            raise

    def _receive(self, report: Report) -> None:
        """Take one report, on the caller's event loop."""
        if isinstance(report, Events):
            asyncio.get_running_loop().call_soon(self._deliver, report.events)
        elif isinstance(report, Died):
            self._end(EngineDied(report.reason, self._last_lines()))
        elif (reply := self._waiting.pop(report.number, None)) is not None and not reply.done():
            if isinstance(report, Raised):
                reply.set_exception(report.error)
            else:
                reply.set_result(report.value)

    def _end(self, error: EngineDied) -> None:
        """The engine has ended on its own, in whatever state it was."""
        self._gone = error
        self._note_death(error)
        self._fail_calls(error)

    def _fail_calls(self, error: HostError) -> None:
        waiting, self._waiting = self._waiting, {}
        for reply in waiting.values():
            if not reply.done():
                reply.set_exception(copy.copy(error))
