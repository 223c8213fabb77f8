"""The runtime's front door: a Runner runs one plan, once or a thousand times at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from teola.compiler.api import DEFAULT_LEVEL, compile_workflow
from teola.compiler.errors import TeolaError
from teola.compiler.plan import Plan
from teola.runtime.errors import DeadlineExceeded, QueryCancelled, RunError, UnsupportedError
from teola.runtime.events import EngineStatus, Event, Listener, RunFinished, Warned
from teola.runtime.graph_scheduler import GraphScheduler
from teola.runtime.inputs import BoundInputs, bind_inputs, check_names
from teola.runtime.instance.blueprint import prepare
from teola.runtime.instance.query import Query
from teola.runtime.pool import EnginePool
from teola.runtime.pool_engine import PooledEngine
from teola.runtime.requirements import check_requirements, check_started
from teola.runtime.result import RunResult
from teola.runtime.stream import EventStream

NOT_STARTED = "the runner is not started: use 'async with Runner(…)'"


class Runner:
    """Runs one plan; use as ``async with Runner("workflow.yaml") as runner``.

    Args:
        source: a workflow, text-form or plan file, the name of a packaged workflow, or a Plan.
        pool: the engines; without one the runner makes its own and closes it.
        share: compute equal content once for all queries of the pool (runtime.md, "Upper tier").
        seed: what calls above temperature 0 draw with: runs of equal seeds and inputs are equal.
        level, sets: for the compiler, where ``source`` is not a plan yet.
        on_engine: is told how the engines start.

    Raises:
        CompileError: the source is not valid.
    """

    def __init__(
        self,
        source: str | Path | Plan,
        *,
        pool: EnginePool | None = None,
        share: bool = True,
        seed: int = 0,
        level: str = DEFAULT_LEVEL,
        sets: Sequence[str] = (),
        on_engine: Callable[[EngineStatus], None] | None = None,
    ) -> None:
        if not isinstance(source, Plan):
            source = compile_workflow(source, level=level, sets=sets)
        self.plan: Plan = source
        self.share, self.seed = share, seed
        self.on_engine = on_engine
        self._pool = pool
        self._own_pool = pool is None
        self._scheduler: GraphScheduler | None = None
        self._queries: set[Query] = set()
        self._unchecked: dict[str, PooledEngine] = {}
        self._refused: UnsupportedError | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def pool(self) -> EnginePool:
        """The engines; there once the runner has started.

        Raises:
            RunError: it has not.
        """
        if self._pool is None:
            raise RunError(NOT_STARTED)
        return self._pool

    @property
    def _started(self) -> GraphScheduler:
        if self._scheduler is None:
            raise RunError(NOT_STARTED)
        self._check_refused()
        return self._scheduler

    @property
    def lost(self) -> bool:
        """Whether no later query can end well: an engine of the plan has been given up, or lacks
        what the plan asks for."""
        engines = self._scheduler.engines.values() if self._scheduler is not None else ()
        return self._refused is not None or any(engine.error is not None for engine in engines)

    async def start(self) -> None:
        """Let the engines start; returns at once, runs wait for what they need.

        Raises:
            UnsupportedError: the plan asks for what a backend lacks. What only a started engine
                tells, all runs raise once it has started.
        """
        if self._scheduler is not None:
            return
        self._refused = None
        check_requirements(self.plan.graph)
        self._pool = self._pool or EnginePool()
        if self.on_engine is not None:
            self._pool.listeners.append(self.on_engine)
        try:
            engines = self._engines(self._pool)
            identities = {name: engine.identity for name, engine in engines.items()}
            blueprint = prepare(self.plan.graph, identities)
            self._unchecked = dict(engines)
            for engine in engines.values():
                engine.when_ready(self._some_are_ready)
            self._check_refused()
        except BaseException:
            await self.close()
            raise
        self._scheduler = GraphScheduler(self._pool, blueprint, engines, self.share, self.seed)

    def _some_are_ready(self, _: TeolaError | None = None) -> None:
        """Engines that have started are asked what they have before anything is sent to them."""
        ready = [name for name, engine in self._unchecked.items() if engine.ready]
        for name in ready:
            try:
                check_started(self.plan.graph, name, self._unchecked.pop(name).capabilities)
            except UnsupportedError as refused:
                self._refused = refused
                for query in tuple(self._queries):
                    query.fail(refused)

    def _check_refused(self) -> None:
        self._some_are_ready()
        if self._refused is not None:
            raise UnsupportedError(str(self._refused))

    def _engines(self, pool: EnginePool) -> dict[str, PooledEngine]:
        used = {getattr(node, "engine", None) for node in self.plan.graph.nodes}
        used |= {node.config.get("tokenizer") for node in self.plan.graph.nodes}
        return {
            name: pool.engine(name, config)
            for name, config in self.plan.graph.engines.items()
            if name in used
        }

    async def close(self) -> None:
        """Cancel what runs and, where the pool is the runner's own, stop the engines."""
        for query in tuple(self._queries):
            query.fail(QueryCancelled("the runner was closed"))
        if self._pool is not None:
            if self.on_engine is not None and self.on_engine in self._pool.listeners:
                self._pool.listeners.remove(self.on_engine)
            if self._own_pool:
                await self._pool.close()
                self._pool = None
        self._scheduler = None

    async def run(self, **inputs: Any) -> RunResult:
        """Run one query; inputs that are not given take their defaults.

        Raises:
            Overloaded: the pool has no room for it; says when to come again.
            InputError: an input is missing, unknown or of the wrong type.
            RunError: the run failed; the message names module, line, engine and cause.
        """
        deadline = self._deadline()
        bound = await self._admit(inputs, deadline)
        ended: asyncio.Future[RunResult] = asyncio.get_running_loop().create_future()

        def end(result: RunResult | None, error: RunError | None) -> None:
            if ended.done():
                return
            if result is not None:
                ended.set_result(result)
            else:
                ended.set_exception(error or RunError("the run ended without a result"))

        query = self._begin(bound, end, None, deadline)
        try:
            return await ended
        finally:
            query.fail(QueryCancelled("the caller cancelled the run"))

    async def stream(self, **inputs: Any) -> AsyncGenerator[Event, None]:
        """Run one query and yield its events as they happen; the last is RunFinished.

        Closing the iterator cancels the query. Raises as ``run`` does.
        """
        deadline = self._deadline()
        bound = await self._admit(inputs, deadline)
        events = EventStream()

        def end(result: RunResult | None, error: RunError | None) -> None:
            if result is not None:
                events.put(RunFinished(result))
            events.end(error)
            if self._pool is not None and events.put in self._pool.listeners:
                self._pool.listeners.remove(events.put)

        for warning in bound.warnings:
            events.put(Warned(warning))
        self.pool.listeners.append(events.put)
        query = self._begin(bound, end, events.put, deadline)
        try:
            async for event in events:
                yield event
        finally:
            query.fail(QueryCancelled("the caller closed the stream"))

    def _deadline(self) -> float | None:
        """When a query that comes now has to be over, on the loop's clock."""
        seconds = self.plan.deadline_s
        return None if seconds is None else asyncio.get_running_loop().time() + seconds

    def _too_late(self) -> DeadlineExceeded:
        seconds = self.plan.deadline_s
        return DeadlineExceeded(f"{self.plan.name}: the deadline of {seconds:g} s passed")

    async def _admit(self, inputs: dict[str, Any], deadline: float | None) -> BoundInputs:
        """Take a place in the pool, which is the query's until it ends; then read the inputs."""
        pool, scheduler = self.pool, self._started
        pool.enter(self.plan.name)
        try:
            bound = await self._bind(inputs, deadline)
            if self._scheduler is not scheduler:
                raise QueryCancelled("the runner was closed")
            self._check_refused()
        except BaseException:
            pool.leave()
            raise
        return bound

    async def _bind(self, inputs: dict[str, Any], deadline: float | None) -> BoundInputs:
        check_names(self.plan, inputs)
        if deadline is None:
            return await bind_inputs(self.plan, inputs)
        clock = asyncio.timeout_at(deadline)
        try:
            async with clock:
                return await bind_inputs(self.plan, inputs)
        except TimeoutError:
            if clock.expired():
                raise self._too_late() from None
            raise

    def _begin(
        self,
        bound: BoundInputs,
        end: Callable[[RunResult | None, RunError | None], None],
        listener: Listener | None,
        deadline: float | None,
    ) -> Query:
        pool, scheduler = self.pool, self._started
        clock: asyncio.TimerHandle | None = None

        def over(query: Query, result: RunResult | None, error: RunError | None) -> None:
            if clock is not None:
                clock.cancel()
            self._queries.discard(query)
            pool.leave()
            if result is not None:
                result = replace(result, warnings=bound.warnings, plan=self.plan)
            end(result, error)

        query = Query(
            uuid4().hex,
            scheduler.blueprint,
            scheduler.now,
            scheduler.release,
            over,
            listener,
            pool.observers,
            scheduler.outlook,
        )
        self._queries.add(query)
        if deadline is not None:
            clock = scheduler.loop.call_at(deadline, query.fail, self._too_late())
        scheduler.start(query, bound.cells)
        return query
