"""The engine's side of a host: takes orders, runs them on the engine's loop, sends reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from teola.runtime.hosts.errors import EngineCallError, EngineDied
from teola.runtime.hosts.factory import engine_method, make_engine, start_error
from teola.runtime.hosts.messages import Call, Cancel, Died, Events, Order, Raised, Report, Result


class EngineService:
    """One engine and the calls running on it; used on one event loop only."""

    def __init__(
        self, factory: str, config: Mapping[str, Any], send: Callable[[Report], None]
    ) -> None:
        self._factory = factory
        self._config = config
        self._send = send
        self._engine: Any = None
        self._running: dict[int, asyncio.Task[None]] = {}

    def take(self, order: Order) -> None:
        """Begin what ``order`` says."""
        if isinstance(order, Cancel):
            if task := self._running.get(order.number):
                task.cancel()
            return
        task = asyncio.get_running_loop().create_task(self._run(order))
        self._running[order.number] = task
        task.add_done_callback(lambda task: self._ended(order.number, task))

    def _ended(self, number: int, task: asyncio.Task[None]) -> None:
        del self._running[number]
        if task.cancelled():  # perhaps before its first step
            self._send(Raised(number, EngineCallError("the call was cancelled")))

    async def _run(self, call: Call) -> None:
        try:
            value = await self._call(call.method, call.arguments)
        except EngineDied as error:
            self._send(Died(error.reason))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets it
            self._send(Raised(call.number, error))
        else:
            self._send(Result(call.number, value))

    async def _call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        if method != "start":
            return await engine_method(self._engine, method)(*arguments)
        try:
            self._engine = make_engine(self._factory, self._config)
            if hasattr(self._engine, "listen"):
                self._engine.listen(lambda events: self._send(Events(events)))
            return await self._engine.start()
        except Exception as error:
            raise start_error(self._factory, error) from error

    async def close(self) -> None:
        """Cancel what runs, then close the engine."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if self._engine is not None:
            await self._engine.close()
