"""A simulated language model that batches continuously, as estimates do (``cost.llm_machine``)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from teola.compiler.cost.llm_machine import prompt_budget
from teola.runtime.engines.kv_budget import PAGE_TOKENS, KVBudget
from teola.runtime.engines.protocol import Capabilities, Emit, Generate, TokenEvent
from teola.runtime.engines.simulated.answers import Answer, Answers
from teola.runtime.engines.simulated.prices import Prices
from teola.runtime.llm.prefixes import Marks, Prefixes

MERGED_TOKENS = 32
"""Tokens of one call that are told together where nothing is complete before."""
NOTHING = Answer((), (), "length")
KV_TOKENS, MAX_REQUESTS = 1 << 16, 64
"""Where the engine that it stands for does not say."""


@dataclass(slots=True)
class _Call:
    """``left`` are the prompt's tokens that are not computed yet, ``made`` those of the answer,
    ``told`` those that have left."""

    request: Generate
    answer: Answer
    marks: Marks
    left: int
    begun: bool = False
    made: int = 0
    told: int = 0

    @property
    def until(self) -> int:
        """Steps to the next token that is told."""
        point = next((one for one in self.answer.points if one > self.made), self.made + 1)
        return min(point, self.told + MERGED_TOKENS) - self.made

    def event(self) -> TokenEvent | None:
        """What there is to tell."""
        if self.left:
            return None
        whole = len(self.answer.tokens)
        due = self.made in self.answer.points or self.made >= self.told + MERGED_TOKENS
        if not due and self.made < whole:
            return None
        new, self.told = self.answer.tokens[self.told : self.made], self.made
        reason = self.answer.finish_reason if self.made >= whole else None
        return TokenEvent(self.request.id, new, reason)


@dataclass(slots=True)
class _Step:
    """``count`` decode steps of ``ms``, or one step with chunks of prompts."""

    began_s: float
    ms: float
    count: int
    chunks: Sequence[tuple[_Call, int]]
    decoding: Sequence[_Call]
    timer: asyncio.TimerHandle


class SimulatedLLM:
    """A step takes prompt tokens up to its budget, calls before warm-ups, and one token of every
    call that decodes. It costs the prefill of the chunks (its base once, where a prompt begins), or
    a decode step's base if that is more, and a decode step's items. A prefill gives the first
    token; blocks that are cached cost nothing.

    What comes at the very moment at which a step begins is part of it.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        prices = Prices(config)
        self._prefill, self._decode = prices.of("prefill"), prices.of("decode")
        self._capabilities = _capabilities(prices.settings)
        self._budget = prompt_budget(prices.settings)
        self._answers = Answers(config)
        block, room = self._capabilities.block_tokens, self._capabilities.kv_tokens
        self._cache = Prefixes(block, room)
        self._calls: dict[str, _Call] = {}
        self._step: _Step | None = None
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
            answer = NOTHING if request.warm else self._answers.of(request)
            marks = self._cache.marks(request.tokens)
            self._calls[request.id] = _Call(request, answer, marks, len(request.tokens))
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
        decoding = [call for call in self._calls.values() if not call.left]
        chunks = self._chunks()
        if chunks:
            fresh = sum(not call.begun for call, _ in chunks)
            ms = sum(count for _, count in chunks) * self._prefill.token_ms
            ms += fresh * self._prefill.item_ms + (self._prefill.base_ms if fresh else 0.0)
            if decoding:
                ms = max(ms, self._decode.base_ms) + self._decoding_ms(decoding, 1)
            self._run(now, ms, 1, chunks, decoding)
        elif decoding:
            count = min(call.until for call in decoding)
            ms = self._decode.base_ms + self._decoding_ms(decoding, count)
            self._run(now, ms, count, (), decoding)

    def _decoding_ms(self, decoding: Sequence[_Call], count: int) -> float:
        """What sequences add to each of the next steps, with the contexts that they have then."""
        tokens = sum(len(call.request.tokens) + call.made + count / 2 for call in decoding)
        return len(decoding) * self._decode.item_ms + tokens * self._decode.token_ms

    def _chunks(self) -> list[tuple[_Call, int]]:
        """What of the prompts is computed next."""
        room, chunks = self._budget, []
        filling = [call for call in self._calls.values() if call.left]
        for call in sorted(filling, key=lambda call: call.request.warm):
            if not call.begun:
                cached = self._cache.cached(call.marks) * self._cache.block_tokens
                call.left = max(1, len(call.request.tokens) - cached)
            count = min(room, call.left)
            if not count:
                break
            chunks.append((call, count))
            room -= count
        return chunks

    def _run(
        self,
        began_s: float,
        ms: float,
        count: int,
        chunks: Sequence[tuple[_Call, int]],
        decoding: Sequence[_Call],
    ) -> None:
        timer = asyncio.get_running_loop().call_at(began_s + ms * count / 1000, self._end)
        self._step = _Step(began_s, ms, count, chunks, decoding, timer)

    def _end(self) -> None:
        step, self._step = self._step, None
        if step is None:
            return
        for call in step.decoding:
            call.made += step.count
        for call, count in step.chunks:
            call.begun = True
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
        if told:
            self._emit(told)


def _capabilities(settings: Mapping[str, Any]) -> Capabilities:
    """What the engine that is stood for would say of itself."""
    if "kv_pages" in settings:
        pages = KVBudget.of(settings)
        kv_tokens, requests, block = pages.kv_tokens, pages.max_requests, pages.page_tokens
    else:
        kv_tokens = int(settings.get("kv_tokens", KV_TOKENS))
        requests, block = int(settings.get("max_requests", MAX_REQUESTS)), PAGE_TOKENS
    return Capabilities(
        context=int(settings.get("context_tokens", 0)),
        kv_tokens=kv_tokens,
        max_requests=requests,
        prefix_cache=True,
        block_tokens=block,
        continues=True,
        sampling=frozenset({"temperature", "top_p", "stop", "seed"}),
        grammars=frozenset({"json_schema", "choices"}),
    )


def _drop(_events: Sequence[TokenEvent]) -> None:
    """Nobody listens."""
