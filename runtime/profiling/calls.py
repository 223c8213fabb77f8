"""Probes of LLM calls: prefill until the first token, decode a step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

from teola.runtime.engines.protocol import Emit, Generate, TokenEvent
from teola.runtime.hosts import EngineHandle, HostError
from teola.runtime.profiling.errors import MeasureError
from teola.runtime.profiling.probe import Probe, Sample, Subject, sample
from teola.runtime.profiling.texts import Texts

PROMPT = 128
"""Tokens of a prompt, where their number is not what is varied."""
PROMPTS = (64, 256, 512, 1024, 2048, 4096, 8192)
CONTEXTS = (512, 1024)
"""Tokens of a prompt after which decoding is measured, beside ``PROMPT``."""
ANSWER = 24
"""Tokens of an answer whose steps are measured."""
_numbers = count(1)


class Tap:
    """An engine whose token events go to ``hear``, and not to the pool's scheduler; everything
    else is the engine's own."""

    def __init__(self, handle: EngineHandle) -> None:
        self.handle = handle
        self.hear: Emit = _ignore

    def __getattr__(self, name: str) -> Any:
        return getattr(self.handle, name)

    def listen(self, emit: Emit) -> None:
        """The scheduler has sent nothing and would hear of nothing."""
        self.handle.listen(self._hear)

    def _hear(self, events: Sequence[TokenEvent]) -> None:
        self.hear(events)


@dataclass(frozen=True, slots=True)
class Heard:
    """When a call gave how many tokens, in seconds after all were sent."""

    call: str
    at_s: float
    tokens: int
    last: bool


async def generate(
    subject: Subject, prompts: Sequence[Sequence[int]], max_tokens: int
) -> list[Heard]:
    """Send one call a prompt at once, each for exactly ``max_tokens`` tokens; what came, in order.

    Raises:
        MeasureError: a call failed.
    """
    loop = asyncio.get_running_loop()
    calls = [Generate(f"profile{next(_numbers)}", p, max_tokens, ignore_eos=True) for p in prompts]
    left = {call.id for call in calls}
    heard: list[Heard] = []
    ended: asyncio.Future[None] = loop.create_future()

    def hear(events: Sequence[TokenEvent]) -> None:
        at_s = loop.time() - began
        for event in (event for event in events if event.id in left and not ended.done()):
            if event.failure is not None:
                ended.set_exception(MeasureError(event.failure.message))
                return
            heard.append(Heard(event.id, at_s, len(event.tokens), event.finish_reason is not None))
            if event.finish_reason is not None:
                left.discard(event.id)
        if not left and not ended.done():
            ended.set_result(None)

    subject.tap.hear = hear
    began = loop.time()
    try:
        await subject.handle.submit(calls)
        await _unless_dead(ended, subject.handle)
    finally:
        subject.tap.hear = _ignore
        if left:
            with suppress(HostError):  # a dead engine runs nothing
                await subject.handle.abort(sorted(left))
    return heard


async def _unless_dead(ended: asyncio.Future[None], handle: EngineHandle) -> None:
    died: asyncio.Future[Any] = handle.died
    await asyncio.wait([ended, died], return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        raise MeasureError(str(died.result()))
    ended.result()


class CallProbe(Probe):
    """Calls that fit into the engine together."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.texts = Texts(subject.tokenizer())
        found = subject.capabilities
        self.room = min(found.context, found.kv_tokens)
        self.usual = min(PROMPT, self.room // 2)
        if self.usual < 1:
            raise MeasureError(f"the engine has room for {self.room} tokens only")

    def fitting(self, tokens: int) -> int:
        """How many calls of ``tokens`` tokens, prompt and answer, the engine runs at once."""
        found = self.subject.capabilities
        return max(1, min(found.max_requests, found.kv_tokens // tokens))


class Prefill(CallProbe):
    """Prompts until their first token. All are different, so that none is found in a cache."""

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self.max_items = self.fitting(self.usual + 1)
        self.lengths = tuple(length for length in PROMPTS if length < self.room)

    def fits(self, items: int, tokens: int) -> bool:
        return items <= self.fitting(tokens + 1)

    async def run(self, items: int, tokens: int) -> Sample:
        prompts = [self.texts.prompt(tokens) for _ in range(items)]
        heard = await generate(self.subject, prompts, 1)
        return sample(max(one.at_s for one in heard), tokens)


class Decode(CallProbe):
    """One step of sequences that decode together, after a prompt which all share: its tokens, and
    half of the answer's, are those of their contexts."""

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self.answer = min(ANSWER, self.room - self.usual)
        self.max_items = self.fitting(self.usual + self.answer)
        self.lengths = tuple(length for length in CONTEXTS if length + ANSWER <= self.room)
        self.prompts = {length: self.texts.prompt(length) for length in (self.usual, *self.lengths)}

    def fits(self, items: int, tokens: int) -> bool:
        return items <= self.fitting(tokens + self.answer)

    async def run(self, items: int, tokens: int) -> Sample:
        heard = await generate(self.subject, [self.prompts[tokens]] * items, self.answer)
        return sample(step_seconds(heard), tokens + self.answer / 2)


def step_seconds(heard: Sequence[Heard]) -> float:
    """Seconds of one step of all sequences, while all of them decode: from the moment when each has
    its first token until the first one ends.

    Raises:
        MeasureError: they did not decode together for one step.
    """
    first: dict[str, float] = {}
    for one in heard:
        if one.tokens:
            first.setdefault(one.call, one.at_s)
    begin = max(first.values(), default=0.0)
    end = min((one.at_s for one in heard if one.last), default=0.0)
    tokens = sum(one.tokens for one in heard if begin < one.at_s <= end)
    if end <= begin or tokens < len(first):
        if all(one.at_s == begin for one in heard):
            return 0.0  # a clock that stands still
        raise MeasureError(f"{len(first)} sequences do not decode together")
    return (end - begin) * len(first) / tokens


def _ignore(_events: Sequence[TokenEvent]) -> None:
    """Nothing is measured now."""
