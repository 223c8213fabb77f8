"""Events on their way to a reader: merged where it is slow, never queued without bound."""

from __future__ import annotations

import asyncio
from typing import Any

from teola.runtime.events import EngineStatus, Event, ModuleProgress, TextDelta


class EventStream:
    """A queue between a query and one reader. The text deltas of an output that wait are joined,
    the progress of a module and the state of an engine that wait are replaced: what waits is
    bounded by the outputs' size."""

    def __init__(self) -> None:
        self.waiting: dict[int, Event] = {}
        self.places: dict[tuple[type, str], int] = {}
        self.count = 0
        self.wake = asyncio.Event()
        self.error: BaseException | None = None
        self.ended = False

    def put(self, event: Event) -> None:
        """Add an event; after the end it is too late."""
        if self.ended:
            return
        if isinstance(event, TextDelta):
            place = self._place(TextDelta, event.output)
            before = self.waiting.get(place)
            text = before.text if isinstance(before, TextDelta) else ""
            self.waiting[place] = TextDelta(event.output, text + event.text)
        elif isinstance(event, ModuleProgress):
            self.waiting[self._place(ModuleProgress, event.module)] = event
        elif isinstance(event, EngineStatus):
            self.waiting[self._last_place(f"{event.engine}: {event.state}")] = event
        else:
            self.count += 1
            self.waiting[self.count] = event
        self.wake.set()

    def _place(self, kind: type, name: str) -> int:
        """Where the event of that kind waits, or a new place at the end."""
        place = self.places.get((kind, name))
        if place is None or place not in self.waiting:
            self.count += 1
            place = self.places[kind, name] = self.count
        return place

    def _last_place(self, status: str) -> int:
        """A new place at the end; the same status does not wait any more where it did before."""
        self.waiting.pop(self.places.pop((EngineStatus, status), 0), None)
        return self._place(EngineStatus, status)

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
        return self.waiting.pop(next(iter(self.waiting)))
