"""A language model on transformers' continuous batching."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from teola.compiler.engine_settings import GRAMMARS, SAMPLING
from teola.runtime.engines.protocol import (
    Capabilities,
    Emit,
    Failure,
    Generate,
    TokenEvent,
)
from teola.runtime.engines.refusal import refusal
from teola.runtime.engines.tokenizer import Tokenizer, load_tokenizer
from teola.runtime.engines.transformers.stop_texts import StopTexts
from teola.runtime.engines.transformers.told import Told
from teola.runtime.engines.worker_thread import WorkerThread
from teola.runtime.errors import RunError, UnsupportedError
from teola.runtime.faults import failure_of
from teola.runtime.hosts.errors import EngineDied
from teola.runtime.models import ensure

if TYPE_CHECKING:
    from teola.runtime.engines.transformers.generation import Generation, Output

WARM_TOKENS = 2
WARM_UP = Generate("warm-up", (0, 0), max_tokens=WARM_TOKENS, ignore_eos=True)


@dataclass(slots=True)
class Running:
    """A request and how many of its tokens have been sent; ``stops`` where texts may end it,
    ``told`` what the loop tells beside its tokens."""

    request: Generate
    stops: StopTexts | None
    sent: int = 0
    told: Told = field(default_factory=Told)


class TransformersLLM:
    """Generates with continuous batching; requests that share a prefix share its KV pages.

    What can never fit is refused, because it would end the loop for everybody. If the loop ends all
    the same, every request fails and each later call raises `EngineDied`: its host restarts it.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._thread = WorkerThread("llm")
        self._emit: Emit = _drop
        self._coming: set[str] = set()
        self._running: dict[str, Running] = {}
        self._generation: Generation | None = None
        self._tokenizer: Tokenizer | None = None
        self._ended: asyncio.Future[str] | None = None

    def listen(self, emit: Emit) -> None:
        """See `LLMEngine.listen`."""
        self._emit = emit

    async def start(self) -> Capabilities:
        """Load the model and generate once.

        Raises:
            RunError: the model does not generate.
        """
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        generation = await self._thread.call(self._load, loop)
        self._generation = generation
        await self._warm_up()
        budget = generation.budget
        return Capabilities(
            context=generation.context,
            kv_tokens=budget.kv_tokens,
            max_requests=budget.max_requests,
            prefix_cache=generation.shares_prefixes,
            block_tokens=budget.page_tokens,
            continues=True,
            sampling=SAMPLING,
            grammars=GRAMMARS if find_spec("llguidance") else frozenset(),
            details=generation.details,
        )

    def _load(self, loop: asyncio.AbstractEventLoop) -> Generation:
        from teola.runtime.engines.transformers.generation import Generation

        def take(outputs: list[Output]) -> None:
            loop.call_soon_threadsafe(self._take, outputs)

        def ended(error: BaseException | None) -> None:
            loop.call_soon_threadsafe(self._loop_ended, error)

        return Generation(ensure(self._config), self._config, take, ended)

    async def _warm_up(self) -> None:
        """The first step allocates the cache and is slow; better before the first request."""
        ready: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()

        def hear(events: Sequence[TokenEvent]) -> None:
            if events and not ready.done() and (events[-1].failure or events[-1].finish_reason):
                ready.set_result(events[-1].failure)

        emit, self._emit = self._emit, hear
        await self.submit([WARM_UP])
        failure = await ready
        self._emit = emit
        if failure is not None:
            raise RunError(f"the model does not generate: {failure.message}")

    async def close(self) -> None:
        """End the loop after the step that runs."""
        self._running.clear()
        self._thread.close()
        if self._generation is not None and self._ended is not None:
            if not self._ended.done():
                self._generation.stop()
            await self._ended
        self._generation = None

    async def submit(self, requests: Sequence[Generate]) -> None:
        """See `LLMEngine.submit`.

        Raises:
            EngineDied: the loop has ended.
        """
        names = {request.id for request in requests}
        self._coming |= names
        try:
            begun = await self._begin_grammars(requests)
            generation = self._alive()
        finally:
            wanted = names & self._coming
            self._coming -= names
        room = min(generation.context, generation.budget.kv_tokens)
        refused = []
        for request in map(_with_enough_steps, requests):
            if request.id not in wanted:
                continue
            grammar = begun.get(request.id)
            failure = grammar if isinstance(grammar, Failure) else None
            failure = failure or refusal(request, room, generation.vocabulary)
            if failure is not None:
                refused.append(TokenEvent(request.id, (), failure=failure))
                continue
            running = self._running[request.id] = Running(request, self._stops(request))
            if not generation.add(request, grammar, running.told):
                raise EngineDied("the generation loop takes no more requests")
        if refused:
            self._emit(refused)

    async def _begin_grammars(self, requests: Sequence[Generate]) -> Mapping[str, Any]:
        """By request, the grammar that it follows, or why it cannot."""
        begun: dict[str, Any] = {}
        for request in requests:
            if request.grammar is not None:
                try:
                    begun[request.id] = await self._thread.call(
                        self._alive().begin, request.grammar
                    )
                except UnsupportedError as error:
                    begun[request.id] = Failure("item", str(error))
        return begun

    def _stops(self, request: Generate) -> StopTexts | None:
        stops = request.sampling.stop
        if not stops:
            return None
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self._config)
        return StopTexts(stops, self._tokenizer.detokenizer())

    async def abort(self, ids: Sequence[str]) -> None:
        """See `LLMEngine.abort`."""
        self._coming.difference_update(ids)
        for request_id in ids:
            if self._running.pop(request_id, None) and self._generation is not None:
                self._generation.cancel(request_id)

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """``describe``: how many requests run, and on a GPU how many CUDA graphs there are."""
        if command != "describe":
            raise UnsupportedError(f"LLM engines know no command {command!r}: describe")
        return {"running": len(self._running), **self._alive().state}

    def _alive(self) -> Generation:
        if self._generation is None:
            raise RunError("the engine has not been started")
        if self._ended is not None and self._ended.done():
            raise EngineDied(self._ended.result())
        return self._generation

    def _take(self, outputs: Sequence[Output]) -> None:
        """The outputs of one step become the events of one step; one that has none is told, too."""
        events = [event for output in outputs if (event := self._event(output)) is not None]
        if events or not outputs:
            self._emit(events)

    def _event(self, output: Output) -> TokenEvent | None:
        running = self._running.get(output.request_id)
        if running is None:
            if self._generation is not None and not output.is_finished():
                self._generation.cancel(output.request_id)  # aborted before the loop knew it
            return None
        if output.is_finished():
            del self._running[output.request_id]
        if output.error is not None:
            kind = failure_of(RuntimeError(output.error)).kind
            failure = Failure(kind, f"generating failed: {output.error}")
            return TokenEvent(output.request_id, (), failure=failure)
        new = output.generated_tokens[running.sent :]
        cached = None if running.sent else running.told.cached
        chances = running.told.chances(new, running.sent)
        running.sent += len(new)
        reason = None
        if output.is_finished():
            reason = "length"
            if new and new[-1] in self._ends(running.request):
                new, reason = new[:-1], "stop"
        event = TokenEvent(output.request_id, new, reason, cached=cached, chances=chances)
        return event if running.stops is None else self._with_text(running.stops, event)

    def _with_text(self, stops: StopTexts, event: TokenEvent) -> TokenEvent:
        """An event of an answer that texts may end: the text says how much of it counts."""
        text = stops.push(event.tokens)
        if event.finish_reason is not None:
            text += stops.finish()
        if not stops.found:
            return event._replace(text=text)
        if self._running.pop(event.id, None) and self._generation is not None:
            self._generation.cancel(event.id)
        return event._replace(finish_reason="stop", text=text)

    def _ends(self, request: Generate) -> frozenset[int]:
        if request.ignore_eos or self._generation is None:
            return frozenset()
        return self._generation.ends

    def _loop_ended(self, error: BaseException | None) -> None:
        if self._ended is None or self._ended.done():
            return
        reason = "the generation loop has ended" + (
            f": {type(error).__name__}: {error}" if error is not None else ""
        )
        self._ended.set_result(reason)
        failed = [TokenEvent(one, (), failure=Failure("died", reason)) for one in self._running]
        self._running.clear()
        if failed:
            self._emit(failed)


def _with_enough_steps(request: Generate) -> Generate:
    """A prompt's pages are kept for others after its first step, if it does not end with it."""
    if not request.warm:
        return request
    return request._replace(max_tokens=WARM_TOKENS, ignore_eos=True, stream=False)


def _drop(_events: Sequence[TokenEvent]) -> None:
    """Nobody listens."""
