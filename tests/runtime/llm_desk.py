"""An LLM scheduler before a scripted engine: tests say when it answers, fails or dies."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from teola.runtime.engines.protocol import Capabilities, Failure, TokenEvent
from teola.runtime.errors import Place
from teola.runtime.limits import Limits
from teola.runtime.llm.scheduler import LLMScheduler
from teola.runtime.llm.task import LLMTask
from teola.runtime.policies import RemainingWork

PLACE = Place("w", "m", 1, "m.decode", "llm")
BLOCK = 16
KEEPS = Capabilities(
    kv_tokens=4096, max_requests=8, context=4096, prefix_cache=True, block_tokens=BLOCK
)


def prompt(*parts):
    """Tokens of (mark, blocks) parts: prompts with equal leading parts have a common prefix."""
    return [1000 * ord(mark) + n for mark, blocks in parts for n in range(blocks * BLOCK)]


@dataclass(eq=False)
class Owner:
    """Wants warm-ups; notes what it is told."""

    told: list = field(default_factory=list)

    def sent(self, tokens):
        self.told.append(tokens)

    def ended(self):
        self.told.append("ended")


class Caller:
    """Makes calls; notes their tokens, ends and errors. ``reads``: tokens leave as they come."""

    def __init__(self, reads=False):
        self.got, self.ends, self.error, self.attempts = [], [], None, 0
        self.reads = reads

    def attempt(self):
        self.attempts += 1
        self.got = []

    def started(self):
        pass

    def event(self, event):
        self.got += event.tokens
        if event.finish_reason is not None:
            self.ends.append(event.finish_reason)

    def left(self):
        return self.reads and bool(self.got)

    def failed(self, error):
        assert self.error is None
        self.error = error


class Desk:
    """The scheduler's engine. ``sent`` are the requests it has, ``aborted`` those taken back."""

    def __init__(self, capabilities=KEEPS):
        self.sent, self.aborted = [], []
        self.scheduler = LLMScheduler(RemainingWork())
        self.capabilities = capabilities
        self.start()

    def start(self):
        """The engine is up (again)."""
        self.replica = self.scheduler.start(self, self.capabilities)

    async def submit(self, requests):
        self.sent += requests

    async def abort(self, ids):
        self.aborted += ids

    async def turn(self):
        """Let everything that is due happen."""
        for _ in range(6):
            await asyncio.sleep(0)

    async def call(self, tokens, max_tokens=4, **limits):
        """Queue a call."""
        caller = Caller()
        task = LLMTask(tokens, max_tokens, False, PLACE, Limits(**limits), caller)
        self.scheduler.submit(task)
        await self.turn()
        return task

    async def warm(self, tokens, owner=None, least=1, adapter=None):
        """Offer a warm-up."""
        owner = owner or Owner()
        self.scheduler.warm(owner, tokens, least, adapter)
        await self.turn()
        return owner

    async def leave(self, owner):
        self.scheduler.leave(owner)
        await self.turn()

    async def answer(self, *numbers, end=True, failure=None):
        """The requests of these numbers give a token; the last one with ``end``."""
        self.replica.events([self._event(self.sent[one], end, failure) for one in numbers])
        await self.turn()

    def _event(self, request, end, failure):
        if failure:
            return TokenEvent(request.id, (), failure=Failure("engine", failure))
        return TokenEvent(request.id, () if request.warm else (7,), "stop" if end else None)

    @property
    def marks(self):
        """What was sent: the first letter of each prompt, lower case for warm-ups."""
        letters = [(chr(one.tokens[0] // 1000), one.warm) for one in self.sent]
        return "".join(letter.lower() if warm else letter for letter, warm in letters)

    @property
    def counts(self):
        """What became of the warm-ups, without what is zero."""
        found = self.scheduler.warm_ups.counts
        names = ("sent", "used", "dropped", "wasted", "failed")
        return {name: getattr(found, name) for name in names if getattr(found, name)}
