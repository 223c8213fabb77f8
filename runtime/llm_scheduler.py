"""The lower tier for LLMs: admission by KV tokens; the engine batches continuously itself."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Protocol

from teola.runtime.engines.protocol import Capabilities, Failure, Generate, TokenEvent
from teola.runtime.errors import ModuleError, Place, StreamInterrupted
from teola.runtime.hosts.errors import EngineDied
from teola.runtime.limits import Limits
from teola.runtime.policies import Budget, Policy
from teola.runtime.task import Task

_ids = count(1)


class Generates(Protocol):
    """What generates: an LLM engine through its host."""

    async def submit(self, requests: Sequence[Generate]) -> None:
        """See ``LLMEngine.submit``."""
        ...

    async def abort(self, ids: Sequence[str]) -> None:
        """See ``LLMEngine.abort``."""
        ...


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

    def tokens(self, new: Sequence[int], finish_reason: str | None) -> None:
        """New tokens; the last event has a reason."""
        ...

    def left(self) -> bool:
        """Whether anything of it has reached the caller or a later step."""
        ...

    def failed(self, error: ModuleError) -> None:
        """It failed for good."""
        ...


class LLMTask(Task):
    """One LLM call: ``prompt`` tokens in, at most ``max_tokens`` out."""

    __slots__ = ("abort", "call", "id", "idle", "ignore_eos", "max_tokens", "prompt", "sender")

    def __init__(
        self,
        prompt: Sequence[int],
        max_tokens: int,
        ignore_eos: bool,
        place: Place,
        limits: Limits,
        call: Call,
    ) -> None:
        self.idle: asyncio.TimerHandle | None = None
        super().__init__(
            "generate", (None,), {}, place, limits, _no_results, call.failed, None, call.started
        )
        self.prompt, self.max_tokens, self.ignore_eos = prompt, max_tokens, ignore_eos
        self.tokens = len(prompt) + max_tokens
        self.call = call
        self.id = ""
        self.abort: Callable[[LLMTask], None] | None = None
        self.sender: asyncio.Task[None] | None = None

    def event(self, event: TokenEvent) -> None:
        """Tokens of the running attempt, or its end."""
        self.start_idle_clock()
        if event.failure is not None:
            self.running = 0
            self.retry_or_fail(ModuleError(self.place, event.failure.message, event.failure.kind))
            return
        if event.finish_reason is not None:
            self.end()
        self.call.tokens(event.tokens, event.finish_reason)

    def start_idle_clock(self) -> None:
        """A token came: the time to the next one is bounded."""
        if self.idle is not None:
            self.idle.cancel()
        if (seconds := self.limits.idle_timeout_s) is not None:
            loop = asyncio.get_running_loop()
            self.idle = loop.call_later(seconds, self.timed_out, "idle_timeout", seconds)

    def stop_clock(self) -> None:
        super().stop_clock()
        if self.idle is not None:
            self.idle.cancel()
            self.idle = None

    def retry_or_fail(self, error: ModuleError) -> None:
        again = self.attempt < self.limits.max_retries and error.kind in self.limits.on
        if again and self.call.left():
            self.fail(StreamInterrupted(self.place, error.cause, error.kind))
        else:
            super().retry_or_fail(error)

    def give_up_attempt(self) -> None:
        super().give_up_attempt()
        if self.abort is not None:
            self.abort(self)

    def reset(self) -> None:
        self.todo = deque([0])
        self.call.attempt()

    def cancel(self) -> None:
        super().cancel()
        if self.abort is not None:
            self.abort(self)


class LLMScheduler:
    """Sends what fits now: ``prompt + max_tokens`` of all running calls within the engine's KV and
    request limits; the rest waits here."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.queue: deque[Task] = deque()
        self.running: dict[str, LLMTask] = {}
        self.held = 0
        self.engine: Generates | None = None
        self.capabilities = Capabilities()
        self.sending: set[asyncio.Task[None]] = set()
        self.planned = False
        self.broken = ""

    def start(self, engine: Generates, capabilities: Capabilities) -> None:
        """The engine is up (again)."""
        self.engine, self.capabilities = engine, capabilities
        for task in self.queue:
            task.start_clock()
        self._plan()

    def submit(self, task: LLMTask) -> None:
        """Queue a call."""
        task.abort = self._abort
        task.queued(self._enqueue)
        self._enqueue(task)

    def _enqueue(self, task: Task) -> None:
        if self.broken:
            task.fail(ModuleError(task.place, self.broken))
            return
        if self.engine is not None:
            task.start_clock()
        self.queue.append(task)
        self._plan()

    def fail(self, reason: str) -> None:
        """The engine will not come back: what waits, and whatever comes, fails."""
        self.broken, self.engine = reason, None
        queue, self.queue = self.queue, deque()
        for task in queue:
            task.fail(ModuleError(task.place, reason))

    def _plan(self) -> None:
        """Admit once per turn of the loop, however many calls came."""
        if not self.planned and self.engine is not None:
            self.planned = True
            asyncio.get_running_loop().call_soon(self._admit)

    def _admit(self) -> None:
        self.planned = False
        if self.engine is None:
            return
        budget = Budget(
            self.capabilities.max_requests - len(self.running),
            self.capabilities.kv_tokens - self.held,
        )
        batch = self.policy.next_batch(self.queue, budget)
        if batch:
            tasks = [part.task for part in batch if isinstance(part.task, LLMTask)]
            requests = [self._begin(task) for task in tasks]
            sender = asyncio.get_running_loop().create_task(self._send(requests))
            self.sending.add(sender)
            sender.add_done_callback(self.sending.discard)
            for task in tasks:
                task.sender = sender

    async def _send(self, requests: Sequence[Generate]) -> None:
        engine = self.engine
        try:
            if engine is None:
                raise EngineDied("the engine is closed")
            await engine.submit(requests)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises becomes the calls' error
            kind = "died" if isinstance(error, EngineDied) else "engine"
            failure = Failure(kind, f"{type(error).__name__}: {error}")
            self.events([TokenEvent(r.id, (), failure=failure) for r in requests])

    def _begin(self, task: LLMTask) -> Generate:
        task.id = f"g{next(_ids)}"
        task.running = 1
        task.started()
        self.running[task.id] = task
        self.held += task.tokens
        return Generate(task.id, task.prompt, task.max_tokens, task.ignore_eos)

    def events(self, events: Sequence[TokenEvent]) -> None:
        """The events of one engine step."""
        for event in events:
            task = self.running.get(event.id)
            if task is None:
                continue
            if event.finish_reason is not None or event.failure is not None:
                self._free(task)
            task.event(event)

    def _free(self, task: LLMTask) -> None:
        if self.running.pop(task.id, None) is not None:
            self.held -= task.tokens
            task.running = 0
            self._plan()

    def _abort(self, task: LLMTask) -> None:
        if task.id in self.running:
            self._free(task)
            if self.engine is not None:
                abort = self._send_abort(task.id, task.sender)
                aborting = asyncio.get_running_loop().create_task(abort)
                self.sending.add(aborting)
                aborting.add_done_callback(self.sending.discard)

    async def _send_abort(self, task_id: str, sender: asyncio.Task[None] | None) -> None:
        if sender is not None and not sender.done():
            await asyncio.wait([sender])  # an abort must not overtake its call
        if self.engine is not None:
            try:
                await self.engine.abort([task_id])
            except EngineDied:
                return  # a dead engine holds nothing

    def died(self, message: str) -> None:
        """The engine's host is gone: what ran has failed."""
        self.engine = None
        for task in self.queue:
            task.stop_clock()
        failure = Failure("died", message)
        self.events([TokenEvent(task_id, (), failure=failure) for task_id in list(self.running)])

    async def close(self) -> None:
        """Stop; what waits is dropped by its queries."""
        self.engine = None
        self.queue.clear()
        for sender in tuple(self.sending):
            sender.cancel()
        await asyncio.gather(*self.sending, return_exceptions=True)

    def check_integrity(self) -> list[str]:
        """What should not be there when nothing runs."""
        problems = []
        if self.running:
            problems.append(f"{len(self.running)} calls run on an idle engine")
        if self.held:
            problems.append(f"{self.held} KV tokens are held by nobody")
        waiting = [task for task in self.queue if not task.over]
        if waiting:
            problems.append(f"{len(waiting)} calls wait in an idle queue")
        return problems
