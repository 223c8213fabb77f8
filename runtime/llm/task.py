"""A task that is an LLM call: two clocks, an abort, and no repetition of what has left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from teola.runtime.clocks import Line
from teola.runtime.engines.protocol import GREEDY, Failure, Generate, Grammar, Sampling, TokenEvent
from teola.runtime.errors import ModuleError, Place, StreamInterrupted
from teola.runtime.limits import Limits
from teola.runtime.llm.prefixes import Marks
from teola.runtime.task import Task

if TYPE_CHECKING:
    from teola.runtime.llm.replica import LLMReplica
    from teola.runtime.suspects import Death


def _no_results(_: list[Any]) -> None:
    """A call gives tokens, not results."""


class Call(Protocol):
    """Who made a call, as its task sees it."""

    def attempt(self) -> None:
        """A new attempt begins: forget what an earlier one gave."""
        ...

    def started(self) -> None:
        """The engine has the call."""
        ...

    def event(self, event: TokenEvent) -> None:
        """New tokens or text; the last event has a reason."""
        ...

    def left(self) -> bool:
        """Whether anything of it has reached the caller or a later step."""
        ...

    def failed(self, error: ModuleError) -> None:
        """It failed for good."""
        ...


class LLMTask(Task):
    """One LLM call: ``prompt`` tokens in, at most ``max_tokens`` out, ``tokens`` of KV together;
    ``marks`` stand for the prompt's blocks. What an attempt gave (``given``) stays where the engine
    can go on from there and the call is ``resumable``: the next attempt's prompt ends with it. A
    call that ran at its replica's ``death`` is ``suspect``: from then on it runs alone.
    ``messages`` are the prompt as an engine gets it that takes no tokens."""

    __slots__ = (
        "abort",
        "call",
        "death",
        "given",
        "grammar",
        "home",
        "id",
        "idle",
        "ignore_eos",
        "marks",
        "max_tokens",
        "messages",
        "priority",
        "prompt",
        "sampling",
        "sender",
        "suspect",
        "tokens",
    )

    def __init__(
        self,
        prompt: Sequence[int],
        max_tokens: int,
        ignore_eos: bool,
        place: Place,
        limits: Limits,
        call: Call,
        adapter: str | None = None,
    ) -> None:
        self.idle: Line | None = None
        common = {} if adapter is None else {"adapter": adapter}
        super().__init__(
            *("generate", (prompt,), common, place, limits),
            *(_no_results, call.failed, None, call.started),
        )
        self.prompt, self.max_tokens, self.ignore_eos = prompt, max_tokens, ignore_eos
        self.tokens = len(prompt) + max_tokens
        self.call = call
        self.messages: Sequence[Mapping[str, str]] = ()
        self.marks: Marks = ()
        self.given: list[int] = []
        self.priority = 0
        self.sampling: Sampling = GREEDY
        self.grammar: Grammar | None = None
        self.suspect = False
        self.death: Death | None = None
        self.id = ""
        self.abort: Callable[[LLMTask], None] | None = None
        self.sender: asyncio.Task[None] | None = None
        self.home: LLMReplica | None = None

    @property
    def adapter(self) -> str | None:
        """The weights beside the model's that answer."""
        return self.common.get("adapter")

    def size(self, index: int) -> int:
        return self.tokens

    def request(self) -> Generate:
        """What the engine is asked."""
        return Generate(
            self.id,
            self.prompt,
            self.max_tokens,
            self.ignore_eos,
            primitive=self.place.primitive,
            workflow=self.place.workflow,
            sampling=self.sampling,
            grammar=self.grammar,
            messages=self.messages,
            priority=self.priority,
            adapter=self.adapter,
        )

    def event(self, event: TokenEvent) -> None:
        """Tokens of the running attempt, or its end. One that was not taken goes on waiting."""
        if event.failure is not None and event.failure.kind == "full":
            return
        self.start_idle_clock()
        if event.failure is not None:
            self.running = 0
            self.retry_or_fail(ModuleError(self.place, event.failure.message, event.failure.kind))
            return
        self.given += event.tokens
        if event.finish_reason is not None:
            self.end()
        self.call.event(event)

    def start_idle_clock(self) -> None:
        """A token came: the time to the next one is bounded."""
        seconds = self.limits.idle_timeout_s
        if seconds is not None and self.queue is not None:
            self.idle = self.queue.clocks.start(seconds, LLMTask._idled, self)

    def stop_clock(self) -> None:
        super().stop_clock()
        self._stop_idle_clock()

    def _stop_idle_clock(self) -> None:
        if self.idle is not None:
            self.idle.leave(self)
            self.idle = None

    def _idled(self) -> None:
        self.time_passed("idle_timeout", self.limits.idle_timeout_s or 0.0)

    @property
    def resumable(self) -> bool:
        """Whether its answer may be broken off: what ends or shapes it looks at all of it."""
        return not self.sampling.stop and self.grammar is None

    @property
    def goes_on(self) -> bool:
        """Whether another attempt begins where this one ended."""
        return self.resumable and self.home is not None and self.home.capabilities.continues

    @property
    def _contradicts(self) -> bool:
        """Whether another attempt might say otherwise than what has left."""
        return not self.goes_on and self.call.left()

    def _lacks_only_its_end(self) -> bool:
        """Whether there is nothing to try again; it has ended then."""
        if len(self.given) < self.max_tokens:
            return False
        self.end()
        self.call.event(TokenEvent(self.id, (), "length"))
        return True

    def crowded_out(self, failure: Failure) -> None:
        """There was no memory for it beside others: it waits again, unless it is over now. Its
        `timeout` goes on, and that is no retry."""
        self._stop_idle_clock()
        if self._lacks_only_its_end():
            return
        if self._contradicts:
            self.fail(StreamInterrupted(self.place, failure.message, failure.kind))
        else:
            self.reset()

    def retry_or_fail(self, error: ModuleError) -> None:
        died = error.kind == "died"
        if self._lacks_only_its_end():
            return
        if died and self.suspect:
            twice = f"it ended the engine twice, among others and then alone: {error.cause}"
            self.fail(ModuleError(self.place, twice, "item"))
        elif (died or not self._lasts(error.kind)) and self._contradicts:
            self.fail(StreamInterrupted(self.place, error.cause, error.kind))
        elif died:
            self.suspect = True
            self.stop_clock()
            self._again()
        else:
            super().retry_or_fail(error)

    def give_up_attempt(self) -> None:
        super().give_up_attempt()
        if self.abort is not None:
            self.abort(self)

    def reset(self) -> None:
        self.todo, self.lapsed = (0,), False
        if self.goes_on:
            self.prompt = [*self.prompt, *self.given]
            self.max_tokens -= len(self.given)
            self.marks = ()
        else:
            self.call.attempt()
        self.given = []

    def cancel(self) -> None:
        ended = self.over
        super().cancel()
        if self.abort is not None and not ended:
            self.abort(self)
