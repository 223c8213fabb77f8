"""Work whose items run on a batching engine; ingests are published when all groups are in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

from teola.compiler.graph.pgraph import Primitive
from teola.runtime.errors import ModuleError, StateLost, TaskTimeout
from teola.runtime.hosts import HostError
from teola.runtime.instance.context import TaskContext
from teola.runtime.instance.primitive import PrimitiveRun
from teola.runtime.instance.run import Run
from teola.runtime.instance.standing import rank_of, sent
from teola.runtime.once import Once
from teola.runtime.operations import ENGINE
from teola.runtime.operations.base import EngineOperation
from teola.runtime.operations.collections import CollectionHandle
from teola.runtime.pool_engine import PooledEngine
from teola.runtime.task import Task
from teola.runtime.work.scheduler import Scheduler

_names = count(1)


def _operation(run: Run) -> EngineOperation:
    node = run.prepared.node
    return ENGINE[node.operation if isinstance(node, Primitive) else ""]


def run_items(scheduler: Scheduler, run: Run, group: int, inputs: dict[str, Any]) -> None:
    """Queue a group's items on the run's engine; equal items of the run only once."""
    engine = _engine(run)
    operation, context = _operation(run), _context(scheduler, run, engine, inputs)
    _check_state(run, engine, inputs, context.embedder)
    items = operation.items(inputs, context)
    run.item_count += len(items)
    work = _ItemsWork(scheduler, run, engine, group, inputs, operation, context)
    if len(items) == 1 and not run.prepared.streams:
        work.send(list(items), work.done)
        return
    if run.once is None:
        run.once = Once()
    run.once.gather(items, [operation.same(item) for item in items], work)


class _ItemsWork:
    """One group on its way: what is new goes to the engine, what comes back to the run."""

    __slots__ = (
        "context",
        "engine",
        "group",
        "inputs",
        "operation",
        "run",
        "scheduler",
        "told",
    )

    def __init__(
        self,
        scheduler: Scheduler,
        run: Run,
        engine: PooledEngine,
        group: int,
        inputs: dict[str, Any],
        operation: EngineOperation,
        context: TaskContext,
    ) -> None:
        self.scheduler, self.run, self.engine = scheduler, run, engine
        self.group, self.inputs = group, inputs
        self.operation, self.context = operation, context
        self.told = 0

    def send(self, items: list[Any], computed: Callable[[list[Any]], None]) -> None:
        """Queue the items that are new."""
        node, place = self.run.prepared.node, self.run.prepared.place
        common = self.operation.common(self.inputs, node.config, self.context)
        task = Task(
            node.operation if isinstance(node, Primitive) else "",
            items,
            common,
            place,
            self.run.prepared.limits,
            partial(self.came_back, computed),
            self.run.fail,
            self.progressed,
            partial(self.started, len(items)),
        )
        task.check, task.counted = self.check, self.run.counted
        task.origin, task.rank = self.run, rank_of(self.run)
        self.run.tasks += (task,)
        self.engine.at(common.get("collection", "")).queues.batches.submit(task)

    def check(self) -> None:
        """Every time items are sent: the collections are of the engine's present life."""
        _check_state(self.run, self.engine, self.inputs, self.context.embedder)

    def started(self, items: int) -> None:
        """The engine has items: the run's work begins with the first."""
        sent(self.run, items)
        if self.run.started_s is None:
            self.run.started_s = self.scheduler.loop.time()

    def came_back(self, computed: Callable[[list[Any]], None], results: list[Any]) -> None:
        """The engine's results."""
        self.scheduler.guarded(self.run, partial(computed, results))

    def progressed(self, finished: int) -> None:
        """So many items of the group are done."""
        self.run.items_done += finished - self.told
        self.told = finished
        tell_progress(self.run)

    def done(self, results: list[Any]) -> None:
        """One result an item."""
        if self.run.over:
            return
        if self.told < len(results):
            self.progressed(len(results))
        self.run.complete(self.group, self.operation.outputs(self.inputs, results))


def tell_progress(run: Run) -> None:
    """Tell how many of all items of a run are done. One item or none is no progress."""
    if not run.heard:
        return
    total = run.total if isinstance(run, PrimitiveRun) else None
    if total is None or total > 1:
        run.progressed(run.items_done, total)


def _engine(run: Run) -> PooledEngine:
    if run.home is None:
        raise ModuleError(run.prepared.place, "its engine is not declared")
    return run.home


