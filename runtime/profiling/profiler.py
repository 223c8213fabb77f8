"""Measuring the engines of a graph, one after another: each alone, with nothing beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from teola.compiler.cost.profile import Entry
from teola.compiler.engines import identity
from teola.compiler.errors import TeolaError
from teola.compiler.graph.pgraph import Json, PGraph
from teola.runtime.engines.protocol import Capabilities
from teola.runtime.errors import InputError
from teola.runtime.events import (
    Event,
    ModuleFinished,
    ModuleProgress,
    ModuleStarted,
)
from teola.runtime.hosts import EngineHandle
from teola.runtime.pool import EnginePool
from teola.runtime.pool_engine import PooledEngine
from teola.runtime.profiling.calls import Tap
from teola.runtime.profiling.fit import fit
from teola.runtime.profiling.machine import machine
from teola.runtime.profiling.probe import Probe, Subject
from teola.runtime.profiling.probes import chunk_of, chunk_probe, operations_of, probe_of
from teola.runtime.profiling.result import Measured, Profiling, Unmeasured
from teola.runtime.profiling.settings import entry_settings
from teola.runtime.profiling.sweep import FULL, Effort, sweep

DIMENSION = 384
"""Of the vectors for a store, where no embedder was measured before it."""


async def measure_engines(
    graph: PGraph,
    *,
    engines: Sequence[str] = (),
    effort: Effort = FULL,
    on_event: Callable[[Event], None] = lambda _: None,
) -> Profiling:
    """Measure every operation of the operation table that runs on an engine of ``graph``; with
    ``engines`` on these, otherwise on all that the graph uses, and chunking if it chunks.

    What cannot be measured is named in the result with its cause.

    Raises:
        InputError: there is nothing to measure, or no engine of that name.
    """
    return await _Profiler(graph, effort, on_event).run(engines)


class _Profiler:
    def __init__(self, graph: PGraph, effort: Effort, on_event: Callable[[Event], None]) -> None:
        self.graph, self.effort, self.on_event = graph, effort, on_event
        self.result = Profiling()
        self.dimension = DIMENSION
        self.details: dict[str, Mapping[str, Any]] = {}
        loop = asyncio.get_running_loop()
        self.clock = loop.time
        self.began = loop.time()

    async def run(self, names: Sequence[str]) -> Profiling:
        for alike in self._chosen(names):
            await self._engine(alike, self.graph.engines[alike[0]])
        self.result.machine = machine(self.details.items())
        return self.result

    def _chosen(self, names: Sequence[str]) -> list[list[str]]:
        """The engines to measure, those that are one (of equal settings) together, and stores last:
        they are given vectors like those of the embedder."""
        known = self.graph.engines
        if not known:
            raise InputError(f"{self.graph.name} has no engines: there is nothing to measure")
        for name in names:
            if name not in known:
                raise InputError(
                    f"{self.graph.name} has no engine '{name}': it has {', '.join(sorted(known))}"
                )
        used = {getattr(node, "engine", None) for node in self.graph.nodes}
        used |= {node.config.get("tokenizer") for node in self.graph.nodes}
        alike: dict[str, list[str]] = {}
        for name in sorted(known, key=lambda name: known[name]["kind"] == "store"):
            if name in (names or used):
                alike.setdefault(identity(known[name]), []).append(name)
        if not alike:
            raise InputError(f"{self.graph.name} uses no engine: there is nothing to measure")
        return list(alike.values())

    async def _engine(self, names: Sequence[str], config: Mapping[str, Json]) -> None:
        """Measure one engine, in a pool of its own: no other takes its time."""
        name = ", ".join(names)
        taps: list[Tap] = []

        def tapped(handle: EngineHandle, _: Mapping[str, Json]) -> EngineHandle:
            taps.append(Tap(handle))
            return taps[-1]

        async with EnginePool(wrap=tapped) as pool:
            pool.listeners.append(self.on_event)

            async def subject() -> Subject:
                engine = pool.engine(name, config)
                capabilities = await _ready(engine)
                self.details[name] = capabilities.details
                if kind == "embedder" and capabilities.dimension:
                    self.dimension = capabilities.dimension
                return Subject(taps[0], taps[0], capabilities, engine.tokenizer, self.dimension)

            kind = str(config["kind"])
            settings = entry_settings(config)
            for operation in operations_of(kind):
                await self._operation(
                    operation, name, settings, partial(probe_of, operation, subject)
                )
            if not operations_of(kind):
                self._missing("", name, f"no operation runs on engines of kind {kind}")
            if (chunk := chunk_of(self.graph)) is not None and chunk[0] in names:
                await self._operation("chunk", "", {}, partial(chunk_probe, chunk[1], subject))

    def _missing(self, operation: str, engine: str, cause: str) -> None:
        self.result.unmeasured.append(Unmeasured(operation, engine, cause))

    async def _operation(
        self,
        operation: str,
        engine: str,
        settings: dict[str, Json],
        probe: Callable[[], Awaitable[Probe]],
    ) -> None:
        title = f"{operation} on {engine}" if engine else operation
        same = (one.engine for one in self.result.measured if one.entry.engine == settings)
        if engine and (other := next((name for name in same if name != engine), None)):
            self._missing(operation, engine, f"a profile cannot tell it from engine {other}")
            return
        began = self.clock()
        try:
            made = await probe()
            began = self.clock()
            self.on_event(ModuleStarted(title, began - self.began))
            found = await self._measure(operation, engine, settings, made, title)
        except Exception as error:  # noqa: BLE001 - an engine raises anything; it is the cause
            known = isinstance(error, TeolaError)
            cause = str(error) if known else f"{type(error).__name__}: {error}"
            self._missing(operation, engine, cause)
            detail = "batches, not measured"
        else:
            self.result.measured.append(found)
            detail = f"batches, knee {found.entry.knee}"
        now = self.clock()
        self.on_event(ModuleFinished(title, now - self.began, now - began, detail))

    async def _measure(
        self, operation: str, engine: str, settings: dict[str, Json], probe: Probe, title: str
    ) -> Measured:
        def tell(batches: int) -> None:
            self.on_event(ModuleProgress(title, batches, None))

        try:
            await probe.prepare()
            swept = await sweep(probe, self.effort, tell, self.clock)
        finally:
            await probe.close()
        line = fit(swept.points, count_tokens=probe.count_tokens)
        entry = Entry(
            operation=operation,
            engine=settings,
            knee=swept.knee,
            base_ms=line.base_ms,
            item_ms=line.item_ms,
            token_ms=line.token_ms,
            points=swept.points,
        )
        return Measured(operation, engine, entry, line.error, swept.curve, swept.note)


async def _ready(engine: PooledEngine) -> Capabilities:
    ready: asyncio.Future[TeolaError | None] = asyncio.get_running_loop().create_future()

    def settle(error: TeolaError | None) -> None:
        if not ready.done():  # measuring was interrupted
            ready.set_result(error)

    engine.when_ready(settle)
    if (error := await ready) is not None:
        raise error
    return engine.capabilities
