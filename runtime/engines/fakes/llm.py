"""A fake language model: its answer is made from a hash of the prompt, and of how it is sampled."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import Any

from teola.compiler.engine_settings import GRAMMARS, SAMPLING
from teola.runtime.engines.made_up import likely, made_up
from teola.runtime.engines.protocol import (
    GREEDY,
    Capabilities,
    Chances,
    Emit,
    Failure,
    Generate,
    Grammar,
    Sampling,
    TokenEvent,
)
from teola.runtime.engines.refusal import refusal
from teola.runtime.engines.tokenizer.fake import BEGIN, ByteTokenizer
from teola.runtime.errors import UnsupportedError
from teola.runtime.hosts.errors import EngineDied
from teola.runtime.llm.prefixes import Marks, Prefixes

BLOCK_TOKENS = 16
TOKENS_PER_STEP = 16
WORDS = ("amber", "brève", "cobalt", "dünn", "elm", "forêt", "grün", "hazel")
LINES = 4
ANSWERS = (BEGIN, *b"assistant\n")
"""What the chat template ends with: an answer follows."""


class FakeLLM:
    """Gives what `answer` says, in steps of up to 16 tokens for each of the first ``max_requests``.

    Answers end by themselves (``stop``) within ``max_tokens``; with ``ignore_eos`` they have
    exactly ``max_tokens`` tokens (``length``). A step takes ``latency_ms``, ``per_item_ms`` for
    each running request and ``per_token_ms`` for each prompt token that comes in and is not cached:
    blocks of 16 tokens are, from the end of the prompt's first step on.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._latency_s = float(config.get("latency_ms", 0)) / 1000
        self._per_item_s = float(config.get("per_item_ms", 0)) / 1000
        self._per_token_s = float(config.get("per_token_ms", 0)) / 1000
        self._fail_items = tuple(config.get("fail_items", ()))
        self._die_after = config.get("die_after")
        self._grammars = () if config.get("structured_outputs") == "none" else GRAMMARS
        self._adapters = frozenset(config.get("adapters") or ())
        self._tokenizer = ByteTokenizer()
        self._emit: Emit = _drop
        self._running: dict[str, _Running] = {}
        self._step_due: asyncio.Handle | None = None
        self._context = int(config.get("context_tokens", 8192))
        self._kv_tokens = int(config.get("kv_tokens", 65536))
        self._max_requests = int(config.get("max_requests", 64))
        self._cache = Prefixes(BLOCK_TOKENS, self._kv_tokens)
        self.submissions = 0

    def listen(self, emit: Emit) -> None:
        """See `LLMEngine.listen`."""
        self._emit = emit

    async def start(self) -> Capabilities:
        """Ready at once."""
        return Capabilities(
            context=self._context,
            kv_tokens=self._kv_tokens,
            max_requests=self._max_requests,
            prefix_cache=True,
            block_tokens=BLOCK_TOKENS,
            continues=True,
            sampling=SAMPLING,
            grammars=frozenset(self._grammars),
            adapters=self._adapters,
        )

    async def close(self) -> None:
        """Stop everything."""
        self._running.clear()
        if self._step_due is not None:
            self._step_due.cancel()
            self._step_due = None

    async def submit(self, requests: Sequence[Generate]) -> None:
        """See `LLMEngine.submit`."""
        self.submissions += 1
        if self._die_after is not None and self.submissions > self._die_after:
            raise EngineDied(f"the fake LLM was told to die after {self._die_after} submissions")
        for request in requests:
            self._running[request.id] = running = self._begin(request)
            running.marks = self._cache.marks(request.tokens, request.adapter)
            running.prompt_tokens = len(request.tokens)
        self._plan()

    def _begin(self, request: Generate) -> _Running:
        if self._fail_items:
            prompt = self._tokenizer.decode(request.tokens)
            found = next((part for part in self._fail_items if part in prompt), None)
            if found is not None:
                told = Failure("item", f"the fake LLM was told to fail on {found!r}")
                return _Running((), "", told)
        room = min(self._context, self._kv_tokens)
        refused = refusal(request, room, sys.maxsize, self._adapters)
        if refused is not None:
            return _Running((), "", refused)
        if request.warm:
            return _Running((), "length", stream=False)
        try:
            tokens = answer(
                request.tokens,
                request.max_tokens,
                ignore_eos=request.ignore_eos,
                sampling=request.sampling,
                grammar=request.grammar,
                adapter=request.adapter,
            )
        except UnsupportedError as error:
            return _Running((), "", Failure("item", str(error)))
        cut = len(tokens) >= request.max_tokens
        running = _Running(tokens, "length" if cut else "stop", stream=request.stream)
        if request.sampling.logprobs:
            running.chances = likely(request.grammar, self._tokenizer.decode(tokens))
        return running

    async def abort(self, ids: Sequence[str]) -> None:
        """See `LLMEngine.abort`."""
        for request_id in ids:
            self._running.pop(request_id, None)

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """``describe``: how many requests run."""
        if command != "describe":
            raise ValueError(f"the fake LLM knows no command {command!r} ({', '.join(arguments)})")
        return {"running": len(self._running)}

    def _plan(self) -> None:
        if self._step_due is not None or not self._running:
            return
        batch = dict(islice(self._running.items(), self._max_requests))
        delay = self._latency_s + self._per_item_s * len(batch)
        for one in batch.values():
            if one.cached is None:
                one.cached = self._cache.cached(one.marks) * BLOCK_TOKENS
                delay += self._per_token_s * (one.prompt_tokens - one.cached)
        step = partial(self._step, batch)
        loop = asyncio.get_running_loop()
        self._step_due = loop.call_later(delay, step) if delay else loop.call_soon(step)

    def _step(self, batch: Mapping[str, _Running]) -> None:
        """The end of a step; what came while it went on is in the next one."""
        self._step_due = None
        for one in batch.values():
            if not one.made:
                self._cache.add(one.marks)
        stepped = [one.step(name) for name, one in batch.items() if self._running.get(name) is one]
        events = [event for event in stepped if event is not None]
        for event in events:
            if event.finish_reason is not None or event.failure is not None:
                del self._running[event.id]
        self._plan()
        if events:
            self._emit(events)


