"""The lower tier for LLMs: admission by KV tokens; the replicas batch continuously themselves."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain

from teola.runtime.circuit import Circuit
from teola.runtime.engines.protocol import Capabilities, Failure
from teola.runtime.errors import ModuleError
from teola.runtime.llm.call_budget import CallBudget
from teola.runtime.llm.outbox import Generates
from teola.runtime.llm.replica import LLMReplica
from teola.runtime.llm.suspects import SuspectCalls
from teola.runtime.llm.task import LLMTask
from teola.runtime.llm.warm_up import Owner, WarmUp
from teola.runtime.llm.warm_ups import WarmUps
from teola.runtime.observing.engine_watch import UNWATCHED, EngineWatch
from teola.runtime.policies import Policy
from teola.runtime.task import Task
from teola.runtime.task_queue import TaskQueue
from teola.runtime.turn import Turn


class LLMScheduler(TaskQueue):
    """Sends what fits now, in the policy's order, to the replica that will be through with it
    first: the one that holds its prefix, unless waiting there costs more than that saves. The rest
    waits here. Where the engine keeps prefixes, a call whose prefix is being computed waits for
    that, and warm-ups are sent while no call waits. Calls that ran when a replica died run again,
    one at a time and alone."""

    def __init__(
        self, policy: Policy, watch: EngineWatch = UNWATCHED, turn: Turn | None = None
    ) -> None:
        super().__init__(policy, watch, turn)
        self.replicas: dict[Generates, LLMReplica] = {}
        self.limits: dict[Generates, CallBudget] = {}
        self.suspects = SuspectCalls()
        self.warm_ups = WarmUps()
        self.planned = False

    @property
    def up(self) -> bool:
        return bool(self.replicas)

    @property
    def running(self) -> int:
        """Calls and warm-ups that run."""
        return sum(len(replica.running) for replica in self.replicas.values())

    @property
    def held(self) -> int:
        """The KV tokens of what runs."""
        return sum(replica.held for replica in self.replicas.values())

    def start(
        self,
        engine: Generates,
        capabilities: Capabilities,
        circuit: Circuit | None = None,
        lost: Callable[[str], None] | None = None,
        watch: EngineWatch = UNWATCHED,
    ) -> LLMReplica:
        """A replica is up (again): its events go to what is returned. Where it says that it has
        died, or hangs, it is ``lost``: whoever ends it then calls ``stop``."""
        first = not self.replicas
        limit = self.limits.setdefault(engine, CallBudget(capabilities))
        limit.began(capabilities)
        self.replicas[engine] = replica = LLMReplica(
            engine,
            capabilities,
            circuit or Circuit(),
            watch,
            self._put_back,
            self._changed,
            self.warm_ups.fail,
            lost or partial(self.stop, engine),
            limit,
        )
        if capabilities.prefix_cache:
            self.warm_ups.start(capabilities.kv_tokens)
            for task in chain(self.queue, self.suspects):
                self._mark(task)
        self.opened(first=first)
        return replica

    def stop(self, engine: Generates, reason: str) -> None:
        """A replica is gone: what ran on it has failed."""
        if (replica := self.replicas.pop(engine, None)) is not None:
            replica.hold_nobody()
            self.paused()
            self.suspects.died(replica)
            replica.end(Failure("died", reason))

    def fail(self, reason: str) -> None:
        replicas, self.replicas = list(self.replicas.values()), {}
        for replica in replicas:
            replica.hold_nobody()
        super().fail(reason)
        for task in self.suspects.clear():
            task.fail(ModuleError(task.place, reason))
        self.warm_ups.drop_queued()
        for replica in replicas:
            replica.end(Failure("engine", reason))

    @property
    def caches(self) -> Sequence[LLMReplica]:
        """The replicas that keep prefixes."""
        return [one for one in self.replicas.values() if one.capabilities.prefix_cache]

    def submit(self, task: LLMTask) -> None:
        """Queue a call."""
        task.abort = self._abort
        task.queued(self)
        self.suspects.check(task)
        if not task.over:
            self.enter(task)

    def _mark(self, task: Task) -> None:
        if isinstance(task, LLMTask) and not task.marks and (caches := self.caches):
            task.marks = caches[0].prefixes.marks(task.prompt, task.adapter)
            self.warm_ups.arrived(task.marks)

    def enter(self, task: Task) -> None:
        self._mark(task)
        if isinstance(task, LLMTask) and task.suspect and not self.broken:
            task.queued_s = asyncio.get_running_loop().time()
            self.suspects.add(task)
            self.wake()
        else:
            super().enter(task)

    def warm(
        self,
        owner: Owner,
        prompt: Sequence[int],
        min_new_tokens: int,
        adapter: str | None = None,
    ) -> None:
        """Compute the beginning of a prompt while no call waits; what the owner has queued of the
        same prompt is replaced. Where the engine keeps no prefixes this does nothing."""
        caches = [one.prefixes for one in self.caches]
        if self.broken or not caches:
            return
        queued = self.warm_ups.offer(owner, prompt, min_new_tokens, caches, adapter)
        if queued is None:
            return
        queued.queued_s = asyncio.get_running_loop().time()
        self.wake()

    def _is_coming(self, warm_up: WarmUp) -> bool:
        """Whether it is being computed as the beginning of another prompt; nobody else waits."""
        holds = [replica.holds for replica in self.replicas.values()]
        leaders = (one.leaders.values() for one in holds)
        return any(warm_up.begins(one.marks) for one in chain(self.suspects, *holds, *leaders))

    def leave(self, owner: Owner) -> None:
        """The owner wants no warm-ups any more: what nobody else wants is dropped or aborted."""
        for one in self.warm_ups.leave(owner):
            if one.home is not None and not one.home.holds.waits_for(one.id):
                one.home.abort(one)

    def wake(self) -> None:
        """Admit once per turn of the loop, however many calls came."""
        if not self.planned and self.replicas:
            self.planned = True
            asyncio.get_running_loop().call_soon(self._admit)

    def _admit(self) -> None:
        self.planned = False
        sent: dict[LLMReplica, list[LLMTask | WarmUp]] = defaultdict(list)
        for replica, task in self._next():
            replica.begin(task)
            sent[replica].append(task)
        for replica, tasks in sent.items():
            replica.send(tasks)
        if self.watch:
            self._tell_load()

    def _next(self) -> Iterator[tuple[LLMReplica, LLMTask | WarmUp]]:
        """What is sent now, and where; each has begun before the next is chosen."""
        if (found := self.suspects.next(self.replicas.values())) is not None:
            found[1].start_clock()
            yield found
        while roomiest := self._roomiest():
            batch = self.queue.next_batch(roomiest.budget)
            if not batch:
                break
            for task in (part.task for part in batch if isinstance(part.task, LLMTask)):
                task.priority = self.queue.priority(task)
                replica = self._best(task) or roomiest
                if (leader := replica.leader(task)) is not None:
                    replica.holds.hold(task, leader)
                else:
                    yield replica, task
        if (first := self.queue.first()) is not None:
            self._make_room(first.size(0))
        else:
            yield from self._warm_next()

    def _roomiest(self) -> LLMReplica | None:
        """The replica with the most free KV of those that take another call."""
        free = (one for one in self.replicas.values() if one.budget.items > 0)
        return max(free, key=lambda one: one.free, default=None)

    def _best(self, task: LLMTask | WarmUp, *, idle: bool = False) -> LLMReplica | None:
        """Where a call would be through first; of equals the one with the most free KV. ``idle``:
        only where nobody waits for a first token."""
        found = [
            replica
            for replica in self.replicas.values()
            if replica.fits(task) and not (idle and replica.holds.busy)
        ]
        if len(found) < 2:
            return found[0] if found else None
        return min(found, key=lambda one: (one.tokens_until_done(task), one.held))

    def _warm_next(self) -> Iterator[tuple[LLMReplica, WarmUp]]:
        """Once no call waits: what is worth it, while a replica has nothing to begin with."""
        waiting = self.warm_ups.waiting([cache.prefixes for cache in self.caches])
        while not all(replica.holds.busy for replica in self.replicas.values()):
            if (one := next(waiting, None)) is None:
                return
            if self._is_coming(one):
                self.warm_ups.drop(one)
            elif (replica := self._best(one, idle=True)) is not None:
                self.warm_ups.send(one)
                yield replica, one

    def _make_room(self, tokens: int) -> None:
        """A call that would fit without the warm-up that runs does not wait for its end."""
        for replica in self.replicas.values():
            one = replica.holds.warm_up
            fits = one and tokens <= replica.free + one.tokens
            if one and fits and not replica.holds.waits_for(one.id):
                self.warm_ups.waste(one)
                replica.abort(one)
                return

    def _put_back(self, tasks: Sequence[LLMTask]) -> None:
        """Who waited for a leader, or was not taken, is looked at again, before all others."""
        for task in reversed(tasks):
            task.todo = (0,)
            self._mark(task)
            (self.suspects if task.suspect else self.queue).put_back(task)
        self.wake()

    def _changed(self) -> None:
        if self.watch:
            self._tell_load()
        self.wake()

    def _tell_load(self) -> None:
        waiting = len(self.queue) + len(self.suspects.waiting)
        self.watch.load(waiting, self.running, self.held)

    def _abort(self, task: LLMTask) -> None:
        for replica in self.replicas.values():
            replica.holds.forget(task)
            one = replica.holds.warm_up
            if one is not None and not one.owners and not replica.holds.waits_for(one.id):
                replica.abort(one)
        if task.home is not None:
            task.home.abort(task)
        self.wake()  # perhaps others have waited behind it

    async def close(self) -> None:
        """Stop; what waits is dropped by its queries."""
        replicas, self.replicas = list(self.replicas.values()), {}
        self.queue.clear()
        self.suspects.clear()
        for replica in replicas:
            await replica.close()

    def check_integrity(self) -> list[str]:
        """What should not be there when nothing runs."""
        problems = super().check_integrity() + self.warm_ups.check_integrity()
        if waiting := list(self.suspects):
            problems.append(f"{len(waiting)} calls wait for a replica of their own")
        return problems + [p for one in self.replicas.values() for p in one.check_integrity()]
