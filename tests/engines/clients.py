"""Started engines, to call from tests."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass

from teola.runtime.engines import find_entry
from teola.runtime.engines.protocol import Generate, Request
from teola.runtime.hosts import EngineDied, connect


class Client:
    """An engine by its handle; ``config`` is what it was made with."""

    def __init__(self, config, on_loop, entry=None):
        self.config = config
        self._on_loop = on_loop
        self.handle = connect(entry or find_entry(config["kind"], config["backend"]), config)
        self.prepare()
        self.capabilities = self.wait(self.handle.start())

    def prepare(self):
        """What comes before the start."""

    def wait(self, coroutine):
        """Run a coroutine on the engine's loop."""
        return self._on_loop(coroutine)

    def control(self, command, **arguments):
        return self.wait(self.handle.control(command, arguments))

    def kill(self):
        """End its process from outside; without one, it ends by itself (``Backend.dies``), or as
        its host would note it."""
        pid = getattr(self.handle, "pid", None)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        elif self.backend.dies is None:
            self.handle._note_death(EngineDied("it was ended from outside"))

    def restart(self):
        self.capabilities = self.wait(self.handle.restart())

    def close(self):
        self.wait(self.handle.close())


class BatchClient(Client):
    """An engine for items."""

    def run(self, *requests):
        return self.wait(self.handle.run(requests))

    def items(self, operation, items, **common):
        """The results of one request."""
        (results,) = self.run(Request(operation, items, common))
        return results


class Answer:
    """All events of one request."""

    def __init__(self):
        self.events = []
        self.begun = asyncio.Event()
        self.over = asyncio.Event()

    @property
    def tokens(self):
        return [token for event in self.events for token in event.tokens]

    @property
    def said(self):
        """What two answers are compared by: text of an engine that speaks in text, else tokens."""
        texts = [event.text for event in self.events if event.text is not None]
        return "".join(texts) if texts else self.tokens

    @property
    def cached(self):
        """Prompt tokens that were there already; None where the engine does not tell."""
        return next((event.cached for event in self.events if event.cached is not None), None)

    @property
    def prompt(self):
        """How many tokens of the prompt a server has counted."""
        return self.events[-1].prompt

    @property
    def finish_reason(self):
        return self.events[-1].finish_reason

    @property
    def failure(self):
        return self.events[-1].failure


@dataclass(frozen=True)
class Prompt:
    """One prompt, as tokens or as messages."""

    tokens: tuple[int, ...]
    messages: tuple[dict[str, str], ...] = ()


class LLMClient(Client):
    """An LLM engine."""

    def prepare(self):
        self._count = 0
        self.answers = {}
        self._going, self._most = set(), 0
        self.handle.listen(self._hear)

    def _hear(self, events):
        heard = {event.id for event in events}
        assert len(heard) == len(events), "one event a request and step"
        for event in events:
            answer = self.answers[event.id]
            assert not answer.over.is_set(), "nothing follows the last event"
            answer.events.append(event)
            answer.begun.set()
            if event.finish_reason is not None or event.failure is not None:
                answer.over.set()
        ended = {one for one in heard if self.answers[one].over.is_set()}
        going = self._going - ended | (heard - self._going)
        self._most = max(self._most, len(going))
        self._going = going - ended

    @property
    def longest(self):
        """Tokens of the longest request, prompt and answer."""
        told = self.capabilities
        return min(told.context or told.kv_tokens, told.kv_tokens)

    def request(self, prompt, max_tokens, **settings):
        """A request for a `Prompt`, or for tokens."""
        self._count += 1
        if isinstance(prompt, Prompt):
            settings = {"messages": prompt.messages, **settings}
            prompt = prompt.tokens
        request = Generate(f"q{self._count}", tuple(prompt), max_tokens, **settings)
        self.answers[request.id] = Answer()
        return request

    async def finish(self, requests):
        """Submit and wait for all."""
        await self.handle.submit(requests)
        for request in requests:
            await self.answers[request.id].over.wait()
        return [self.answers[request.id] for request in requests]

    def generate(self, *requests):
        """The answers to (prompt, max_tokens, settings) at once."""
        made = [self.request(prompt, count, **settings) for prompt, count, settings in requests]
        return self.run(self.finish(made))

    def at_once(self, requests):
        """How many of them ran at once: had a token while the others had not ended."""
        self._going, self._most = set(), 0
        self.run(self.finish(requests))
        return self._most

    def run(self, coroutine):
        return self.wait(coroutine)


@contextmanager
def started(client, config, on_loop, entry=None):
    """A client whose engine, of a class of its own or its backend's, is closed at the end."""
    one = client(config, on_loop, entry)
    try:
        yield one
    finally:
        one.close()
