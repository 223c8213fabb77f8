"""The lower tier for LLMs: admission by KV tokens; the engine batches continuously itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from itertools import chain, count
from typing import Protocol

from teola.runtime.engines.protocol import Capabilities, Failure, Generate, TokenEvent
from teola.runtime.holds import Holds
from teola.runtime.hosts.errors import EngineDied
from teola.runtime.llm_task import LLMTask
from teola.runtime.policies import Budget, Policy
from teola.runtime.prefixes import Marks, Prefixes
from teola.runtime.task_queue import TaskQueue
from teola.runtime.warm_up import Owner, WarmUp
from teola.runtime.warm_ups import WarmUps

_ids = count(1)
LOG = logging.getLogger(__name__)


class Generates(Protocol):
    """What generates: an LLM engine through its host."""

    async def submit(self, requests: Sequence[Generate]) -> None:
        """See ``LLMEngine.submit``."""
        ...

    async def abort(self, ids: Sequence[str]) -> None:
        """See ``LLMEngine.abort``."""
        ...


class LLMScheduler(TaskQueue[Generates]):
    """Sends what fits now: ``prompt + max_tokens`` of all running calls within the engine's KV and
    request limits; the rest waits here. Where the engine keeps prefixes, a call whose prefix is
    being computed waits for that, and warm-ups are sent while no call waits."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.running: dict[str, LLMTask | WarmUp] = {}
        self.held = 0
        self.capabilities = Capabilities()
        self.prefixes = Prefixes(1, 0)
        self.holds = Holds()
        self.warm_ups = WarmUps()
        self.sending: set[asyncio.Task[None]] = set()
        self.planned = False

    def start(self, engine: Generates, capabilities: Capabilities) -> None:
        """The engine is up (again)."""
        self.capabilities = capabilities
        if capabilities.prefix_cache:
            self.prefixes = Prefixes(max(1, capabilities.block_tokens), capabilities.kv_tokens)
            self.warm_ups.start(capabilities.kv_tokens)
        self.open(engine)

    def fail(self, reason: str) -> None:
        self._hold_nobody()
        super().fail(reason)
        self.warm_ups.drop_queued()
        self._fail_running(Failure("engine", reason))

    def _fail_running(self, failure: Failure) -> None:
        self.events([TokenEvent(task_id, (), failure=failure) for task_id in list(self.running)])

    def submit(self, task: LLMTask) -> None:
        """Queue a call."""
        task.abort = self._abort
        task.queued(self.enter)
        if self.capabilities.prefix_cache:
            task.marks = self.prefixes.marks(task.prompt)
            self.warm_ups.arrived(task.marks)
        self.enter(task)

    def warm(self, owner: Owner, prompt: Sequence[int], min_new_tokens: int) -> None:
        """Compute the beginning of a prompt while no call waits; what the owner has queued of the
        same prompt is replaced. Where the engine keeps no prefixes this does nothing."""
        if self.broken or not self.capabilities.prefix_cache:
            return
        queued = self.warm_ups.offer(owner, prompt, min_new_tokens, self.prefixes)
        if queued is None:
            return
        queued.queued_s = asyncio.get_running_loop().time()
        if any(queued.begins(marks) for marks in self._coming()):
            self.warm_ups.drop(queued)
        self.wake()

    def _coming(self) -> Iterator[Marks]:
        """The prompts that wait or are being computed."""
        for one in chain(self.queue, self.holds, self.holds.leaders.values()):
            if isinstance(one, LLMTask | WarmUp):
                yield one.marks

    def leave(self, owner: Owner) -> None:
        """The owner wants no warm-ups any more: what nobody else wants is dropped or aborted."""
        for warm_up in self.warm_ups.leave(owner):
            if not self.holds.waits_for(warm_up.id):
                self._abort(warm_up)

    def wake(self) -> None:
        """Admit once per turn of the loop, however many calls came."""
        if not self.planned and self.engine is not None:
            self.planned = True
            asyncio.get_running_loop().call_soon(self._admit)

    def _admit(self) -> None:
        self.planned = False
        if self.engine is None:
            return
        sent = []
        for task in self._next():
            self._begin(task)
            sent.append(task)
        if sent:
            requests = [task.request() for task in sent]
            sender = asyncio.get_running_loop().create_task(self._send(requests))
            self.sending.add(sender)
            sender.add_done_callback(self.sending.discard)
            for task in sent:
                task.sender = sender
        if self.watch:
            self._tell_load()

    def _next(self) -> Iterator[LLMTask | WarmUp]:
        """What is sent now; each has begun before the next is chosen."""
        while batch := self.queue.next_batch(self._budget()):
            for task in (part.task for part in batch if isinstance(part.task, LLMTask)):
                if (leader := self._leader(task.marks)) is not None:
                    self.holds.hold(task, leader)
                else:
                    yield task
        if (first := self.queue.first()) is not None:
            self._make_room(first.tokens)
        elif not self.holds.busy and (one := self.warm_ups.next(self._budget(), self.prefixes)):
            yield one

    def _budget(self) -> Budget:
        return Budget(
            self.capabilities.max_requests - len(self.running),
            self.capabilities.kv_tokens - self.held,
        )

    def _leader(self, marks: Marks) -> str | None:
        """Who computes a prefix of a prompt right now and should be waited for."""
        if self.capabilities.shares_in_flight or not marks:
            return None
        return self.holds.leader(marks, self.prefixes)

    def _make_room(self, tokens: int) -> None:
        """A call that would fit without the warm-up that runs does not wait for its end."""
        one = self.holds.warm_up
        free = self._budget().tokens or 0
        if one is not None and tokens <= free + one.tokens and not self.holds.waits_for(one.id):
            self.warm_ups.waste(one)
            self._abort(one)

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

    def _begin(self, task: LLMTask | WarmUp) -> None:
        task.id = f"g{next(_ids)}"
        task.running = 1
        task.started()
        if self.watch:
            self._tell_sent(task)
        self.running[task.id] = self.holds.leaders[task.id] = task
        self.held += task.tokens

    def _tell_sent(self, task: LLMTask | WarmUp) -> None:
        warm = isinstance(task, WarmUp)
        origins = tuple(task.owners) if isinstance(task, WarmUp) else (task.origin,)
        cached = self.prefixes.cached(task.marks) * self.prefixes.block_tokens
        self.watch.sent(task.id, origins, warm, task.queued_s, len(task.prompt), cached)

    def _tell_load(self) -> None:
        self.watch.load(len(self.queue), len(self.running), self.held)

    def events(self, events: Sequence[TokenEvent]) -> None:
        """The events of one engine step."""
        for event in events:
            task = self.running.get(event.id)
            if task is None:
                continue
            if self.watch:
                self.watch.event(event)
            if (event.tokens or event.finish_reason) and event.id in self.holds.leaders:
                self.prefixes.add(task.marks)
                self._release(event.id)
            if event.finish_reason is not None or event.failure is not None:
                self._free(task)
            if event.failure is not None and isinstance(task, WarmUp):
                self.warm_ups.fail(task)
            task.event(event)

    def _release(self, leader: str) -> None:
        """Who waited for a leader is looked at again, before all others."""
        for task in reversed(self.holds.release(leader)):
            task.todo.append(0)
            self.queue.put_back(task)
        self.wake()

    def _hold_nobody(self) -> None:
        for leader in tuple(self.holds.followers):
            self._release(leader)

    def _free(self, task: LLMTask | WarmUp) -> None:
        if self.running.pop(task.id, None) is not None:
            self.held -= task.tokens
            task.running = 0
            if self.watch:
                self.watch.over(task.id)
                self._tell_load()
            self._release(task.id)

    def _abort(self, task: LLMTask | WarmUp) -> None:
        if isinstance(task, LLMTask):
            self.holds.forget(task)
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
            except Exception:  # the caller is gone; only the log can be told
                LOG.exception("the call %s was not aborted and may still run", task_id)

    def died(self, message: str) -> None:
        """The engine's host is gone: what ran has failed."""
        self._hold_nobody()
        self.pause()
        self.prefixes.clear()
        self._fail_running(Failure("died", message))

    async def close(self) -> None:
        """Stop; what waits is dropped by its queries."""
        self.engine = None
        self.queue.clear()
        for sender in tuple(self.sending):
            sender.cancel()
        await asyncio.gather(*self.sending, return_exceptions=True)

    def check_integrity(self) -> list[str]:
        """What should not be there when nothing runs."""
        problems = super().check_integrity() + self.warm_ups.check_integrity()
        problems += self.holds.check_integrity()
        if self.running:
            problems.append(f"{len(self.running)} calls run on an idle engine")
        if self.held:
            problems.append(f"{self.held} KV tokens are held by nobody")
        return problems
