"""One replica of an engine: its host, its starts, its deaths."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from teola.runtime.circuit import Circuit
from teola.runtime.engine_scheduler import BatchScheduler
from teola.runtime.engines.protocol import Capabilities, TokenEvent
from teola.runtime.hosts import EngineDied, EngineHandle
from teola.runtime.leftovers import leftovers
from teola.runtime.llm.replica import LLMReplica
from teola.runtime.llm.scheduler import LLMScheduler
from teola.runtime.observing.engine_watch import EngineWatch


class Lives(Protocol):
    """The engine, as its replicas see it."""

    def check(self, found: Capabilities) -> Capabilities:
        """What a replica can do; raises where it could never be given any work."""
        ...

    def up(self, replica: Replica) -> None:
        """A replica takes work again."""
        ...

    def down(self, replica: Replica, message: str) -> None:
        """A replica has died, or did not come up again; it will be started once more."""
        ...


@dataclass(frozen=True, slots=True)
class Queues:
    """Where replicas take their work from: ``calls`` if they are LLMs, else ``batches``."""

    batches: BatchScheduler
    calls: LLMScheduler


class Replica:
    """Replica ``number`` (from 1) of an engine. It comes back after a death, as ``Circuit`` says;
    what it held is lost then, which its ``epoch`` tells."""

    def __init__(
        self,
        number: int,
        lives: Lives,
        queues: Queues,
        handle: EngineHandle,
        watch: EngineWatch,
        *,
        llm: bool,
    ) -> None:
        self.number, self.lives, self.queues = number, lives, queues
        self.handle, self.watch, self.llm = handle, watch, llm
        self.circuit = Circuit()
        self.capabilities = Capabilities()
        self.ready = self.closed = False
        self.start_s = 0.0
        self.calls: LLMReplica | None = None
        self.restarting: asyncio.Task[None] | None = None
        if llm:
            handle.listen(self._hear)

    @property
    def epoch(self) -> int:
        """The replica's life: handles to state of another one are void."""
        return self.handle.epoch

    @property
    def outstanding(self) -> int:
        """Tasks that wait for it or run on it."""
        return len(self.queues.batches.queue) + self.queues.batches.running

    def _hear(self, events: Sequence[TokenEvent]) -> None:
        if self.calls is not None:
            with self.queues.calls.turn:
                self.calls.events(events)

    async def start(self) -> None:
        """Come up for the first time.

        Raises:
            TeolaError: it cannot.
        """
        self.start_s = asyncio.get_running_loop().time()
        self.capabilities = self.lives.check(await self.handle.start())

    def serve(self) -> None:
        """Take work from now on."""
        self.circuit.started(asyncio.get_running_loop().time())
        self.ready = True
        self.watch.ready(self.start_s, self.capabilities, partial(self.control, "describe", {}))
        if self.llm:
            self.calls = self.queues.calls.start(
                self.handle, self.capabilities, self.circuit, self.lost, self.watch
            )
        else:
            self.queues.batches.start(
                self.handle, self.capabilities, self.circuit, self.lost, self.watch
            )
        self.handle.died.add_done_callback(self._died)

    def _died(self, died: asyncio.Future[EngineDied]) -> None:
        if not died.cancelled() and not self.closed:
            self.lost(str(died.result()))

    def lost(self, message: str) -> None:
        """It has died or hangs, perhaps while its host lives: a new one takes its place."""
        if self.ready:
            self.again(message, up=True)

    def again(self, message: str, *, up: bool) -> None:
        """It is gone: start it once more after a while."""
        loop = asyncio.get_running_loop()
        delay_s = self.circuit.died(loop.time(), up=up)
        self.ready, self.calls = False, None
        self.watch.gone()
        self.queues.batches.stop(self.handle)
        self.queues.calls.stop(self.handle, message)
        self.restarting = loop.create_task(self._restart(delay_s))
        self.lives.down(self, message)

    async def _restart(self, delay_s: float) -> None:
        if not self.handle.died.done():
            await self.handle.close()  # it hangs: it must not compute until then
        await asyncio.sleep(delay_s)
        self.start_s = asyncio.get_running_loop().time()
        try:
            self.capabilities = self.lives.check(await self.handle.restart())
        except Exception as error:  # noqa: BLE001 - a start may raise anything
            if not self.closed:
                self.again(f"it did not start again: {error}", up=False)
            return
        self.serve()
        self.lives.up(self)

    async def settled(self) -> None:
        """Wait until the batch that runs now is back: what follows comes after its effects."""
        await self.queues.batches.settled()

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """See ``BatchEngine.control``.

        Raises:
            HostError: it is down, or closed.
        """
        return await self.handle.control(command, arguments)

    async def inspect(self) -> list[str]:
        """What it holds and should not when nothing runs; nothing is asked while it is down."""
        return await leftovers(self.handle) if self.ready else []

    async def close(self) -> None:
        """Stop."""
        self.closed, self.ready = True, False
        self.watch.gone()
        if self.restarting is not None:
            self.restarting.cancel()
            await asyncio.gather(self.restarting, return_exceptions=True)
        await self.handle.close()
