"""A simulated language model that batches continuously, as estimates do (``cost.llm_machine``)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from math import ceil
from sys import maxsize
from typing import Any

from teola.compiler.cost.llm_machine import prompt_budget
from teola.runtime.engines.protocol import Capabilities, Emit, Generate, TokenEvent
from teola.runtime.engines.refusal import refusal
from teola.runtime.engines.simulated.answers import Answer, Answers
from teola.runtime.engines.simulated.calls import Call, Step
from teola.runtime.engines.simulated.capabilities import capabilities
from teola.runtime.engines.simulated.prices import Prices
from teola.runtime.llm.prefixes import Marks, Prefixes

NOTHING = Answer((), (), "length")


class SimulatedLLM:
    """A step takes prompt tokens up to its budget, calls before warm-ups, and one token of every
    call that decodes. It costs the prefill of the chunks (its base once, where a prompt begins), or
    a decode step's base if that is more, and a decode step's items. A prefill gives the first
    token; blocks that are cached cost nothing.

    Calls wait for room, in their order; one that orders by itself has the least priority first.

    What comes at the very moment at which a step begins is part of it.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        prices = Prices(config)
        self._prefill, self._decode = prices.of("prefill"), prices.of("decode")
        self._capabilities = capabilities(prices.settings)
        self._budget = prompt_budget(prices.settings)
        self._answers = Answers(config)
        self._adapters = self._capabilities.adapters
        room = self._capabilities.kv_tokens
        self._room = min(self._capabilities.context or room, room)
        self._cache = Prefixes(self._capabilities.block_tokens, room)
        self._calls: dict[str, Call] = {}
        self._step: Step | None = None
        self._emit: Emit = _drop

    def listen(self, emit: Emit) -> None:
        """See `LLMEngine.listen`."""
        self._emit = emit

    async def start(self) -> Capabilities:
        """Ready at once."""
        return self._capabilities

    async def close(self) -> None:
        """Stop everything."""
        self._calls.clear()
        self._stop()

    async def submit(self, requests: Sequence[Generate]) -> None:
        """See `LLMEngine.submit`."""
        for request in requests:
            if (refused := refusal(request, self._room, maxsize, self._adapters)) is not None:
                self._emit([TokenEvent(request.id, (), failure=refused)])
                continue
            answer = NOTHING if request.warm else self._answers.of(request)
            marks = self._cache.marks(request.tokens, request.adapter)
            self._calls[request.id] = Call(request, answer, marks, len(request.tokens))
        self._look_again()

    async def abort(self, ids: Sequence[str]) -> None:
        """See `LLMEngine.abort`."""
        for request_id in ids:
            self._calls.pop(request_id, None)
        self._look_again()

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """``describe``: how many requests run."""
        if command != "describe":
            raise ValueError(f"simulated LLMs know no command {command!r} ({', '.join(arguments)})")
        return {"running": len(self._calls)}

    def _look_again(self) -> None:
        """Calls have come or gone: a step that begins just now is made anew, and of several that
        only decode the present one is the last."""
        step, now = self._step, asyncio.get_running_loop().time()
        if step is None or step.began_s == now:
            self._begin()
        elif not step.chunks and step.count > 1 and step.ms:
            done = ceil((now - step.began_s) * 1000 / step.ms - 1e-9)
            if done < step.count:
                step.timer.cancel()
                self._run(step.began_s, step.ms, max(1, done), (), step.decoding)

    def _stop(self) -> None:
        if self._step is not None:
            self._step.timer.cancel()
            self._step = None

    def _begin(self) -> None:
        """The next step."""
        self._stop()
        now = asyncio.get_running_loop().time()
        self._admit()
        decoding = [call for call in self._calls.values() if not call.left]
        chunks = self._chunks()
        if chunks:
            ms = sum(self._prefill.added_ms(one.new) * count / one.new for one, count in chunks)
            ms += self._prefill.base_ms if any(not one.begun for one, _ in chunks) else 0.0
            ms *= self._prefill.scale(len(chunks))
            if decoding:
                base = self._decode.base_ms
                ms = max(ms, base) + max(0.0, self._decode_ms(decoding, 1) - base)
            self._run(now, ms, 1, chunks, decoding)
        elif decoding:
            count = min(call.until for call in decoding)
            ms = self._decode_ms(decoding, count)
            self._run(now, ms, count, (), decoding)

    def _admit(self) -> None:
        """Give room to calls that wait, in their order."""
        inside = [call for call in self._calls.values() if call.admitted]
        if len(inside) == len(self._calls):
            return
        free = self._capabilities.kv_tokens - sum(call.size for call in inside)
        places = self._capabilities.max_requests - len(inside)
        waiting = [call for call in self._calls.values() if not call.admitted]
        if self._capabilities.priority:
            waiting.sort(key=lambda call: call.request.priority)
        for call in waiting:
            if not places or (call.size > free and inside):
                return
            call.admitted = True
            inside.append(call)
            places, free = places - 1, free - call.size

    def _decode_ms(self, decoding: Sequence[Call], count: int) -> float:
        """Each of the next steps, with the contexts that the sequences have then on average."""
        tokens = sum(len(call.request.tokens) + call.made + count / 2 for call in decoding)
        return self._decode.latency_ms(len(decoding), tokens / len(decoding))

    def _chunks(self) -> list[tuple[Call, int]]:
        """What of the prompts is computed next."""
        room, chunks = self._budget, []
        coming: set[int] = set()
        filling = [call for call in self._calls.values() if call.left and call.admitted]
        for call in sorted(filling, key=self._turn):
            if not call.begun:
                call.cached = self._cached(call, coming) * self._cache.block_tokens
                call.new = call.left = max(1, len(call.request.tokens) - call.cached)
            count = min(room, call.left)
            if not count:
                break
            chunks.append((call, count))
            room -= count
            coming.update(self._computed(call, count))
        return chunks

    def _turn(self, call: Call) -> tuple[bool, int]:
        """Whose prompt comes first: one that orders goes on with what it has begun."""
        if self._capabilities.priority:
            return not call.begun, call.request.priority
        return call.request.warm, 0

    def _cached(self, call: Call, coming: Collection[int]) -> int:
        """The leading blocks of a prompt that are there, or are before it in this step."""
        count = self._cache.cached(call.marks)
        while count < len(call.marks) and call.marks[count] in coming:
            count += 1
        return count

    def _computed(self, call: Call, count: int) -> Marks:
        """The blocks that others can share once so many tokens more are computed."""
        if not self._capabilities.shares_in_flight:
            return ()
        done = len(call.request.tokens) - call.left + count
        return call.marks[: done // self._cache.block_tokens]

    def _run(
        self,
        began_s: float,
        ms: float,
        count: int,
        chunks: Sequence[tuple[Call, int]],
        decoding: Sequence[Call],
    ) -> None:
        timer = asyncio.get_running_loop().call_at(began_s + ms * count / 1000, self._end)
        self._step = Step(began_s, ms, count, chunks, decoding, timer)

    def _end(self) -> None:
        step, self._step = self._step, None
        if step is None:
            return
        for call in step.decoding:
            call.made += step.count
        for call, count in step.chunks:
            call.begun = True
            self._cache.add(self._computed(call, count))
            call.left -= count
            if not call.left:
                self._cache.add(call.marks)
                call.made = 0 if call.request.warm else 1
        stepped = (*step.decoding, *(call for call, _ in step.chunks))
        events = [call.event() for call in stepped if call.request.id in self._calls]
        told = [event for event in events if event is not None]
        for event in told:
            if event.finish_reason is not None:
                del self._calls[event.id]
        self._begin()
        self._emit(told)


def _drop(_events: Sequence[TokenEvent]) -> None:
    """Nobody listens."""
