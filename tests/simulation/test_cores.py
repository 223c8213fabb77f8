"""Cores that simulated engines share."""

import asyncio

import pytest

from teola.runtime.engines.simulated.cores import Cores, cores_of
from teola.runtime.simulation.clock import pass_time, run_virtually


def test_work_at_the_same_time_takes_longer():
    """3 s from 0 on, 1 s from 1 on: at half the pace until the second ends at 3, alone again."""

    async def main():
        cores, loop, ended = Cores(), asyncio.get_running_loop(), {}

        async def work(name, begin_s, seconds):
            await pass_time(begin_s)
            await cores.work(seconds)
            ended[name] = loop.time()

        await asyncio.gather(work("long", 0.0, 3.0), work("short", 1.0, 1.0))
        return ended

    assert run_virtually(main()) == pytest.approx({"short": 3.0, "long": 4.0})


def test_who_leaves_makes_room():
    """Work that is given up holds nobody up any more."""

    async def main():
        cores = Cores()
        given_up = asyncio.ensure_future(cores.work(10.0))
        kept = asyncio.ensure_future(cores.work(2.0))
        await pass_time(1)
        given_up.cancel()
        await kept
        return asyncio.get_running_loop().time()

    assert run_virtually(main()) == pytest.approx(2.5)


def test_long_hours_do_not_hold_work_up():
    """Where the clock cannot tell billionths of a second any more."""

    async def main():
        await pass_time(1e8)
        await Cores().work(0.1)
        return asyncio.get_running_loop().time()

    assert run_virtually(main()) == pytest.approx(1e8 + 0.1, abs=1e-6)


def test_only_engines_that_are_pinned_to_the_same_cores_share():
    """Not those with replicas: each has a core of its own."""

    async def main():
        one = cores_of({"cores": [1]})
        assert cores_of({"cores": [1]}) is one
        assert cores_of({"cores": [0]}) is not one
        assert cores_of({"cores": [1], "replicas": 2}) is not one
        assert cores_of({}) is not cores_of({})
        return one

    assert run_virtually(main()) is not run_virtually(main())
