"""Events on their way to a reader: merged where it is slow, never queued without bound."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from teola.runtime.events import Event, ModuleProgress, TextDelta


class EventStream:
    """A queue between a query and one reader. Text deltas of one output that wait are joined,
    progress of a module that waits is replaced: what waits is bounded by the outputs' size."""

    def __init__(self) -> None:
        self.waiting: deque[Event] = deque()
        self.wake = asyncio.Event()
        self.error: BaseException | None = None
        self.ended = False

    def put(self, event: Event) -> None:
        """Add an event."""
        last = self.waiting[-1] if self.waiting else None
        if isinstance(event, TextDelta) and isinstance(last, TextDelta) and _same(event, last):
            self.waiting[-1] = TextDelta(event.output, last.text + event.text)
        elif isinstance(event, ModuleProgress) and isinstance(last, ModuleProgress):
            if event.module != last.module:
                self.waiting.append(event)
            else:
                self.waiting[-1] = event
        else:
            self.waiting.append(event)
        self.wake.set()

    def end(self, error: BaseException | None = None) -> None:
        """No more events; ``error`` is raised to the reader after the last one."""
        self.ended, self.error = True, error
        self.wake.set()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Any:
        while not self.waiting:
            if self.ended:
                if self.error is not None:
                    raise self.error
                raise StopAsyncIteration
            self.wake.clear()
            await self.wake.wait()
        return self.waiting.popleft()


def _same(one: TextDelta, other: TextDelta) -> bool:
    return one.output == other.output
