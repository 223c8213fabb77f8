"""An event loop whose time jumps: a test of hours takes milliseconds and is exact."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class StuckError(AssertionError):
    """Nothing is ready and no timer runs: what is awaited will never happen."""


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """Its time is virtual: it jumps to the next timer when nothing is ready.

    Work for threads is done at once, on the loop, so that every run of a test is the same; where
    nothing can ever happen again, the loop says so instead of waiting for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._virtual_now = 0.0

    def time(self) -> float:
        return self._virtual_now

    def run_in_executor(  # type: ignore[override]  # a future that is done is one, too
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - what a thread raises belongs to who awaits it
            done.set_exception(error)
        return done

    def _run_once(self) -> None:
        if not self._ready:
            timers = [timer.when() for timer in self._scheduled if not timer.cancelled()]
            if not timers and not self._stopping:
                raise StuckError("nothing is ready and no timer runs")
            self._virtual_now = max(self._virtual_now, min(timers, default=0.0))
        super()._run_once()


async def pass_time(seconds: float) -> None:
    """Let so much virtual time pass."""
    passed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(seconds, passed.set_result, None)
    await passed


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine under the virtual clock; what went wrong in the background fails it, too."""
    problems: list[str] = []

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        problems.append(f"{context.get('message')}: {context.get('exception')!r}")

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.get_loop().set_exception_handler(note)
        result = runner.run(main)
    assert not problems, problems
    return result
