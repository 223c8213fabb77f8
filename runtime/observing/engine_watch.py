"""What the schedulers of one engine tell: its batches, its calls, its load."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from teola.runtime.engines.protocol import Capabilities, Failure, TokenEvent
from teola.runtime.observing.figure_reader import FigureReader
from teola.runtime.observing.observations import (
    BatchEnded,
    CallEnded,
    EngineFacts,
    EngineReady,
    FiguresTold,
    Load,
    Part,
    PrimitiveKey,
)
from teola.runtime.observing.observers import Observers

if TYPE_CHECKING:
    from teola.runtime.sent import Sent


Keys: TypeAlias = tuple[PrimitiveKey, ...]


class OpenBatch(NamedTuple):
    """A batch on its way."""

    operation: str
    began_s: float
    parts: tuple[Part, ...]


class Origin(Protocol):
    """Whom some work is for."""

    def keys(self) -> Keys:
        """The primitives that wait for it."""
        ...


class _OpenCall:
    """A call on its way."""

    __slots__ = (
        "cached_tokens",
        "first_token_s",
        "keys",
        "prompt_tokens",
        "queued_s",
        "received",
        "sent_s",
        "waited_s",
        "warm",
    )

    def __init__(
        self, keys: Keys, warm: bool, queued_s: float, prompt_tokens: int, cached_tokens: int
    ) -> None:
        self.keys, self.warm, self.queued_s = keys, warm, queued_s
        self.prompt_tokens, self.cached_tokens = prompt_tokens, cached_tokens
        self.sent_s = _now()
        self.first_token_s: float | None = None
        self.waited_s: float | None = None
        self.received = 0


class EngineWatch:
    """Tells a pool's observers of one engine; false where nobody listens.

    Whom some work is for is asked when it begins: a query may end before its work does. Calls that
    were sent before somebody listened are not told.
    """

    __slots__ = ("calls", "facts", "figures", "observers")

    def __init__(self, facts: EngineFacts, observers: Observers) -> None:
        self.facts, self.observers = facts, observers
        self.calls: dict[str, _OpenCall] = {}
        self.figures: FigureReader | None = None

    def __bool__(self) -> bool:
        return bool(self.observers)

    def of(self, replica: int) -> EngineWatch:
        """The watch of one replica."""
        return EngineWatch(replace(self.facts, replica=replica), self.observers)

    def ready(
        self,
        began_s: float,
        can: Capabilities,
        describe: Callable[[], Awaitable[Mapping[str, Any]]],
    ) -> None:
        """The engine is up (again), and ``describe`` asks it what it tells of itself."""

        def tell(values: Mapping[str, float]) -> None:
            self.observers.tell(FiguresTold(self.facts, _now(), values, can.figures))

        self.figures = FigureReader(can.figures, describe, tell)
        if self:
            self.observers.tell(EngineReady(self.facts, began_s, _now()))
            self._work_changed()

    def gone(self) -> None:
        """The engine is no more, or not any more for us."""
        if self.figures is not None:
            self.figures.stop()
            self.figures = None

    def _work_changed(self) -> None:
        if self.figures is not None:
            self.figures.changed()

    def load(self, waiting: int, running: int, kv_tokens: int | None = None) -> None:
        """The load has changed."""
        self.observers.tell(Load(self.facts, _now(), waiting, running, kv_tokens))

    def open(self, batch: Sequence[Sent], waiting: int) -> OpenBatch:
        """A batch goes to the engine; so many tasks still wait."""
        self.load(waiting, len(batch))
        parts = (
            Part(_keys(part.task.origin), len(part.indices), part.task.queued_s) for part in batch
        )
        self._work_changed()
        return OpenBatch(batch[0].task.operation, _now(), tuple(parts))

    def close(self, batch: OpenBatch, results: Sequence[Any], waiting: int) -> None:
        """A batch is back."""
        failure = next((kind for result in results for kind in _failures(result)), None)
        operation, began_s, parts = batch
        self.observers.tell(BatchEnded(self.facts, operation, began_s, _now(), parts, failure))
        self.load(waiting, 0)
        self._work_changed()

    def sent(
        self,
        name: str,
        origins: Sequence[Origin | None],
        warm: bool,
        queued_s: float,
        prompt_tokens: int,
        cached_tokens: int,
    ) -> None:
        """A call goes to the engine."""
        keys = tuple(key for origin in origins for key in _keys(origin))
        self.calls[name] = _OpenCall(keys, warm, queued_s, prompt_tokens, cached_tokens)
        self._work_changed()

    def event(self, event: TokenEvent) -> None:
        """The engine says something of a call."""
        call = self.calls.get(event.id)
        if call is None:
            return
        call.received += len(event.tokens)
        if event.cached is not None:
            call.cached_tokens = event.cached
        if event.prompt is not None:
            call.prompt_tokens = event.prompt
        if event.waited_s is not None:
            call.waited_s = event.waited_s
        if call.first_token_s is None and event.tokens:
            call.first_token_s = _now()
        if event.finish_reason is not None or event.failure is not None:
            failure = event.failure.kind if event.failure is not None else None
            self.over(event.id, event.finish_reason, failure)

    def over(self, name: str, finish_reason: str | None = None, failure: str | None = None) -> None:
        """A call has ended, or was aborted."""
        if (call := self.calls.pop(name, None)) is None:
            return
        self.observers.tell(
            CallEnded(
                self.facts,
                call.keys,
                call.warm,
                call.queued_s,
                call.sent_s,
                call.first_token_s,
                _now(),
                call.prompt_tokens,
                call.cached_tokens,
                call.received,
                finish_reason,
                failure,
                call.waited_s,
            )
        )
        self._work_changed()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _keys(origin: Origin | None) -> Keys:
    return () if origin is None else origin.keys()


def _failures(result: Any) -> list[str]:
    found = [result] if isinstance(result, Failure) else result
    return [one.kind for one in found if isinstance(one, Failure)]


UNWATCHED = EngineWatch(EngineFacts("", "", ""), Observers())
"""The watch of schedulers that belong to no pool."""
