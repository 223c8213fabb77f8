"""An engine whose coroutines run on the caller's own event loop: fakes, simulated engines."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from teola.runtime.engines.protocol import Capabilities, TokenEvent
from teola.runtime.engines.registry import EngineEntry
from teola.runtime.hosts.errors import EngineCallError, EngineDied, HostError
from teola.runtime.hosts.factory import engine_method, make_engine, start_error
from teola.runtime.hosts.handle import OnStatus
from teola.runtime.hosts.host import Host

logger = logging.getLogger(__name__)


class LoopHost(Host):
    """No thread, no process, no copy: a call costs what the engine costs."""

    def __init__(self, entry: EngineEntry, config: Mapping[str, Any], on_status: OnStatus) -> None:
        super().__init__(entry, config, on_status)
        self._engine: Any = None
        self._running: set[asyncio.Task[Any]] = set()
        self._failed: dict[asyncio.Task[Any], HostError] = {}

    async def _launch(self) -> Capabilities:
        try:
            engine = make_engine(self._entry.factory, self._config)
            self._engine = engine
            if hasattr(engine, "listen"):
                engine.listen(lambda events: self._hear(engine, events))
            capabilities: Capabilities = await engine.start()
        except Exception as error:
            raise start_error(self._entry.factory, error) from error
        return capabilities

    async def _call(self, method: str, *arguments: Any) -> Any:
        self._require_alive()
        task = asyncio.current_task()
        if task is None:
            raise EngineCallError("an engine is called from a task of the event loop")
        self._running.add(task)
        try:
            return await engine_method(self._engine, method)(*arguments)
        except EngineDied as error:
            self._running.discard(task)
            self._note_death(error)
            raise
        except asyncio.CancelledError:
            failed = self._failed.get(task)
            if failed is not None and task.uncancel() == 0:
                raise copy.copy(failed) from None
            raise
        finally:
            self._running.discard(task)
            self._failed.pop(task, None)

    def _hear(self, engine: Any, events: Sequence[TokenEvent]) -> None:
        if engine is self._engine:  # one from before a restart is not heard
            self._deliver(events)

    def _fail_calls(self, error: HostError) -> None:
        for task in self._running:
            self._failed[task] = error
            task.cancel()

    async def _shut(self) -> None:
        engine, self._engine = self._engine, None
        if engine is None:
            return
        try:
            await engine.close()
        except Exception:  # an engine that fails to close is gone all the same
            logger.warning("closing %s failed", self._entry.factory, exc_info=True)
