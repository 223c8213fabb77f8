"""Work beside the event loop: other queries go on meanwhile; the primitive's clock bounds it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from teola.runtime.errors import TaskTimeout
from teola.runtime.instance.run import Run
from teola.runtime.work.scheduler import Scheduler

T = TypeVar("T")


def beside(
    scheduler: Scheduler, run: Run, work: Callable[[], T], then: Callable[[T], None]
) -> None:
    """Do ``work`` in a thread, then ``then(result)`` on the loop; errors of both are the run's.

    A thread cannot be ended: when the run is over (its ``timeout`` passed, its queries left) what
    the thread gives is dropped.
    """
    future = scheduler.loop.run_in_executor(None, work)
    clock = _clock(scheduler, run)

    def finished(done: asyncio.Future[T]) -> None:
        if clock is not None:
            clock.cancel()
        if done.cancelled() or (run.over and done.exception() is not None):
            return  # nobody is left who could be told
        scheduler.ready(partial(scheduler.guarded, run, lambda: _go_on(run, done, then)))

    future.add_done_callback(finished)


def _go_on(run: Run, done: asyncio.Future[T], then: Callable[[T], None]) -> None:
    if not run.over:
        then(done.result())


def _clock(scheduler: Scheduler, run: Run) -> asyncio.TimerHandle | None:
    seconds = run.prepared.limits.timeout_s
    if seconds is None:
        return None
    error = TaskTimeout(run.prepared.place, f"timeout of {seconds:g} s passed while running")
    return scheduler.loop.call_later(seconds, run.fail, error)