def _check_state(
    run: Run, engine: PooledEngine, inputs: Mapping[str, Any], embedder: str | None
) -> None:
    """A handle from before a restart, or of another store, never runs on empty state."""
    if not engine.stores:
        return
    for value in inputs.values():
        if not isinstance(value, CollectionHandle):
            continue
        if value.epoch is not None and value.epoch != engine.at(value.name).epoch:
            raise StateLost(
                run.prepared.place,
                f"the collection was lost when engine '{engine.name}' restarted: run it again",
            )
        if value.store != engine.identity:
            raise ModuleError(run.prepared.place, "the collection lives in another store", "item")
        if None not in (embedder, value.embedder) and embedder != value.embedder:
            raise ModuleError(
                run.prepared.place,
                "the collection was made with another embedder than its queries are embedded with",
                "item",
            )
    if run.epoch is not None and run.epoch != engine.at(run.collection).epoch:
        raise StateLost(
            run.prepared.place,
            f"engine '{engine.name}' restarted while the collection was being filled",
        )


def _context(
    scheduler: Scheduler, run: Run, engine: PooledEngine, inputs: Mapping[str, Any]
) -> TaskContext:
    if "collection" not in run.cells:  # it writes nothing: all its groups, in all queries, have one
        if (found := scheduler.contexts.get(run.prepared.id)) is None:
            found = TaskContext(
                run.prepared.node.config,
                engine.identity,
                embedder=_embedder(scheduler, run),
            )
            scheduler.contexts[run.prepared.id] = found
        return found
    if run.pending is None:
        number = next(_names)
        named = inputs.get("collection")
        run.named = isinstance(named, str)
        run.collection = named if isinstance(named, str) else f"~{number}"
        run.pending = f"{run.collection}#{number}"
    if run.epoch is None and engine.ready:
        run.epoch = engine.at(run.collection).epoch
    return TaskContext(
        run.prepared.node.config,
        engine.identity,
        run.collection,
        run.pending,
        run.epoch or 0,
        _embedder(scheduler, run),
    )


def _embedder(scheduler: Scheduler, run: Run) -> str | None:
    """What makes the primitive's vectors."""
    name = run.prepared.node.config.get("embedder")
    embedder = scheduler.engines.get(name) if isinstance(name, str) else None
    return embedder.fingerprint if embedder else None


def publish_items(scheduler: Scheduler, run: Run, values: dict[str, Any]) -> bool:
    """Start the command that ends the run; False where there is none."""
    engine, operation = _engine(run), _operation(run)
    if type(operation).publish is EngineOperation.publish:
        return False
    fixed = getattr(run, "fixed", None) or {
        name: source.get() for name, source in run.sources.items()
    }
    if operation.publish(fixed, _context(scheduler, run, engine, fixed)) is None:
        return False

    async def publish() -> None:
        context = _context(scheduler, run, engine, fixed)
        command, limit = operation.publish(fixed, context), run.prepared.limits.timeout_s
        try:
            _check_state(run, engine, {}, None)
            if command is None:
                raise ModuleError(run.prepared.place, "there is nothing to publish")
            reply = await asyncio.wait_for(engine.at(run.collection).control(*command), limit)
        except TimeoutError:
            run.fail(
                TaskTimeout(run.prepared.place, f"timeout of {limit:g} s passed in publishing")
            )
        except ModuleError as error:
            run.fail(error)
        except Exception as error:  # noqa: BLE001 - becomes the module's error
            run.fail(ModuleError(run.prepared.place, f"publishing failed: {error}"))
        else:
            ending = operation.ending(reply, context)
            scheduler.ready(
                partial(scheduler.guarded, run, partial(run.finish, {**values, **ending}))
            )
            if run.state == "cancelled":
                drop_collection(scheduler, run)

    scheduler.when_engine(run, engine, "ready", lambda: scheduler.pool.job(publish()))
    return True


def discard_items(scheduler: Scheduler, run: Run) -> None:
    """Undo what the groups of a failed or cancelled run have left."""
    if run.pending is None or run.home is None:
        return
    command = _operation(run).discard(_context(scheduler, run, run.home, {}))
    if command is not None:
        _tell(scheduler, run, *command)


def drop_collection(scheduler: Scheduler, run: Run) -> None:
    """Delete the unnamed collection of a finished run."""
    if run.collection and not run.named:
        _tell(scheduler, run, "drop", {"collection": run.collection})


def _tell(scheduler: Scheduler, run: Run, command: str, arguments: dict[str, Any]) -> None:
    """Tell the replica that holds the run's collection, which is gone then if it has no name."""
    if scheduler.pool.closed or run.home is None:
        return
    engine, replica = run.home, run.home.at(run.collection)
    lives = run.epoch == replica.epoch

    async def tell() -> None:
        await replica.settled()
        if lives:
            with suppress(HostError):  # a replica that is gone holds nothing
                await replica.control(command, arguments)

    scheduler.pool.job(tell())
    if not run.named:
        engine.placement.forget(run.collection)
