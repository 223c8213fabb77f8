"""One thread for an engine's computing, so that its event loop stays free for orders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class WorkerThread:
    """Runs functions one after another, always on the same thread: PyTorch makes a new set of
    OpenMP threads for every thread that computes."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def call(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Await ``function(*arguments, **named)``."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*arguments, **named))

    def close(self) -> None:
        """Let the thread end when it is done; what waits is dropped."""
        self._executor.shutdown(wait=False, cancel_futures=True)
