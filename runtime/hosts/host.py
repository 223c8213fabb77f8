"""What all hosts share: weights first, states, epochs, and the one place where death is noted."""

from __future__ import annotations

import asyncio
import copy
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Any

from teola.runtime.engines.protocol import (
    Capabilities,
    Emit,
    Failure,
    Generate,
    Request,
    TokenEvent,
)
from teola.runtime.engines.registry import EngineEntry
from teola.runtime.hosts.errors import EngineDied, EngineStartError, HostError
from teola.runtime.hosts.handle import OnStatus
from teola.runtime.models import ensure

CLOSED_EARLY = "the engine was closed while it was starting"
START_S = 3600.0
"""An engine that is not up by then hangs; the largest models take tens of minutes."""


class State(Enum):
    """Where an engine is in its life."""

    NEW = auto()
    STARTING = auto()
    ALIVE = auto()
    DEAD = auto()
    CLOSED = auto()


class Host(ABC):
    """A handle; subclasses say how an engine is launched, called and shut."""

    def __init__(self, entry: EngineEntry, config: Mapping[str, Any], on_status: OnStatus) -> None:
        self._entry = entry
        self._config = dict(config)
        self._on_status = on_status
        self._emit: Emit | None = None
        self._state = State.NEW
        self._epoch = 0
        self._capabilities: Capabilities | None = None
        self._died: asyncio.Future[EngineDied] | None = None
        self._starting: asyncio.Task[Capabilities] | None = None

    @property
    def epoch(self) -> int:
        """See `EngineHandle.epoch`."""
        return self._epoch

    @property
    def capabilities(self) -> Capabilities:
        """See `EngineHandle.capabilities`."""
        if self._capabilities is None:
            raise HostError("the engine has not been started")
        return self._capabilities

    @property
    def died(self) -> asyncio.Future[EngineDied]:
        """See `EngineHandle.died`."""
        if self._died is None:
            raise HostError("the engine has not been started")
        return self._died

    @property
    def unanswered(self) -> frozenset[int]:
        """The calls on their way, by number, where they have any."""
        return frozenset()

    def listen(self, emit: Emit) -> None:
        """See `LLMEngine.listen`."""
        self._emit = emit

    async def start(self) -> Capabilities:
        """Fetch the weights, bring the engine up, and return what it can do.

        Raises:
            ModelError: the weights cannot be had.
            EngineStartError: the engine could not start.
            HostError: it was closed meanwhile.
        """
        if self._state in (State.STARTING, State.ALIVE):
            raise HostError("the engine has been started already")
        self._state = State.STARTING
        self._died = asyncio.get_running_loop().create_future()
        self._starting = starting = asyncio.create_task(self._bring_up())
        try:
            capabilities = await starting
        except BaseException as error:
            if self._starting is starting:
                self._state = State.DEAD
                await self._shut()
                if isinstance(error, Exception):
                    self._on_status("failed", None, str(error))
            elif not _is_cancelled():
                raise HostError(CLOSED_EARLY) from error
            raise
        if self._starting is not starting:
            raise HostError(CLOSED_EARLY)
        self._on_status("ready", None, "")
        return capabilities

    async def _bring_up(self) -> Capabilities:
        """The start itself, as a task, so that ``close`` can end it."""
        await self._fetch_weights()
        self._on_status("loading", None, "")
        clock = asyncio.timeout(START_S)
        try:
            async with clock:
                self._capabilities = await self._launch()
        except TimeoutError as error:
            if clock.expired():
                raise EngineStartError(f"it was not up after {START_S:g} s: it hangs") from error
            raise
        self._state = State.ALIVE
        return self._capabilities

    async def _fetch_weights(self) -> None:
        if not self._entry.weights:
            return
        loop = asyncio.get_running_loop()
        unwanted = threading.Event()

        def progress(state: str, fraction: float | None, detail: str) -> None:
            if not unwanted.is_set():
                loop.call_soon_threadsafe(self._on_status, state, fraction, detail)

        try:
            await asyncio.to_thread(ensure, self._config, progress, cancelled=unwanted)
        finally:
            unwanted.set()

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        """See `BatchEngine.run`."""
        results: Sequence[Sequence[Any] | Failure] = await self._call("run", batch)
        return results

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """See `BatchEngine.control`."""
        return await self._call("control", command, arguments)

    async def submit(self, requests: Sequence[Generate]) -> None:
        """See `LLMEngine.submit`."""
        await self._call("submit", requests)

    async def abort(self, ids: Sequence[str]) -> None:
        """See `LLMEngine.abort`."""
        await self._call("abort", ids)

    async def restart(self) -> Capabilities:
        """See `EngineHandle.restart`."""
        await self.close()
        self._epoch += 1
        return await self.start()

    async def close(self) -> None:
        """Let the engine go; bounded in time, and nothing when it is closed already."""
        if self._state is State.CLOSED:
            return
        self._state = State.CLOSED
        starting, self._starting = self._starting, None
        self._fail_calls(HostError("the engine was closed"))
        if starting is not None:
            starting.cancel()
            await asyncio.wait([starting])
        await self._shut()

    def _require_alive(self) -> None:
        if self._state is State.ALIVE:
            return
        if self._state is State.DEAD and self._died is not None and self._died.done():
            raise copy.copy(self._died.result())
        raise HostError(f"the engine is {self._state.name.lower()}, not alive")

    def _deliver(self, events: Sequence[TokenEvent]) -> None:
        if self._emit is not None and self._state is State.ALIVE:
            self._emit(events)

    def _note_death(self, error: EngineDied) -> None:
        """The engine has ended on its own: tell whoever waits. Only the first time counts."""
        if self._state is not State.ALIVE or self._died is None:
            return
        self._state = State.DEAD
        self._died.set_result(error)
        self._fail_calls(error)

    @abstractmethod
    async def _launch(self) -> Capabilities:
        """Bring the engine up."""

    @abstractmethod
    async def _call(self, method: str, *arguments: Any) -> Any:
        """Call the living engine."""

    @abstractmethod
    def _fail_calls(self, error: HostError) -> None:
        """End every call in flight with ``error``."""

    @abstractmethod
    async def _shut(self) -> None:
        """End the engine in any state, gently if it lives; never raises for how it ends."""


def _is_cancelled() -> bool:
    """Whether somebody wants the current task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
