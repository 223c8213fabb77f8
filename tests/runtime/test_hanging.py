"""Engines that hang: who waits is told by its clock, and a new engine takes their place."""

import asyncio

import pytest

from teola.runtime.circuit import RESTART_DELAY_S
from teola.runtime.errors import DeadlineExceeded, TaskTimeout
from teola.runtime.hosts import EngineDied
from teola.runtime.simulation.clock import pass_time
from teola.runtime.watchdog import GRACE_S
from tests.runtime.faulty import Faults, embedding, sizes, together
from tests.runtime.workbench import now, virtual


@pytest.mark.parametrize("replicas", [1, 2])
@virtual
async def test_an_engine_that_hangs_is_started_again(bench, replicas):
    """Its query ends by its timeout; after a grace period a new engine takes its place."""
    Faults(hangs=["hang"]).into(bench)
    source = embedding("timeout_s = 5", latency_ms=100, batch_size=1, replicas=replicas)
    async with bench.runner(source, share=False) as runner:
        (hung,) = await together(runner, ["hang"])
        assert isinstance(hung, TaskTimeout)
        assert now() == 5
        if replicas > 1:
            assert sizes(await together(runner, ["a"], ["b"])) == [1, 1]
        await pass_time(3 * GRACE_S)
        assert [spy.starts for spy in bench.spies] == [2, 1][:replicas]
        assert bench.spies[0].epoch == 1
        assert sizes(await together(runner, ["a"], ["b"], ["c"])) == [1, 1, 1]


@virtual
async def test_an_engine_that_hangs_is_ended_before_it_rests(bench):
    """It does not compute on until the next one starts."""
    ended = []

    def note(spy):
        close = spy.handle.close

        async def closing():
            ended.append(now())
            await close()

        spy.handle.close = closing

    bench.prepared.append(note)
    Faults(hangs=["hang"]).into(bench)
    async with bench.runner(embedding("timeout_s = 5")) as runner:
        await together(runner, ["hang"])
        await pass_time(3 * GRACE_S)
    assert ended[1] - ended[0] == pytest.approx(RESTART_DELAY_S)


@virtual
async def test_a_deadline_is_a_clock_too(bench):
    """A batch whose query had only a `deadline:` is late when that has passed."""
    Faults(hangs=["hang"]).into(bench)
    async with bench.runner(embedding(deadline_s=5)) as runner:
        (hung,) = await together(runner, ["hang"])
        assert isinstance(hung, DeadlineExceeded)
        await pass_time(3 * GRACE_S)
        assert sizes(await together(runner, ["a"])) == [1]
    assert bench.spies[0].starts == 2


@virtual
async def test_what_waits_behind_a_hanging_batch_goes_on(bench):
    """Tasks without a timeout wait until the engine is back."""
    Faults(hangs=["hang"]).into(bench)
    engine = {"latency_ms": 100, "batch_size": 1}
    patient = embedding(**engine)
    async with (
        bench.runner(embedding("timeout_s = 5", **engine), share=False) as runner,
        bench.runner(patient, share=False) as other,
    ):
        hung = asyncio.ensure_future(together(runner, ["hang"]))
        await pass_time(1)
        assert sizes(await together(other, ["a"])) == [1]
        assert 5 + GRACE_S < now() < 5 + 3 * GRACE_S
        assert isinstance((await hung)[0], TaskTimeout)


@virtual
async def test_a_batch_that_somebody_waits_for_is_left_alone(bench):
    """However long it takes: its neighbour has no timeout."""
    engine = {"latency_ms": 1000 * 10 * GRACE_S}
    async with (
        bench.runner(embedding("timeout_s = 5", **engine), share=False) as hasty,
        bench.runner(embedding(**engine), share=False) as patient,
    ):
        one, two = await asyncio.gather(together(hasty, ["a"]), together(patient, ["b", "c"]))
        assert isinstance(one[0], TaskTimeout)
        assert sizes(two) == [2]
    assert bench.spies[0].starts == 1


@virtual
async def test_a_batch_that_was_cancelled_is_left_alone(bench):
    """It may be as long as it is: no clock says that it is late."""
    async with bench.runner(embedding(latency_ms=1000 * 10 * GRACE_S), share=False) as runner:
        running = asyncio.ensure_future(runner.run(texts=["a"]))
        await pass_time(1)
        running.cancel()
        await pass_time(11 * GRACE_S)
    assert bench.spies[0].starts == 1


@virtual
async def test_a_hanging_batch_that_was_cancelled_ends_too(bench):
    """Once the timeout has passed that its query did not wait for. What waits goes on then."""
    Faults(hangs=["hang"]).into(bench)
    engine = {"latency_ms": 100, "batch_size": 1}
    async with (
        bench.runner(embedding("timeout_s = 40", **engine), share=False) as runner,
        bench.runner(embedding(**engine), share=False) as patient,
    ):
        running = asyncio.ensure_future(runner.run(texts=["hang"]))
        await pass_time(1)
        running.cancel()
        assert sizes(await together(patient, ["a"])) == [1]
    assert 40 + GRACE_S < now() < 40 + 3 * GRACE_S
    assert bench.spies[0].starts == 2


@virtual
async def test_a_suspect_that_hangs_and_is_cancelled_keeps_no_other_waiting(bench):
    """The others of its death are tried once the replica is back."""

    def change(spy):
        async def before(batch):
            items = [item for part in batch for item in part.items]
            if len(items) > 1:
                await pass_time(0.01)
                spy.die("it was too much")
                raise EngineDied("it was too much")
            if items == ["hang"]:
                spy.handle._engine.run = never

        spy.before_run = before

    bench.prepared.append(change)
    source = embedding("timeout_s = 40", latency_ms=1000)
    async with bench.runner(source, share=False) as runner:
        first = asyncio.ensure_future(runner.run(texts=["first"]))
        await pass_time(0.1)
        hanging = asyncio.ensure_future(runner.run(texts=["hang"]))
        others = asyncio.ensure_future(together(runner, ["poison"]))
        await pass_time(10)
        assert first.done()
        hanging.cancel()
        (other,) = await others
        assert isinstance(other, TaskTimeout)
        await pass_time(3 * GRACE_S)
        assert sizes(await together(runner, ["a"])) == [1]
    assert bench.spies[0].starts == 3


async def never(_):
    await asyncio.Event().wait()


@virtual
async def test_a_hanging_batch_that_is_retried_ends_too(bench):
    """The attempt that timed out is given up, and the next one waits for the engine that comes."""
    Faults(hangs=["hang"]).into(bench)
    retry = 'timeout_s = 5, retry = {"max": 20, "initial_s": 1, "backoff": "constant"}'
    async with bench.runner(embedding(retry, latency_ms=100, batch_size=1), share=False) as runner:
        running = asyncio.ensure_future(together(runner, ["hang"]))
        await pass_time(5 + 3 * GRACE_S)
        assert bench.spies[0].starts >= 2
        assert isinstance((await running)[0], TaskTimeout)
