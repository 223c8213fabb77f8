"""What goes to an LLM: calls, many in one message, and aborts, which never overtake their calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from teola.runtime.engines.protocol import Failure, Generate, TokenEvent
from teola.runtime.faults import failure_of
from teola.runtime.hosts.errors import EngineDied
from teola.runtime.llm.pulse import Pulse

LOG = logging.getLogger(__name__)


class Generates(Protocol):
    """What generates: a replica of an LLM, through its host."""

    async def submit(self, requests: Sequence[Generate]) -> None:
        """See ``LLMEngine.submit``."""
        ...

    async def abort(self, ids: Sequence[str]) -> None:
        """See ``LLMEngine.abort``."""
        ...


class Outbox:
    """``told`` is given the failures of calls that cannot be sent; aborts are for the engine's
    ``pulse`` to see."""

    def __init__(
        self,
        engine: Generates,
        told: Callable[[Sequence[TokenEvent]], None],
        pulse: Pulse,
    ) -> None:
        self.engine, self.told, self.pulse = engine, told, pulse
        self.closed = False
        self.jobs: set[asyncio.Task[None]] = set()

    def send(self, requests: Sequence[Generate]) -> asyncio.Task[None]:
        """Hand calls to the engine, in one message."""
        return self._aside(self._send(requests))

    async def _send(self, requests: Sequence[Generate]) -> None:
        if self.closed:
            return
        try:
            await self.engine.submit(requests)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises becomes the calls' error
            failure = Failure(failure_of(error).kind, f"{type(error).__name__}: {error}")
            if not self.closed:
                self.told([TokenEvent(one.id, (), failure=failure) for one in requests])

    def abort(self, name: str, sender: asyncio.Task[None] | None) -> None:
        """Take back a call that ``sender`` has sent, or is sending."""
        self.pulse.asked()
        self._aside(self._abort(name, sender)).add_done_callback(lambda _: self.pulse.answered())

    async def _abort(self, name: str, sender: asyncio.Task[None] | None) -> None:
        if sender is not None and not sender.done():
            await asyncio.wait([sender])
        if self.closed:
            return
        try:
            await self.engine.abort([name])
        except EngineDied:
            return  # a dead engine holds nothing
        except Exception:  # the caller is gone; only the log can be told
            if not self.closed:
                LOG.exception("the call %s was not aborted and may still run", name)

    def _aside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        job = asyncio.get_running_loop().create_task(work)
        self.jobs.add(job)
        job.add_done_callback(self.jobs.discard)
        return job

    def end(self) -> None:
        """The engine is gone: nothing more is sent, or told of what was."""
        self.closed = True
        for job in self.jobs:
            job.cancel()

    async def close(self) -> None:
        """Stop."""
        self.end()
        await asyncio.gather(*self.jobs, return_exceptions=True)
