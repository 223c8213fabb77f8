"""An event loop whose time jumps: hours take milliseconds, and are exact."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from math import inf, nextafter
from typing import Any, TypeVar

from teola.runtime.errors import RunError

T = TypeVar("T")

RESOLUTION_S = 1e-9
"""What asyncio takes timers to be exact to; after some months a float is not."""


class StuckError(RunError):
    """Nothing is ready and no timer runs: what is awaited will never happen."""


class BackgroundError(RunError):
    """Something went wrong that nobody awaited."""


class _Jump(selectors.DefaultSelector):
    """Waits for nothing: where the loop would sleep, its time passes instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StuckError("nothing is ready and no timer runs")
        self.now += timeout
        if timeout and self.now + RESOLUTION_S == self.now:
            self.now = nextafter(self.now, inf)  # asyncio would wait for ever for less than that
        return super().select(0)


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """Its time is virtual: it jumps to the next timer when nothing is ready.

    Work for threads is done at once, on the loop, so that every run is the same; where nothing can
    ever happen again, the loop says so instead of waiting for ever.
    """

    def __init__(self) -> None:
        self._clock = _Jump()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now

    def run_in_executor(  # type: ignore[override]  # a future that is done is one, too
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - what a thread raises belongs to who awaits it
            done.set_exception(error)
        return done


async def pass_time(seconds: float) -> None:
    """Let so much virtual time pass."""
    passed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(seconds, passed.set_result, None)
    await passed


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine under the virtual clock.

    Raises:
        BackgroundError: something went wrong in the background.
    """
    problems: list[str] = []

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        problems.append(f"{context.get('message')}: {context.get('exception')!r}")

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.get_loop().set_exception_handler(note)
        result = runner.run(main)
    if problems:
        raise BackgroundError("\n".join(problems))
    return result
