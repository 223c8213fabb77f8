"""What goes wrong on the way: items, batches and calls that fail at first and then succeed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from hypothesis import strategies as st

from teola.runtime.engines.fakes.base import hash_of
from teola.runtime.engines.protocol import Failure, Request, TokenEvent
from tests.runtime.workbench import Spy

RETRIES = 6
"""How often a task is tried again: more often than everything here together can fail it."""


@dataclass(frozen=True)
class Faults:
    """``percent`` of the items and calls fail their first ``times`` times; of each engine's
    batches, whichever replica takes them, those of the numbers ``batches`` (from 0) fail as a
    whole."""

    seed: int
    percent: int
    times: int
    batches: frozenset[int]


@dataclass
class Failing:
    """What the replicas of one engine still have to fail, together; ``told`` gets what failed."""

    faults: Faults
    told: list[str]
    failed: dict[str, int] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)

    def arrange(self, spy: Spy, tokens: int) -> None:
        """Let the replica behind a spy fail so. At most so many ``tokens`` come at once."""
        if spy.kind == "llm":
            spy.on_events = _FailingCalls(self, spy, tokens).hear
        else:
            spy.before_run = _FailingItems(self, spy).run

    def spend(self, key: str) -> bool:
        """Whether the item or call of that name fails now."""
        chosen = hash_of(str(self.faults.seed), key)[0] * 100 < self.faults.percent * 256
        failed = self.failed.get(key, 0)
        if not chosen or failed >= self.faults.times:
            return False
        self.failed[key] = failed + 1
        self.told.append(key)
        return True


@dataclass
class _FailingItems:
    failing: Failing
    spy: Spy

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        number = next(self.failing.numbers)
        if number in self.failing.faults.batches:
            self.failing.told.append(f"batch {number}")
            return [Failure("engine", "told to fail")] * len(batch)
        results = await self.spy.handle.run(batch)
        return [
            found if isinstance(found, Failure) else self._spoilt(request, found)
            for request, found in zip(batch, results, strict=True)
        ]

    def _spoilt(self, request: Request, results: Sequence[Any]) -> Sequence[Any]:
        failure = Failure("item", "told to fail at first")
        return [
            failure if self.failing.spend(_key(request, item)) else result
            for item, result in zip(request.items, results, strict=True)
        ]


@dataclass
class _FailingCalls:
    """Calls fail before their first token: what has left a call cannot be taken back."""

    failing: Failing
    spy: Spy
    tokens: int
    begun: set[str] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)
    seen: int = 0

    def hear(self, events: Sequence[TokenEvent]) -> Sequence[TokenEvent]:
        new, self.seen = self.spy.submitted[self.seen :], len(self.spy.submitted)
        self.known |= {request.id: f"{request.warm} {request.tokens}" for request in new}
        return [part for event in events for part in self._cut(self._heard(event))]

    def _cut(self, event: TokenEvent) -> Iterator[TokenEvent]:
        while len(event.tokens) > self.tokens:
            yield TokenEvent(event.id, event.tokens[: self.tokens], chances=event.chances)
            event = event._replace(tokens=event.tokens[self.tokens :], chances=())
        yield event

    def _heard(self, event: TokenEvent) -> TokenEvent:
        if event.id in self.begun or not self.failing.spend(self.known[event.id]):
            self.begun.add(event.id)
            return event
        return TokenEvent(event.id, (), failure=Failure("engine", "told to fail at first"))


def _key(request: Request, item: Any) -> str:
    if request.operation == "ingest":
        return f"{request.common['pending']} {item[0]['id']}"
    common: Mapping[str, Any] = request.common
    told = item if isinstance(item, str) else item.tobytes().hex()
    return f"{request.operation} {common.get('query')} {common.get('collection')} {told}"


@st.composite
def faults(draw: Callable[[Any], Any]) -> Faults:
    """Often none."""
    return Faults(
        draw(st.integers(0, 1000)),
        draw(st.sampled_from([0, 0, 10, 50, 100])),
        draw(st.integers(1, 2)),
        draw(st.just(frozenset()) | st.frozensets(st.integers(0, 8), max_size=3)),
    )
