"""The lower tier for LLMs: admission by KV tokens; the engine batches continuously itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from itertools import count
from typing import Protocol

from teola.runtime.engines.protocol import Capabilities, Failure, Generate, TokenEvent
from teola.runtime.hosts.errors import EngineDied
from teola.runtime.llm_task import LLMTask
from teola.runtime.policies import Budget, Policy
from teola.runtime.task_queue import TaskQueue

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
    request limits; the rest waits here."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.running: dict[str, LLMTask] = {}
        self.held = 0
        self.capabilities = Capabilities()
        self.sending: set[asyncio.Task[None]] = set()
        self.planned = False

    def start(self, engine: Generates, capabilities: Capabilities) -> None:
        """The engine is up (again)."""
        self.capabilities = capabilities
        self.open(engine)

    def fail(self, reason: str) -> None:
        super().fail(reason)
        failure = Failure("engine", reason)
        self.events([TokenEvent(task_id, (), failure=failure) for task_id in list(self.running)])

    def submit(self, task: LLMTask) -> None:
        """Queue a call."""
        task.abort = self._abort
        task.queued(self.enter)
        self.enter(task)

    def wake(self) -> None:
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
            self.wake()

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
            except Exception:  # the caller is gone; only the log can be told
                LOG.exception("the call %s was not aborted and may still run", task_id)

    def died(self, message: str) -> None:
        """The engine's host is gone: what ran has failed."""
        self.pause()
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
        problems = super().check_integrity()
        if self.running:
            problems.append(f"{len(self.running)} calls run on an idle engine")
        if self.held:
            problems.append(f"{self.held} KV tokens are held by nobody")
        return problems
