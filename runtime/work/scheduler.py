"""The graph scheduler, as the kinds of work see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from teola.runtime.instance.context import TaskContext
from teola.runtime.instance.run import Run
from teola.runtime.pool import EnginePool
from teola.runtime.pool_engine import PooledEngine

if TYPE_CHECKING:
    from teola.runtime.work.text import CallSettings


class Scheduler(Protocol):
    """What work needs of it; ``seed`` is the run's own, ``contexts`` are those of primitives that
    write nothing, ``calls`` those of LLM calls, by id."""

    pool: EnginePool
    engines: Mapping[str, PooledEngine]
    loop: asyncio.AbstractEventLoop
    seed: int
    contexts: dict[str, TaskContext]
    calls: dict[str, CallSettings]

    def ready(self, action: Callable[[], None]) -> None:
        """Do something after what is being done now."""
        ...

    def guarded(self, run: Run, action: Callable[[], None]) -> None:
        """Do something; what it raises becomes the run's error."""
        ...

    def when_engine(
        self, run: Run, engine: PooledEngine | None, stage: str, action: Callable[[], None]
    ) -> None:
        """Do something once an engine is fetched or ready."""
        ...
