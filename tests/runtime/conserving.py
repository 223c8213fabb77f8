"""Whether batch schedulers conserve work: looked at whenever virtual time is about to pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from teola.runtime import EnginePool
from teola.runtime.engine_scheduler import BatchScheduler


def idle_beside_work(scheduler: BatchScheduler) -> str:
    """What a replica that is up and does not rest could do now, and does not."""
    idle = [worker for worker in scheduler.workers.values() if worker.job is None]
    suspects = scheduler.suspects
    tried = suspects.ready and any(part.wanted for part, _ in suspects._waiting)
    if not idle or not (tried or scheduler.queue.first() is not None):
        return ""
    return f"{len(idle)} replicas are idle while {len(set(scheduler.waiting()))} tasks wait"


def batch_schedulers(pool: EnginePool) -> list[BatchScheduler]:
    """Those of all engines."""
    return [one for engine in pool.engines.values() for one in engine.batches]


@contextmanager
def work_is_conserved(schedulers: Callable[[], Iterable[BatchScheduler]]) -> Iterator[list[float]]:
    """No replica is idle beside work at any moment; gives the moments that were looked at."""
    loop = asyncio.get_running_loop()
    clock = loop._clock
    select, looked = clock.select, []

    def looking(timeout: float | None = None) -> object:
        if timeout:
            looked.append(loop.time())
            found = [problem for one in schedulers() if (problem := idle_beside_work(one))]
            assert not found, f"at {loop.time():g} s: {found}"
        return select(timeout)

    clock.select = looking
    try:
        yield looked
    finally:
        clock.select = select
