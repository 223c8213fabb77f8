"""The upper tier: ready primitives become work, results become values, until a query ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from teola.compiler.errors import TeolaError
from teola.compiler.graph.pgraph import INPUTS, Primitive, Ref
from teola.runtime.errors import ModelError, ModuleError, RunError
from teola.runtime.instance.blueprint import Blueprint, Prepared
from teola.runtime.instance.context import TaskContext
from teola.runtime.instance.generate import GenerateRun
from teola.runtime.instance.primitive import PrimitiveRun, ScanRun
from teola.runtime.instance.query import Query
from teola.runtime.instance.region import KINDS
from teola.runtime.instance.run import Run
from teola.runtime.instance.scope import Scope, source_key
from teola.runtime.instance.standing import learn
from teola.runtime.instance.warm import WarmRun
from teola.runtime.keys import Key, digest, of_json, of_port
from teola.runtime.outlook import Outlook
from teola.runtime.pool import EnginePool
from teola.runtime.pool_engine import PooledEngine
from teola.runtime.values import Cell, Source
from teola.runtime.work.cpu import run_cpu
from teola.runtime.work.items import (
    discard_items,
    drop_collection,
    publish_items,
    run_items,
    tell_progress,
)
from teola.runtime.work.text import CallSettings, run_text
from teola.runtime.work.warm import run_warm

MOST_TOGETHER = 64
"""The single items that a primitive without an engine takes at once, where they are there."""
FORMS: Mapping[str, type[Run]] = {"llm": GenerateRun, "scan": ScanRun, "warm": WarmRun}
"""How a node is run -> its run, where that is not a ``PrimitiveRun``."""


class GraphScheduler:
    """Runs the queries of one plan. Event-driven: nothing polls, a completion is what makes the
    next primitive ready."""

    def __init__(
        self,
        pool: EnginePool,
        blueprint: Blueprint,
        engines: Mapping[str, PooledEngine],
        share: bool,
        seed: int = 0,
    ) -> None:
        self.pool, self.blueprint, self.engines, self.share = pool, blueprint, engines, share
        self.seed = seed
        self.contexts: dict[str, TaskContext] = {}
        self.calls: dict[str, CallSettings] = {}
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.ready = pool.turn.ready
        self.outlook = Outlook(blueprint.graph)
        self.outputs = frozenset(out.ref.node for out in blueprint.graph.outputs)

    def start(self, query: Query, inputs: dict[str, Cell]) -> None:
        """Instantiate the plan for a query: what is computed already, or being computed for
        another query with equal content, is shared."""
        query.bind(inputs)
        keys = self._keys(inputs) if self.share else {}
        skipped = self._skipped(keys) if self.share else frozenset()

        def instantiate() -> None:
            try:
                for prepared in self.blueprint.top:
                    if prepared.id not in skipped:
                        own = ((query, prepared),)
                        run = self.obtain(prepared, query.scope, own, keys.get(prepared.id))
                        query.scope.runs[prepared.id] = run
                        if prepared.head is not None:
                            query.scope.runs[prepared.head.id] = run
                query.started()
            except RunError as error:
                query.fail(error)
            except Exception as error:  # noqa: BLE001 - ends the query, not the loop
                query.fail(RunError(f"internal: {type(error).__name__}: {error}"))

        self.ready(instantiate)

    def _keys(self, inputs: Mapping[str, Cell]) -> dict[str, Key | None]:
        """The content key of every top-level node, known from the inputs alone."""
        keys: dict[str, Key | None] = {}
        for prepared in self.blueprint.top:
            keys[prepared.id] = self._node_key(prepared, inputs, keys)
        return keys

    def _node_key(
        self, prepared: Prepared, inputs: Mapping[str, Cell], keys: Mapping[str, Key | None]
    ) -> Key | None:
        if prepared.static is None:
            return None
        parts = [prepared.static]
        for _, mark, ref, _, key in prepared.wires:
            part = key if ref is None else self._ref_key(ref, inputs, keys)
            if part is None:
                return None
            parts += (mark, part)
        return digest(*parts)

    @staticmethod
    def _ref_key(
        ref: Ref, inputs: Mapping[str, Cell], keys: Mapping[str, Key | None]
    ) -> Key | None:
        if ref.node == INPUTS:
            key = inputs[ref.port].key
        else:
            of_node = keys.get(ref.node)
            key = of_port(of_node, ref.port) if of_node else None
        if key and ref.fields:
            return digest(key, ".".join(ref.fields).encode(), of_json(ref.default))
        return key

    def _skipped(self, keys: Mapping[str, Key | None]) -> frozenset[str]:
        """Nodes that only feed what is shared already."""
        satisfied: set[str] = set()
        skipped: set[str] = set()
        for prepared in reversed(self.blueprint.top):
            key = keys.get(prepared.id)
            shared = self.pool.shared.get(key) if key else None
            consumers = self.blueprint.consumers.get(prepared.id, ())
            if (
                consumers
                and prepared.static is not None
                and prepared.id not in self.outputs
                and satisfied.issuperset(consumers)
            ):
                skipped.add(prepared.id)
                satisfied.add(prepared.id)
            elif shared is not None and shared.usable:
                satisfied.add(prepared.id)
        hints = (one for one, node in self.blueprint.hinted.items() if node in satisfied)
        return frozenset(skipped.union(hints))

    def obtain(
        self,
        prepared: Prepared,
        scope: Scope,
        users: Sequence[tuple[Query, Prepared]],
        key: Key | None = None,
    ) -> Run:
        """The run of a node in a scope, one with equal content or a new one, for ``users`` with
        the nodes of their plans."""
        sources: dict[str, Source] | None = None
        if key is None and self.share and prepared.static is not None:
            sources = _sources(prepared, scope)
            key = _key(prepared, sources)
        if key is not None and (shared := self.pool.shared.get(key)) and shared.usable:
            self.pool.touch(shared)
            for user, own in users:
                user.attach(shared, own)
            return shared
        run = self._create(prepared, scope, sources or _sources(prepared, scope), key)
        for user, own in users:
            user.attach(run, own)
        if key is not None:
            self.pool.shared[key] = run
        run.connect()
        return run

    def _create(
        self, prepared: Prepared, scope: Scope, sources: dict[str, Source], key: Key | None
    ) -> Run:
        if prepared.form == "region":
            kind: type[Run] = KINDS[prepared.node.kind]  # type: ignore[union-attr]  # a region
            scope = scope if scope.parent else scope.only(prepared.outside)
        else:
            kind = FORMS.get(prepared.form, PrimitiveRun)
        run = kind(prepared, scope, sources, key, self)
        run.home = self.engines.get(prepared.place.engine or "")
        run.upstream = tuple(
            [
                (index, before)
                for index, wire in enumerate(prepared.wires)
                if wire.ref is not None
                and (before := scope.runs.get(wire.ref.node)) is not None
                and not before.over
            ]
        )
        return run

    def execute(self, run: Run, group: int, inputs: dict[str, Any]) -> None:
        """Do a group's work, here or on its engine; called in ``guarded``."""
        if isinstance(run, WarmRun):
            run_warm(self, run, inputs)
        elif run.prepared.form == "cpu":
            run.started_s = run.started_s if run.started_s is not None else self.now()
            run_cpu(self, run, group, inputs)
        elif run.home is not None and run.home.ready:
            self._on_engine(run, group, inputs)
        else:
            action = partial(self._on_engine, run, group, inputs)
            self.when_engine(run, run.home, "ready", action)

    def _on_engine(self, run: Run, group: int, inputs: dict[str, Any]) -> None:
        if isinstance(run, GenerateRun):
            run_text(self, run, inputs)
        else:
            run_items(self, run, group, inputs)

    def when_engine(
        self, run: Run, engine: PooledEngine | None, stage: str, action: Callable[[], None]
    ) -> None:
        """Do ``action`` once an engine is ``fetched`` or ``ready``; fail the run where it cannot
        be."""
        if engine is None:
            raise RunError(f"{run.prepared.place}: its engine is not declared")

        def reached(error: TeolaError | None) -> None:
            if run.over:
                return
            if isinstance(error, ModelError):  # the module that asked first is not to blame
                for query in tuple(run.users):
                    query.fail(ModelError(f"engine '{engine.name}': {error}"))
            elif error is not None:
                cause = f"engine '{engine.name}' did not start: {error}"
                run.fail(ModuleError(run.prepared.place, cause))
            else:
                self.ready(lambda: self.guarded(run, action))

        (engine.when_fetched if stage == "fetched" else engine.when_ready)(reached)

    def guarded(self, run: Run, action: Callable[[], None]) -> None:
        """Do ``action``; what it raises becomes the run's error."""
        try:
            action()
        except TeolaError as error:
            run.fail(run.wrap(error))
        except Exception as error:  # noqa: BLE001 - ends the query, not the loop
            run.fail(ModuleError(run.prepared.place, f"{type(error).__name__}: {error}"))

    def group_sizes(self, run: Run) -> tuple[int, int]:
        """What the plan says. Single items are taken as they come: where several are there at once,
        together, as far as that makes a batch of the engine more efficient."""
        node = run.prepared.node
        size = (node.group if isinstance(node, Primitive) else None) or 1
        if size > 1:
            return size, size
        if run.home is None:
            return 1, MOST_TOGETHER
        knee = self.outlook.of(run.prepared.id).knee
        return 1, max(1, min(knee, run.home.capabilities.max_items))

    def publish(self, run: Run) -> None:
        """End a run whose groups are all in."""
        if run.prepared.form == "engine" and run.prepared.streams:
            tell_progress(run)
        operation = run.prepared.operation
        outputs = operation.outputs if operation else {}
        values: dict[str, Any] = getattr(run, "values", {})
        for name, out in outputs.items():
            if out.combine == "sum":
                values.setdefault(name, 0)
        if run.prepared.form == "engine" and publish_items(self, run, values):
            return
        run.finish(values)

    def over(self, run: Run) -> None:
        """A run ended: keep what later queries may use, clean up what a failed one left."""
        if run.state == "done":
            if run.home is not None:
                learn(run)
            if run.prepared.keeps and run.key is not None:
                self.pool.retain(run)
            return
        if run.key is not None and self.pool.shared.get(run.key) is run:
            del self.pool.shared[run.key]
        for task in run.tasks:
            task.cancel()
        if run.prepared.form == "engine":
            discard_items(self, run)

    def release(self, run: Run) -> None:
        """A query leaves a run; the last one out ends it."""
        if run.users:
            return
        if run.retained:
            self.pool.shrink()
            return
        if run.key is not None and self.pool.shared.get(run.key) is run:
            del self.pool.shared[run.key]
        if run.state == "done":
            self.dispose(run)
        else:
            run.cancel()

    def dispose(self, run: Run) -> None:
        """Nobody will ever use a finished run again."""
        if run.prepared.keeps and isinstance(run.prepared.node, Primitive):
            drop_collection(self, run)


def _sources(prepared: Prepared, scope: Scope) -> dict[str, Source]:
    return {
        wire.name: wire.constant or scope.source(wire.ref)  # type: ignore[arg-type]  # one is there
        for wire in prepared.wires
    }


def _key(prepared: Prepared, sources: Mapping[str, Source]) -> Key | None:
    parts: list[bytes] = []
    for name, source in sources.items():
        key = source_key(source)
        if key is None:
            return None
        parts += [name.encode(), key]
    return digest(prepared.static or b"", *parts)