@dataclass(slots=True)
class _Running:
    """One request: its answer, and how much of it is made; ``cached`` tokens of its prompt were
    there when it entered its first step."""

    tokens: Sequence[int]
    finish_reason: str
    failure: Failure | None = None
    stream: bool = True
    made: int = 0
    chances: Sequence[Chances] = ()
    marks: Marks = ()
    prompt_tokens: int = 0
    cached: int | None = None

    def step(self, request_id: str) -> TokenEvent | None:
        if self.failure is not None:
            return TokenEvent(request_id, (), failure=self.failure)
        told = self.made if self.stream else 0
        self.made += TOKENS_PER_STEP
        ended = self.made >= len(self.tokens)
        if not (ended or self.stream):
            return None
        now = self.tokens[told : self.made] if self.stream else self.tokens
        reason = self.finish_reason if ended else None
        if told:
            return TokenEvent(request_id, now, reason)
        return TokenEvent(request_id, now, reason, cached=self.cached, chances=self.chances)


def answer(
    prompt: Sequence[int],
    max_tokens: int,
    *,
    ignore_eos: bool = False,
    sampling: Sampling = GREEDY,
    grammar: Grammar | None = None,
    adapter: str | None = None,
) -> Sequence[int]:
    """The fake answer to a prompt, as tokens of `ByteTokenizer`.

    Four lines, each a word and a part of the hash; as many whole lines as leave room for the end
    within ``max_tokens``, or a part of the first. With ``ignore_eos`` lines until it is full. A
    prompt that ends with the beginning of an answer gets the rest of it. With a ``grammar`` the
    answer is a value that it allows, or as much of it as there is room for. Each ``adapter`` has
    answers of its own.
    """
    tokens, mark = tuple(prompt), _mark(sampling, adapter)
    if grammar is not None:
        text = made_up(grammar, _seed(tokens, mark)).encode()
        return _before(tuple(text[:max_tokens]), sampling.stop)
    begin = _answer_begins(tokens)
    begun = tokens[begin:]
    whole = _answer(tokens[:begin], len(begun) + max_tokens, ignore_eos, mark)
    if whole[: len(begun)] == begun:
        return _before(whole[len(begun) :], sampling.stop)
    return _before(_answer(tokens, max_tokens, ignore_eos, mark), sampling.stop)


def _mark(sampling: Sampling, adapter: str | None) -> bytes:
    """What counts beside the prompt: of how an answer is sampled, at temperature 0 nothing."""
    drawn = (sampling.temperature, sampling.top_p, sampling.seed)
    mark = repr(drawn).encode() if sampling.temperature else b""
    return mark if adapter is None else mark + adapter.encode()


def _seed(prompt: Sequence[int], mark: bytes) -> bytes:
    return hashlib.sha256(array("q", prompt).tobytes() + mark).digest()


def _before(tokens: Sequence[int], stops: Sequence[str]) -> Sequence[int]:
    """What comes before the first of some texts."""
    found = [bytes(tokens).find(stop.encode()) for stop in stops]
    return tokens[: min((place for place in found if place >= 0), default=len(tokens))]


def _answer_begins(prompt: tuple[int, ...]) -> int:
    """Where in a prompt its answer begins, or would."""
    if BEGIN in prompt:
        begin = len(prompt) - 1 - prompt[::-1].index(BEGIN)
        if prompt[begin : begin + len(ANSWERS)] == ANSWERS:
            return begin + len(ANSWERS)
    return len(prompt)


def _answer(
    prompt: Sequence[int], max_tokens: int, ignore_eos: bool, mark: bytes
) -> tuple[int, ...]:
    seed = _seed(prompt, mark)
    text = b""
    for index in count():
        if index >= LINES and not ignore_eos:
            break
        line = _line(seed, index)
        if len(text) + len(line) >= max_tokens:
            text += line if ignore_eos or not text else b""
            break
        text += line
    return tuple(text[:max_tokens] if ignore_eos else text[: max(1, max_tokens - 1)])


def _line(seed: bytes, index: int) -> bytes:
    digest = hashlib.sha256(seed + index.to_bytes(4)).digest()
    return f"{WORDS[digest[0] % len(WORDS)]} {digest[1:7].hex()}\n".encode()


def _drop(_events: Sequence[TokenEvent]) -> None:
    """Nobody listens."""
