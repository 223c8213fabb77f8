"""Work whose items run on a batching engine; ingests are published when all groups are in."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

from teola.compiler.graph.pgraph import Primitive
from teola.runtime.errors import ModuleError, StateLost
from teola.runtime.hosts import HostError
from teola.runtime.instance.context import TaskContext
from teola.runtime.instance.run import Run
from teola.runtime.once import Once
from teola.runtime.operations import ENGINE
from teola.runtime.operations.base import EngineOperation
from teola.runtime.operations.collections import CollectionHandle
from teola.runtime.pool_engine import PooledEngine
from teola.runtime.task import Limits, Task
from teola.runtime.work.scheduler import Scheduler

_names = count(1)


def _operation(run: Run) -> EngineOperation:
    node = run.prepared.node
    return ENGINE[node.operation if isinstance(node, Primitive) else ""]


def run_items(scheduler: Scheduler, run: Run, group: int, inputs: dict[str, Any]) -> None:
    """Queue a group's items on the run's engine; equal items of the run only once."""
    engine = _engine(run)
    _check_state(run, engine, inputs)
    operation, context = _operation(run), _context(run, engine, inputs)
    items = operation.items(inputs, context)
    run.item_count += len(items)
    common = operation.common(inputs, run.prepared.node.config, context)
    if run.once is None:
        run.once = Once()

    def send(new: list[Any], computed: Any) -> None:
        task = Task(
            str(getattr(run.prepared.node, "operation", "")),
            new,
            common,
            run.prepared.place,
            Limits.of(run.prepared.node.config),
            on_done=lambda results: scheduler.ready(
                lambda: scheduler.guarded(run, lambda: computed(results))
            ),
            on_fail=run.fail,
            on_progress=run.progressed,
        )
        run.tasks.append(task)
        engine.batches.submit(task)

    def done(results: list[Any]) -> None:
        if not run.over:
            run.complete(group, operation.outputs(inputs, results))

    run.once.gather(items, [operation.same(item) for item in items], send, done)


def _engine(run: Run) -> PooledEngine:
    if run.home is None:
        raise ModuleError(run.prepared.place, "its engine is not declared")
    return run.home


def _check_state(run: Run, engine: PooledEngine, inputs: Mapping[str, Any]) -> None:
    """A handle from before a restart, or of another store, never runs on empty state."""
    for value in inputs.values():
        if not isinstance(value, CollectionHandle):
            continue
        if value.epoch is not None and value.epoch != engine.epoch:
            raise StateLost(
                run.prepared.place,
                f"the collection was lost when engine '{engine.name}' restarted: run the query again",
            )
        if value.store != engine.identity:
            raise ModuleError(run.prepared.place, "the collection lives in another store", "item")
    if run.epoch is not None and run.epoch != engine.epoch:
        raise StateLost(
            run.prepared.place,
            f"engine '{engine.name}' restarted while the collection was being filled",
        )


def _context(run: Run, engine: PooledEngine, inputs: Mapping[str, Any]) -> TaskContext:
    if run.pending is None:
        number = next(_names)
        named = inputs.get("collection")
        run.named = isinstance(named, str)
        run.collection = named if isinstance(named, str) else f"~{number}"
        run.pending = f"{run.collection}#{number}"
        run.epoch = engine.epoch
    return TaskContext(
        run.prepared.node.config, engine.identity, run.collection, run.pending, run.epoch or 0
    )


def publish_items(scheduler: Scheduler, run: Run, values: dict[str, Any]) -> bool:
    """Start the command that ends the run; False where there is none."""
    engine = _engine(run)
    fixed = getattr(run, "fixed", None) or {
        name: source.get() for name, source in run.sources.items()
    }
    operation = _operation(run)
    if operation.publish(_context(run, engine, fixed)) is None:
        return False

    async def publish() -> None:
        context = _context(run, engine, fixed)
        command = operation.publish(context)
        try:
            _check_state(run, engine, {})
            if command is None or engine.handle is None:
                raise ModuleError(run.prepared.place, "the engine is closed")
            reply = await engine.handle.control(*command)
        except ModuleError as error:
            run.fail(error)
        except Exception as error:  # whatever the engine raises becomes the module's error
            run.fail(ModuleError(run.prepared.place, f"publishing failed: {error}"))
        else:
            scheduler.ready(lambda: run.finish({**values, **operation.ending(reply, context)}))
            if run.state == "cancelled":
                drop_collection(scheduler, run)

    scheduler.pool.job(publish())
    return True


def discard_items(scheduler: Scheduler, run: Run) -> None:
    """Undo what the groups of a failed or cancelled run have left."""
    if run.pending is None or run.home is None:
        return
    command = _operation(run).discard(_context(run, run.home, {}))
    if command is not None:
        _tell(scheduler, run.home, *command)


def drop_collection(scheduler: Scheduler, run: Run) -> None:
    """Delete the unnamed collection of a finished run."""
    if run.collection and not run.named and run.home is not None and run.epoch == run.home.epoch:
        _tell(scheduler, run.home, "drop", {"collection": run.collection})


def _tell(
    scheduler: Scheduler, engine: PooledEngine, command: str, arguments: dict[str, Any]
) -> None:
    async def tell() -> None:
        if engine.handle is not None and engine.ready:
            try:
                await engine.handle.control(command, arguments)
            except HostError:
                return  # an engine that is gone holds nothing

    if not scheduler.pool.closed:
        scheduler.pool.job(tell())
