"""One LLM with continuous batching: what runs on it, what it holds, who waits for a first token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count

from teola.runtime.circuit import Circuit
from teola.runtime.engines.protocol import Capabilities, Failure, TokenEvent
from teola.runtime.holds import Holds
from teola.runtime.llm.call_budget import CallBudget
from teola.runtime.llm.outbox import Generates, Outbox
from teola.runtime.llm.prefixes import Prefixes
from teola.runtime.llm.pulse import Pulse
from teola.runtime.llm.task import LLMTask
from teola.runtime.llm.warm_up import WarmUp
from teola.runtime.observing.engine_watch import EngineWatch
from teola.runtime.policies import Budget

REST_S, MOST_REST_S = 0.1, 1.6
"""A replica that is full is offered nothing for so long, twice as long the next time."""
_ids = count(1)


class LLMReplica:
    """``prompt + max_tokens`` of all running calls (``held``) stay within its KV; ``prefixes`` is
    our account of its cache, ``holds`` are those whose prefix it computes. What it may not do any
    more it gives back by ``released``; ``changed`` is called when there is room again, ``lost``
    with the reason when it is no more or hangs. ``suspect`` is who runs on it alone; ``reserved``:
    it is kept for one. ``limit`` is how many it runs at once. ``worked``: it has given tokens since
    it came up; ``excused``: it had before who runs on it alone, so a death then says nothing of the
    engine."""

    def __init__(
        self,
        engine: Generates,
        capabilities: Capabilities,
        circuit: Circuit,
        watch: EngineWatch,
        released: Callable[[Sequence[LLMTask]], None],
        changed: Callable[[], None],
        failed: Callable[[WarmUp], None],
        lost: Callable[[str], None],
        limit: CallBudget,
    ) -> None:
        self.limit = limit
        self.capabilities, self.circuit, self.watch = capabilities, circuit, watch
        self.released, self.changed, self.failed, self.lost = released, changed, failed, lost
        self.running: dict[str, LLMTask | WarmUp] = {}
        self.pulse = Pulse(self.running, lost)
        self.outbox = Outbox(engine, self.events, self.pulse)
        self.held = 0
        cached = capabilities.kv_tokens if capabilities.prefix_cache else 0
        self.prefixes = Prefixes(max(1, capabilities.block_tokens), cached)
        self.holds = Holds()
        self.suspect: LLMTask | None = None
        self.reserved = self.worked = self.excused = False
        self.rest_s = REST_S
        self.resting: asyncio.TimerHandle | None = None

    @property
    def rests(self) -> bool:
        """Whether it said that it is full, a short while ago."""
        return self.resting is not None

    @property
    def budget(self) -> Budget:
        """What it can take now."""
        if self.reserved or self.rests:
            return Budget(0, 0)
        room = self.limit.items - len(self.running)
        return Budget(room) if self.capabilities.priority else Budget(room, self.free)

    @property
    def free(self) -> int:
        """The tokens of its KV that nobody holds, by our account."""
        return self.capabilities.kv_tokens - self.held

    def fits(self, task: LLMTask | WarmUp) -> bool:
        """Whether it can take a call or a warm-up now."""
        budget = self.budget
        tokens = self.free if isinstance(task, WarmUp) else budget.tokens
        return budget.items > 0 and (tokens is None or task.tokens <= tokens)

    def tokens_until_done(self, task: LLMTask | WarmUp) -> int:
        """The tokens it would compute until a call that is sent now is through: the prompts before
        it, what of its own is not cached, and one of every other call with each of its own."""
        ahead = sum(self._uncached(one) for one in self.holds.leaders.values())
        own = self._uncached(task, self.holds.coming(task.marks))
        new = 0 if isinstance(task, WarmUp) else task.max_tokens
        return ahead + own + len(self.running) * new

    def _uncached(self, task: LLMTask | WarmUp, coming: int = 0) -> int:
        """What of a prompt is not cached; its first ``coming`` blocks are about to be."""
        blocks = max(self.prefixes.cached(task.marks), coming)
        return max(0, len(task.prompt) - blocks * self.prefixes.block_tokens)

    def leader(self, task: LLMTask) -> str | None:
        """Who computes a prefix of a prompt right now and should be waited for."""
        if self.capabilities.shares_in_flight or not task.marks:
            return None
        return self.holds.leader(task.marks, self.prefixes)

    def begin(self, task: LLMTask | WarmUp) -> None:
        """Count a call or a warm-up among those that run; ``send`` it then."""
        task.id = f"g{next(_ids)}"
        task.home = self
        task.running = 1
        task.started()
        if self.watch:
            self._tell_sent(task)
        self.running[task.id] = task
        self.limit.sent(task.id, len(self.running))
        self.pulse.changed()
        self.holds.lead(task)
        self.held += task.tokens
        if isinstance(task, LLMTask) and task.suspect:
            self.suspect = task
            self.excused = self.circuit.excused = self.worked

    def _tell_sent(self, task: LLMTask | WarmUp) -> None:
        warm = isinstance(task, WarmUp)
        origins = tuple(task.owners) if isinstance(task, WarmUp) else (task.origin,)
        cached = self.prefixes.cached(task.marks) * self.prefixes.block_tokens
        self.watch.sent(task.id, origins, warm, task.queued_s, len(task.prompt), cached)

    def send(self, tasks: Sequence[LLMTask | WarmUp]) -> None:
        """Hand what has begun to the engine, in one message."""
        sender = self.outbox.send([task.request() for task in tasks])
        for task in tasks:
            task.sender = sender

    def events(self, events: Sequence[TokenEvent]) -> None:
        """The events of one engine step. That something failed is no step."""
        if not events or any(event.failure is None for event in events):
            self.pulse.heard()
        back = []
        for event in events:
            if (task := self.running.get(event.id)) is None:
                continue
            failure = event.failure
            if failure is not None and failure.kind == "died":
                self.lost(failure.message)
                continue
            full = failure is not None and failure.kind == "full"
            if failure is not None and (full or failure.after_s):
                self._rest(failure.after_s)
            crowded = self._crowded(event)
            self._event(task, event, crowded=crowded)
            if isinstance(task, LLMTask) and (full or crowded):
                back.append(task)
        if back:
            self.released(back)

    def _crowded(self, event: TokenEvent) -> bool:
        """Whether there was no memory for a call because others run: it is sent again."""
        memory = event.failure is not None and event.failure.kind == "memory"
        return memory and self.limit.crowded(event.id, len(self.running))

    def _event(self, task: LLMTask | WarmUp, event: TokenEvent, *, crowded: bool = False) -> None:
        if self.watch:
            self.watch.event(event)
        if event.tokens or event.finish_reason:
            self.rest_s, self.worked = REST_S, True
            self.circuit.worked()
            if event.id in self.holds.leaders:
                self.prefixes.add(task.marks)
                self._release(event.id)
        if event.finish_reason is not None or event.failure is not None:
            self._free(task, well=event.failure is None)
        if event.failure is not None and isinstance(task, WarmUp):
            self.failed(task)
        if crowded and event.failure is not None and isinstance(task, LLMTask):
            task.crowded_out(event.failure)
        else:
            task.event(event)

    def _rest(self, after_s: float) -> None:
        """It is full, whatever our account says, perhaps for as long as it has said."""
        loop = asyncio.get_running_loop()
        delay_s = after_s
        if self.resting is None:
            delay_s = max(self.rest_s, after_s)
            self.rest_s = min(2 * self.rest_s, MOST_REST_S)
        elif self.resting.when() < loop.time() + after_s:
            self.resting.cancel()
        else:
            return
        self.resting = loop.call_later(delay_s, self._rested)

    def _rested(self) -> None:
        self.resting = None
        self.changed()

    def _release(self, leader: str) -> None:
        self.released(self.holds.release(leader))

    def _free(self, task: LLMTask | WarmUp, *, well: bool) -> None:
        if self.running.pop(task.id, None) is not None:
            self.limit.ended(task.id, well=well)
            self.held -= task.tokens
            task.running = 0
            if self.suspect is task:
                self.suspect, self.circuit.excused = None, False
            if self.watch:
                self.watch.over(task.id)
            self._release(task.id)
            self.pulse.changed()
            self.changed()

    def abort(self, task: LLMTask | WarmUp) -> None:
        """Nobody wants it any more."""
        if task.id in self.running:
            late = isinstance(task, LLMTask) and task.lapsed
            if late and not self.capabilities.remote:
                self.pulse.timed_out()
            self._free(task, well=isinstance(task, LLMTask) and bool(task.given))
            self.outbox.abort(task.id, task.sender)

    def hold_nobody(self) -> None:
        """Nobody waits for a first token any more."""
        for leader in tuple(self.holds.followers):
            self._release(leader)

    def end(self, failure: Failure) -> None:
        """The engine is gone: what ran has failed."""
        self._stop()
        for name, task in list(self.running.items()):
            self._event(task, TokenEvent(name, (), failure=failure))

    def _stop(self) -> None:
        self.outbox.end()
        self.pulse.end()
        if self.resting is not None:
            self.resting.cancel()
            self.resting = None

    async def close(self) -> None:
        """Stop."""
        self._stop()
        await self.outbox.close()

    def check_integrity(self) -> list[str]:
        """What should not be there when nothing runs."""
        problems = self.holds.check_integrity()
        if self.running:
            problems.append(f"{len(self.running)} calls run on an idle engine")
        if self.held:
            problems.append(f"{self.held} KV tokens are held by nobody")
        return problems
