"""The pool: engines by identity, shared by the runners of a process; results shared by content."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self

from teola.compiler.engines import identity
from teola.runtime.door import Door
from teola.runtime.errors import Overloaded, RunError
from teola.runtime.events import EngineStatus
from teola.runtime.instance.run import Run
from teola.runtime.instance.scope import Scope
from teola.runtime.keys import Key
from teola.runtime.observing.engine_watch import EngineWatch
from teola.runtime.observing.observations import EngineFacts, QueryRefused
from teola.runtime.observing.observers import Observers, T
from teola.runtime.policies import DEFAULT_POLICY, POLICIES, make_policy
from teola.runtime.pool_engine import PooledEngine, Wrap
from teola.runtime.replica import Replica
from teola.runtime.turn import Turn

RETAINED_BYTES = 1 << 30
CLOSE_S = 5.0
"""How long closing waits for background work of a closed engine."""

LOG = logging.getLogger(__name__)
BYTES_AN_ITEM = 6 * 1024
"""What a chunk with its vector takes, roughly: text, metadata and 384 float32."""


class EnginePool:
    """Engines and what they share. An engine is identified by its canonical config, not by its
    name: two workflows on one model share weights and batches.

    ``retained_bytes`` bounds the unnamed collections that are kept for later queries (least
    recently used first out), ``max_queries`` how many queries are in at a time (one more is refused
    with ``Overloaded``; None: any number); ``policy`` names the order in which waiting tasks are
    served (``teola.runtime.policies``), but what has waited for ``max_wait_s`` goes first. Use as
    ``async with EnginePool() as pool``.
    """

    def __init__(
        self,
        *,
        retained_bytes: int = RETAINED_BYTES,
        max_queries: int | None = None,
        policy: str = DEFAULT_POLICY,
        max_wait_s: float | None = None,
        wrap: Wrap = lambda handle, _: handle,
    ) -> None:
        if policy not in POLICIES:
            raise RunError(f"there is no policy {policy!r}; there are: {', '.join(POLICIES)}")
        self.policy, self.max_wait_s = policy, max_wait_s
        self.engines: dict[str, PooledEngine] = {}
        self.shared: dict[Key, Run] = {}
        self.retained: OrderedDict[Key, Run] = OrderedDict()
        self.retained_bytes = retained_bytes
        self.listeners: list[Callable[[EngineStatus], None]] = []
        self.observers = Observers()
        self.jobs: set[asyncio.Task[Any]] = set()
        self.turn = Turn()
        self.door = Door(max_queries)
        self.closed = False
        self._wrap = wrap

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def engine(self, name: str, config: Mapping[str, Any]) -> PooledEngine:
        """The engine of a config; started now where it is new. ``name`` is for messages."""
        if self.closed:
            raise RunError("the engine pool is closed: make a new one")
        key = identity(config)
        if key not in self.engines:
            watch = EngineWatch(self._facts(name, key, config), self.observers)
            now = asyncio.get_running_loop().time
            policy = partial(make_policy, self.policy, self.max_wait_s, now)
            engine = PooledEngine(
                name, key, config, self._tell, self._wrap, watch, policy, self.turn
            )
            engine.on_death.append(partial(self._forget, engine))
            self.engines[key] = engine
        self.engines[key].grow(int(config.get("replicas") or 1))
        return self.engines[key]

    def _facts(self, name: str, key: str, config: Mapping[str, Any]) -> EngineFacts:
        """Two workflows may call different engines alike: the second is told with its identity."""
        taken = any(engine.name == name for engine in self.engines.values())
        model = config.get("model")
        return EngineFacts(
            f"{name}-{key[:6]}" if taken else name,
            str(config["kind"]),
            str(config["backend"]),
            None if model is None else str(model),
        )

    def observe(self, observer: T) -> T:
        """Tell ``observer`` what happens from now on (``teola.runtime.observing``); returns it."""
        return self.observers.add(observer)

    def _tell(self, status: EngineStatus) -> None:
        for listener in tuple(self.listeners):
            try:
                listener(status)
            except Exception:  # a reader that breaks must not break the engines
                LOG.exception("a listener of engine states failed and is not told any more")
                self.listeners.remove(listener)

    def _forget(self, engine: PooledEngine, replica: Replica) -> None:
        """A replica died: collections that lived in it are gone."""
        for key, run in tuple(self.retained.items()):
            if run.home is engine and engine.at(run.collection) is replica:
                del self.retained[key]
                run.retained = False
                self.shared.pop(key, None)

    def retain(self, run: Run) -> None:
        """Keep a finished unnamed collection until the pool closes or memory is short."""
        if run.key is None or self.closed:
            return
        run.retained = True
        run.scope = Scope(path=run.scope.path)  # a finished run needs its query's values no more
        for cell in run.cells.values():
            cell.pinned = True
        self.retained[run.key] = run
        self.shrink()

    def shrink(self) -> None:
        """Drop the oldest retained collections that no query uses while they take too much."""
        while self._used_bytes() > self.retained_bytes and len(self.retained) > 1:
            if not self._drop_oldest():
                return

    def touch(self, run: Run) -> None:
        """A retained collection was used again."""
        if run.key is not None and run.key in self.retained:
            self.retained.move_to_end(run.key)

    def _used_bytes(self) -> int:
        return sum(run.item_count * BYTES_AN_ITEM for run in self.retained.values())

    def _drop_oldest(self) -> bool:
        for key, run in self.retained.items():
            if not run.users:
                del self.retained[key]
                run.retained = False
                self.shared.pop(key, None)
                run.dispose()
                return True
        return False

    @property
    def queries(self) -> int:
        """How many are in: they run, or their inputs are read."""
        return self.door.inside

    def enter(self, workflow: str) -> None:
        """A query comes.

        Raises:
            Overloaded: there is no room for it; the others are unharmed.
        """
        now_s = asyncio.get_running_loop().time()
        try:
            self.door.enter(now_s)
        except Overloaded:
            self.observers.tell(QueryRefused(workflow, now_s))
            raise

    def leave(self) -> None:
        """A query has ended; with the last one nothing of any may be left."""
        loop = asyncio.get_running_loop()
        self.door.leave(loop.time())
        if self.queries == 0:
            loop.call_soon(self._check_idle)

    def _check_idle(self) -> None:
        if self.queries == 0 and not self.closed:
            for problem in self.check_integrity():
                LOG.error("an idle engine pool is not clean: %s", problem)

    def job(self, work: Any) -> None:
        """Do something in the background that the pool waits for when it closes."""
        task = asyncio.ensure_future(work)
        self.jobs.add(task)
        task.add_done_callback(self.jobs.discard)

    async def close(self) -> None:
        """Stop all engines; collections that have no name are gone."""
        self.closed = True
        self.shared.clear()
        self.retained.clear()
        await asyncio.gather(*(engine.close() for engine in self.engines.values()))
        self.engines.clear()
        if self.jobs:
            _, left = await asyncio.wait(self.jobs, timeout=CLOSE_S)
            for job in left:
                job.cancel()

    async def inspect(self) -> list[str]:
        """What should not be there when no query runs: what `check_integrity` finds and, once what
        goes on in the background has ended, what engines find when they are asked: requests,
        pending versions, calls without an answer."""
        if self.jobs:
            await asyncio.wait(self.jobs, timeout=CLOSE_S)
        problems = self.check_integrity()
        for engine in tuple(self.engines.values()):
            problems += await engine.inspect()
        return problems

    def check_integrity(self) -> list[str]:
        """What should not be there when no query runs, by our own account: leaked tasks, calls,
        runs. No engine is asked (``inspect``)."""
        problems = [p for engine in self.engines.values() for p in engine.check_integrity()]
        problems += [
            f"the run {run.prepared.id} is shared, but nobody uses it"
            for run in self.shared.values()
            if not run.users and not run.retained
        ]
        return problems
