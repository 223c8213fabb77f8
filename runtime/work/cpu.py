"""Work that runs here: at once, or in a thread where it would hold up the loop."""

from __future__ import annotations

from functools import partial
from typing import Any

from teola.runtime.errors import RunError
from teola.runtime.instance.context import TaskContext
from teola.runtime.instance.run import Run
from teola.runtime.operations import CPU
from teola.runtime.operations.base import CpuOperation
from teola.runtime.work.beside import beside
from teola.runtime.work.scheduler import Scheduler


def run_cpu(scheduler: Scheduler, run: Run, group: int, inputs: dict[str, Any]) -> None:
    """Compute a group; where a tokenizer is needed, after its engine's weights are there."""
    config = run.prepared.node.config
    operation = CPU[getattr(run.prepared.node, "operation", "")]
    name = config.get("tokenizer")
    if not isinstance(name, str):
        _compute(scheduler, run, group, inputs, operation)
        return
    stage = "fetched" if config.get("size") is not None else "ready"
    scheduler.when_engine(
        run,
        scheduler.engines.get(name),
        stage,
        lambda: _compute(scheduler, run, group, inputs, operation),
    )


def _compute(
    scheduler: Scheduler, run: Run, group: int, inputs: dict[str, Any], operation: CpuOperation
) -> None:
    config = run.prepared.node.config
    tokens: list[int] = []
    context = TaskContext(
        config,
        tokenizer=lambda name: scheduler.engines[name].tokenizer(),
        text_limit=lambda name: _limit(scheduler, name),
        counted=tokens.extend,
    )
    run.item_count += _count(inputs)

    def computed(outputs: dict[str, Any]) -> None:
        run.counted(tokens)
        run.complete(group, outputs)

    if operation.heavy(inputs):
        beside(scheduler, run, partial(operation.compute, inputs, config, context), computed)
    else:
        computed(operation.compute(inputs, config, context))


def _limit(scheduler: Scheduler, name: str) -> int:
    engine = scheduler.engines[name]
    limit = engine.capabilities.limit or engine.capabilities.context
    if not limit:
        raise RunError(f"engine '{name}' has no text limit: give the chunks a size")
    return limit


def _count(inputs: dict[str, Any]) -> int:
    return max((len(value) for value in inputs.values() if isinstance(value, list)), default=1)
