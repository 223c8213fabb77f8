"""Record and replay: what engines answered in one run answers another run's requests.

The proof that a rewrite keeps the answer on real engines in any dtype: a run without optimisation
is recorded as (engine, operation, item, settings) -> result, and the optimised run is answered from
the record. A request that is not in it fails; warm-ups ask for no answer and are not recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from teola.compiler.engines import identity
from teola.runtime.engines.protocol import (
    Capabilities,
    Chances,
    Emit,
    Failure,
    Generate,
    Request,
    TokenEvent,
)
from teola.runtime.hosts import EngineDied, EngineHandle
from teola.runtime.keys import digest, of_json

FREE = ("collection", "pending")
"""Parts of a request that name this run's own collections; they are not part of its meaning."""


class Record:
    """Requests and their answers, for all engines of a pool.

    ``EnginePool(wrap=record.recording)`` fills it, ``EnginePool(wrap=record.replaying)`` answers
    from it. ``missing`` counts the requests of a replay that were not in it.
    """

    def __init__(self) -> None:
        self.answers: dict[bytes, Any] = {}
        self.capabilities: dict[str, Capabilities] = {}
        self.missing = 0

    def recording(self, handle: EngineHandle, config: Mapping[str, Any]) -> EngineHandle:
        """Let the engine work and write down what it answers."""
        return Recorder(self, handle, engine_name(config))

    def replaying(self, handle: EngineHandle, config: Mapping[str, Any]) -> EngineHandle:
        """Answer from the record; the engine is never started."""
        return Replayer(self, engine_name(config))


def engine_name(config: Mapping[str, Any]) -> str:
    """An engine's identity, whatever folder its weights were found in."""
    return identity({key: value for key, value in config.items() if key != "path"})


def item_key(engine: str, request: Request, item: Any) -> bytes:
    """What stands for one item's request."""
    common = {key: value for key, value in request.common.items() if key not in FREE}
    return digest(engine.encode(), request.operation.encode(), of_json(common), _content(item))


def call_key(engine: str, call: Generate) -> bytes:
    """What stands for one LLM call."""
    how = repr((call.sampling, call.grammar, call.adapter))
    asked = [list(call.tokens), call.max_tokens, call.ignore_eos, how]
    return digest(engine.encode(), of_json(asked))


def _content(item: Any) -> bytes:
    if hasattr(item, "tobytes"):
        return bytes(item.tobytes())
    if isinstance(item, tuple):
        return digest(*(_content(part) for part in item))
    return of_json(item)


class Recorder:
    """An engine whose answers are written down; everything else is the engine's own."""

    def __init__(self, record: Record, handle: EngineHandle, engine: str) -> None:
        self.record, self.handle, self.engine = record, handle, engine
        self.calls: dict[str, Generate] = {}
        self.tokens: dict[str, list[int]] = {}
        self.texts: dict[str, str] = {}
        self.chances: dict[str, tuple[Chances, ...]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.handle, name)

    async def start(self) -> Capabilities:
        """Start the engine; remember what it can do."""
        self.record.capabilities[self.engine] = found = await self.handle.start()
        return found

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        """Run a batch and write down every good result."""
        results = await self.handle.run(batch)
        for request, result in zip(batch, results, strict=True):
            if not isinstance(result, Failure):
                for item, answer in zip(request.items, result, strict=True):
                    self.record.answers[item_key(self.engine, request, item)] = answer
        return results

    def listen(self, emit: Emit) -> None:
        """Pass events on; write down calls that end well."""

        def listened(events: Sequence[TokenEvent]) -> None:
            for event in events:
                self._note(event)
            emit(events)

        self.handle.listen(listened)

    def _note(self, event: TokenEvent) -> None:
        if (call := self.calls.get(event.id)) is None:
            return
        self.tokens[event.id] += event.tokens
        if event.text is not None:
            self.texts[event.id] = self.texts.get(event.id, "") + event.text
        chances = self.chances[event.id] = (*self.chances.get(event.id, ()), *event.chances)
        said = self.texts.get(event.id)
        answer = (tuple(self.tokens[event.id]), event.finish_reason, said, chances)
        self.record.answers[call_key(self.engine, call)] = answer
        if event.finish_reason is not None or event.failure is not None:
            del self.calls[event.id], self.tokens[event.id]
            self.texts.pop(event.id, None)
            del self.chances[event.id]

    async def submit(self, requests: Sequence[Generate]) -> None:
        """Send calls."""
        for request in requests:
            if not request.warm:
                self.calls[request.id], self.tokens[request.id] = request, []
        await self.handle.submit(requests)


class Replayer:
    """An engine that only knows what was recorded."""

    epoch = 0

    def __init__(self, record: Record, engine: str) -> None:
        self.record, self.engine = record, engine
        self.capabilities = record.capabilities.get(engine, Capabilities())
        self.died: asyncio.Future[EngineDied] = asyncio.get_running_loop().create_future()
        self.emit: Emit = lambda _: None

    async def start(self) -> Capabilities:
        """Nothing to load."""
        return self.capabilities

    async def restart(self) -> Capabilities:
        """Nothing to load."""
        return self.capabilities

    async def close(self) -> None:
        """Nothing to let go."""
        self.died.cancel()

    def _answer(self, key: bytes) -> Any:
        if key not in self.record.answers:
            self.record.missing += 1
            return Failure("item", f"not in the record: a request to engine {self.engine}")
        return self.record.answers[key]

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        """Answer from the record."""
        return [
            [self._answer(item_key(self.engine, request, item)) for item in request.items]
            for request in batch
        ]

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """Collections need no keeping: searches are answered from the record."""
        return None

    def listen(self, emit: Emit) -> None:
        """Where token events go."""
        self.emit = emit

    async def submit(self, requests: Sequence[Generate]) -> None:
        """Answer calls from the record, in one event each."""
        events = [self._event(request) for request in requests]
        asyncio.get_running_loop().call_soon(self.emit, events)

    def _event(self, request: Generate) -> TokenEvent:
        if request.warm:
            return TokenEvent(request.id, (), "length")
        answer = self._answer(call_key(self.engine, request))
        if isinstance(answer, Failure):
            return TokenEvent(request.id, (), failure=answer)
        tokens, finish_reason, text, chances = answer
        reason = finish_reason or "stop"
        return TokenEvent(request.id, tokens, reason, text=text, chances=chances)

    async def abort(self, ids: Sequence[str]) -> None:
        """Nothing runs."""
