"""The virtual clock."""

import asyncio

import pytest

from teola.runtime.simulation.clock import BackgroundError, StuckError, pass_time, run_virtually


def test_hours_take_no_time_and_are_exact():
    """Time is what timers say."""

    async def main():
        loop = asyncio.get_running_loop()
        rang = []
        for seconds in (7200, 0.1, 3600.25):
            loop.call_later(seconds, lambda: rang.append(loop.time()))
        cancelled = loop.call_later(5, rang.append, "never")
        cancelled.cancel()
        await pass_time(10_000)
        return rang, loop.time()

    assert run_virtually(main()) == ([0.1, 3600.25, 7200], 10_000)


def test_centuries_pass():
    """Where floats cannot tell billionths of a second apart any more."""

    async def main():
        await pass_time(1e10)
        for _ in range(10):
            await pass_time(0.1)
        return asyncio.get_running_loop().time()

    assert run_virtually(main()) == pytest.approx(1e10 + 1, abs=1e-4)


def test_what_can_never_happen_is_said():
    """Instead of waiting for ever."""

    async def main():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(StuckError):
        run_virtually(main())


def test_what_nobody_awaited_is_told():
    """An error in a callback does not pass unseen."""

    async def main():
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await pass_time(1)

    with pytest.raises(BackgroundError, match="ZeroDivisionError"):
        run_virtually(main())
