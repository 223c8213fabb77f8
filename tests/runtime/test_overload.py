"""Overload is refused at the door: at once, saying when to come again; who is in is unharmed."""

import asyncio

import pytest

import teola.runtime.runner as runner_module
from teola.runtime import EnginePool, InputError, Overloaded, RunError
from teola.runtime.batch import run_batch
from teola.runtime.door import ENDS, SOONEST_S, Door
from teola.runtime.errors import DeadlineExceeded
from teola.runtime.inputs import bind_inputs
from teola.runtime.observing.error_code import error_code
from teola.runtime.observing.observations import QueryBegan, QueryRefused
from teola.runtime.simulation.clock import pass_time
from tests.runtime.workbench import call, now, plan, reply, virtual


def asking(deadline_s=None, **llm):
    """A call of 4 seconds."""
    return plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q")}
        output out: text = %a.decode:text
        """,
        deadline_s=deadline_s,
        llm={"latency_ms": 1000, **llm},
    )


async def refused(runner, **inputs):
    """The error of a query that is refused, at once."""
    began = now()
    with pytest.raises(Overloaded) as caught:
        await runner.run(**inputs)
    assert now() == began
    return caught.value


@virtual(max_queries=2)
async def test_one_more_is_refused_at_once_and_the_others_end_as_ever(bench):
    """Nothing of the refused query reaches an engine; when one has ended there is room again."""
    async with bench.runner(asking()) as runner:
        inside = [asyncio.ensure_future(runner.run(q=q)) for q in ("x", "y")]
        await pass_time(1)
        error = await refused(runner, q="z")
        assert (error.running, error_code(error)) == (2, "overloaded")
        assert str(error).startswith("2 queries run, as many as the pool takes: come again in ")
        assert [result["out"] for result in await asyncio.gather(*inside)] == [
            reply("x"),
            reply("y"),
        ]
        assert len(bench.spy("llm").submitted) == 2
        assert (await runner.run(q="z"))["out"] == reply("z")


@virtual(max_queries=1)
async def test_a_stream_is_refused_as_well(bench):
    """Before its first event."""
    async with bench.runner(asking()) as runner:
        inside = asyncio.ensure_future(runner.run(q="x"))
        await pass_time(0)
        with pytest.raises(Overloaded):
            await anext(runner.stream(q="y"))
        await inside


@virtual(max_queries=1)
async def test_the_limit_is_that_of_the_pool(bench):
    """Whatever workflows its queries are of."""
    async with bench.runner(asking()) as one, bench.runner(asking()) as two:
        inside = asyncio.ensure_future(one.run(q="x"))
        await pass_time(0)
        await refused(two, q="x")
        await inside


@virtual(max_queries=1)
async def test_a_refused_query_reads_no_inputs(bench, monkeypatch):
    """And a query whose inputs are being read has its place already."""
    read = []

    async def reading(plan, given):
        read.append(given["q"])
        await pass_time(5)
        return await bind_inputs(plan, given)

    monkeypatch.setattr(runner_module, "bind_inputs", reading)
    async with bench.runner(asking()) as runner:
        inside = asyncio.ensure_future(runner.run(q="x"))
        await pass_time(1)
        await refused(runner, q="y")
        await inside
    assert read == ["x"]


@pytest.mark.parametrize("end", ["bad input", "deadline", "cancelled", "closed", "cancelled early"])
@virtual(max_queries=1)
async def test_however_a_query_ends_its_place_is_free_again(bench, monkeypatch, end):
    """Before or after its inputs were there, by itself or not."""

    async def reading(plan, given):
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=2)
        return await bind_inputs(plan, given)

    if end in ("deadline", "closed", "cancelled early"):
        monkeypatch.setattr(runner_module, "bind_inputs", reading)
    async with bench.runner(asking(deadline_s=1 if end == "deadline" else None)) as runner:
        running = asyncio.ensure_future(runner.run(q=3 if end == "bad input" else "x"))
        await pass_time(1.5)
        if end == "closed":
            await runner.close()
        if end.startswith("cancelled"):
            running.cancel()
        (problem,) = await asyncio.gather(running, return_exceptions=True)
    expected = {"bad input": InputError, "deadline": DeadlineExceeded, "closed": RunError}
    assert isinstance(problem, expected.get(end, asyncio.CancelledError)), problem
    assert bench.pool.queries == 0
    monkeypatch.undo()
    assert (await bench.run(asking(), q="y"))["out"] == reply("y")


@virtual(max_queries=4)
async def test_who_comes_again_when_told_gets_in(bench):
    """Ten queries where four may be in: each is refused a few times at most, and all end."""
    tries = []

    async def ask(runner, q):
        for attempt in range(20):
            try:
                result = await runner.run(q=q)
            except Overloaded as full:
                await pass_time(full.retry_after_s)
            else:
                tries.append(attempt)
                return result["out"]
        raise AssertionError(q)

    async with bench.runner(asking(max_requests=4)) as runner:
        await runner.run(q="first")
        names = [f"q{n}" for n in range(10)]
        outs = await asyncio.gather(*(ask(runner, name) for name in names))
    assert outs == [reply(name) for name in names]
    assert max(tries) < 20


@virtual(max_queries=3)
async def test_observers_hear_of_refusals(bench):
    """With the workflow and the time; no query has begun."""
    seen = []

    class Notes:
        def see(self, event):
            if isinstance(event, QueryBegan | QueryRefused):
                seen.append(type(event))

    bench.pool.observe(Notes())
    async with bench.runner(asking()) as runner:
        inside = [asyncio.ensure_future(runner.run(q=f"q{n}")) for n in range(3)]
        await pass_time(1)
        await refused(runner, q="x")
        await asyncio.gather(*inside)
    assert seen == [QueryBegan] * 3 + [QueryRefused]


@virtual(max_queries=2)
async def test_rows_of_a_batch_wait_for_room(bench):
    """A batch with more rows at once than the pool takes: none is an error."""
    async with bench.runner(asking()) as runner:
        rows = [{"q": f"q{n}"} for n in range(6)]
        tally = await run_batch(runner, rows, concurrency=6)
    assert (tally.answered, tally.errors) == (6, {})


def test_the_time_to_come_again_follows_the_rate_of_ends():
    """Two places, an end each second: the first refused comes in a second, the next in two; nobody
    later than when all that are in have ended."""
    door = Door(2)
    door.enter(0)
    for second in range(10):
        door.enter(second)
        door.leave(second + 1)
    door.enter(10)
    times = []
    for _ in range(3):
        with pytest.raises(Overloaded) as caught:
            door.enter(10)
        times.append(caught.value.retry_after_s)
    assert times == pytest.approx([1, 2, 2])


def test_before_the_first_end_what_has_passed_is_the_estimate():
    """And never less than a moment: nobody is to ask again at once, and again."""
    door = Door(1)
    door.enter(0)
    for at_s, told_s in ((0, SOONEST_S), (8, 8)):
        with pytest.raises(Overloaded) as caught:
            door.enter(at_s)
        assert caught.value.retry_after_s == told_s


def test_idle_time_counts_for_no_rate():
    """What a pool did before it was idle says nothing of now."""
    door = Door(2)
    for second in range(3):
        door.enter(second)
        door.leave(second + 1)
    door.enter(1_000_000)
    door.enter(1_000_000)
    door.leave(1_000_004)
    door.enter(1_000_004)
    with pytest.raises(Overloaded) as caught:
        door.enter(1_000_004)
    assert caught.value.retry_after_s == 4


def test_old_ends_are_forgotten():
    """Once queries take a hundred times as long, the rate is soon that of now."""
    door, now_s = Door(2), 0.0
    door.enter(now_s)
    for between_s in (0.1,) * 2 * ENDS + (10,) * ENDS:
        door.enter(now_s)
        now_s += between_s
        door.leave(now_s)
    door.enter(now_s)
    with pytest.raises(Overloaded) as caught:
        door.enter(now_s)
    assert caught.value.retry_after_s == pytest.approx(10)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_pool_that_takes_nobody_is_refused(limit):
    """The message names the value."""
    with pytest.raises(RunError, match=f"max_queries = {limit}: a pool must take at least 1"):
        EnginePool(max_queries=limit)
