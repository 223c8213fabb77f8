"""LLMs that hang: who waits is told by its clock, what runs goes on with a new engine."""

import asyncio
from dataclasses import replace

import pytest

from teola.runtime.errors import DeadlineExceeded, TaskTimeout
from teola.runtime.events import TextDelta
from teola.runtime.simulation.clock import pass_time
from teola.runtime.watchdog import GRACE_S
from tests.runtime.llm_desk import BLOCK, prompt
from tests.runtime.llm_fleet import ends_well, fleet, greedy
from tests.runtime.workbench import call, now, plan, reply, virtual

SILENCE_S = 2 * GRACE_S


@fleet(1)
async def test_a_replica_that_hangs_is_given_up(fleet):
    """It neither answers the abort of a call that timed out nor tells anything: it is lost, and the
    others of its calls go on with a new one."""
    (machine,) = fleet.machines
    late = await fleet.call(prompt(("A", 2)), timeout_s=5)
    innocent = await fleet.call(prompt(("B", 2)), left=True)
    fleet.step(innocent, 3)
    machine.hang()
    await pass_time(6)
    assert isinstance(late.call.error, TaskTimeout)
    assert fleet.lost == []
    await pass_time(120)
    assert [number for number, _ in fleet.lost] == [0]
    assert "hangs" in fleet.lost[0][1]
    machine.start()
    await fleet.finish()
    assert ends_well(innocent, prompt(("B", 2)))


@fleet(1)
async def test_a_replica_that_is_only_slow_is_not_given_up(fleet):
    """Its tokens are a sign of life though it does not answer the abort yet."""
    (machine,) = fleet.machines
    late = await fleet.call(prompt(("A", 2)), timeout_s=5)
    tokens = next(t for n in range(99) if len(greedy(t := [n] * BLOCK, 40)[0]) == 40)
    busy = await fleet.call(tokens, 40)
    machine.hang()
    await pass_time(6)
    assert late.over
    for _ in range(30):
        machine.step(busy.id)
        await pass_time(20)
    assert fleet.lost == []
    machine.answers.set()
    await fleet.finish()
    assert ends_well(busy, tokens, 40)


@fleet(1)
async def test_an_engine_that_answers_aborts_and_gives_no_tokens_is_given_up(fleet):
    """A minute after a call timed out, if calls ran all the time; they go on with a new one, and
    so does what came meanwhile."""
    (machine,) = fleet.machines
    late = await fleet.call(prompt(("A", 2)), timeout_s=5)
    innocent = await fleet.call(prompt(("B", 2)), left=True)
    fleet.step(innocent, 3)
    await pass_time(5.1)
    assert isinstance(late.call.error, TaskTimeout)
    assert machine.aborted == [late.id]
    new = await fleet.call(prompt(("C", 2)))
    await pass_time(SILENCE_S - 0.2)
    assert fleet.lost == []
    await pass_time(0.2)
    ((_, reason),) = fleet.lost
    assert "it hangs: a call timed out" in reason
    machine.start()
    await fleet.finish()
    assert ends_well(innocent, prompt(("B", 2)))
    assert ends_well(new, prompt(("C", 2)))


@fleet(2)
async def test_the_other_replica_does_not_count(fleet):
    """Its tokens are no sign of life of the one that hangs, and it is not given up."""
    late = await fleet.call(prompt(("A", 2)), timeout_s=5)
    busy = await fleet.call(prompt(("B", 2)), 40)
    hung = fleet.at(late)
    held = await fleet.call(prompt(("A", 3)))
    assert fleet.at(busy) is not hung
    assert fleet.at(held) is hung
    for _ in range(4):
        await pass_time(20)
        fleet.step(busy, 0)
    assert [number for number, _ in fleet.lost] == [hung.number]
    hung.start()
    await fleet.finish()
    assert ends_well(held, prompt(("A", 3)))


@fleet(1)
async def test_steps_without_tokens_are_a_sign_of_life(fleet):
    """A long prompt is computed in many; however long that takes, the call has its answer."""
    (machine,) = fleet.machines
    await fleet.call(prompt(("A", 2)), timeout_s=5)
    slow = await fleet.call(prompt(("B", 100)))
    for _ in range(10):
        await pass_time(SILENCE_S - 10)
        machine.replica.events([])
    assert fleet.lost == []
    await fleet.finish()
    assert ends_well(slow, prompt(("B", 100)))


@fleet(1)
async def test_without_clocks_nothing_is_late(fleet):
    """What was cancelled has not timed out either."""
    patient, cancelled = [await fleet.call(prompt((mark, 2))) for mark in "AB"]
    await pass_time(5)
    cancelled.cancel()
    await pass_time(100 * SILENCE_S)
    assert fleet.lost == []
    await fleet.finish()
    assert ends_well(patient, prompt(("A", 2)))


@fleet(1)
async def test_a_server_that_is_silent_is_not_given_up(fleet):
    """To start again would not help: what waits in it would begin anew."""
    (machine,) = fleet.machines
    machine.fleet.capabilities = replace(fleet.capabilities, remote=True)
    machine.die()
    machine.start()
    await fleet.call(prompt(("A", 2)), timeout_s=5)
    patient = await fleet.call(prompt(("B", 2)))
    await pass_time(100 * SILENCE_S)
    assert fleet.lost == []
    await fleet.finish()
    assert ends_well(patient, prompt(("B", 2)))


@fleet(1)
async def test_time_without_calls_does_not_count(fleet):
    """Who comes long after a call that timed out has the whole minute."""
    (machine,) = fleet.machines
    await fleet.call(prompt(("A", 2)), timeout_s=5)
    await pass_time(1000)
    new = await fleet.call(prompt(("B", 2)))
    await pass_time(SILENCE_S - 0.1)
    assert fleet.lost == []
    await pass_time(0.2)
    assert len(fleet.lost) == 1
    machine.start()
    await fleet.finish()
    assert ends_well(new, prompt(("B", 2)))


@fleet(1)
async def test_calls_that_time_out_one_after_the_other_make_a_minute(fleet):
    """Though none of them runs for so long; the last one goes on."""
    (machine,) = fleet.machines
    tasks = []
    while not fleet.lost and len(tasks) < 20:
        tasks.append(await fleet.call(prompt(("A", 2)), timeout_s=5.5))
        await pass_time(10)
    *late, last = tasks
    assert len(late) == 1 + SILENCE_S // 5.5
    assert all(isinstance(task.call.error, TaskTimeout) for task in late)
    machine.start()
    await fleet.finish()
    assert ends_well(last, prompt(("A", 2)))


@fleet(1)
async def test_that_it_is_full_is_no_sign_of_life(fleet):
    """It says so without a step."""
    (machine,) = fleet.machines
    await fleet.call(prompt(("A", 2)), timeout_s=5)
    task = await fleet.call(prompt(("B", 2)))
    for _ in range(5):
        await pass_time(20)
        machine.fail(*machine.calls, kind="full")
    assert len(fleet.lost) == 1
    machine.start()
    await fleet.finish()
    assert ends_well(task, prompt(("B", 2)))


@fleet(1)
async def test_a_suspect_is_not_to_blame_for_what_another_has_left(fleet):
    """One makes the engine hang and times out; the next runs alone in vain, and once more then."""
    (machine,) = fleet.machines
    guilty = await fleet.call(prompt(("A", 2)), timeout_s=10)
    innocent = await fleet.call(prompt(("B", 2)))
    machine.die()
    machine.start()
    await pass_time(11)
    assert isinstance(guilty.call.error, TaskTimeout)
    assert machine.calls == [innocent.id]
    await pass_time(SILENCE_S)
    assert len(fleet.lost) == 1
    machine.start()
    await fleet.finish()
    assert ends_well(innocent, prompt(("B", 2)))


def asking(decode="{engine = llm}", deadline_s=None):
    """One call whose text is the output; each of its steps takes a second."""
    return plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q", decode=decode)}
        output out: text = %a.decode:text
        """,
        deadline_s=deadline_s,
        llm={"latency_ms": 1000},
    )


def silent(spy):
    """The LLM hangs as a whole: it answers nothing any more."""

    async def never(_ids):
        if spy.starts == 1:
            await asyncio.Event().wait()

    spy.abort = never
    spy.on_events = lambda events: events if spy.starts > 1 or now() < 2 else []


def stuck(spy):
    """The LLM makes no more steps, but answers what it is asked."""

    def take(events):
        if spy.starts == 1 and now() >= 2:
            spy.handle._engine._plan = lambda: None
            return []
        return events

    spy.on_events = take


@pytest.mark.parametrize("hangs", [silent, stuck])
@pytest.mark.parametrize(
    ("hasty", "error"),
    [
        (asking("{engine = llm, timeout_s = 10}"), TaskTimeout),
        (asking(deadline_s=10), DeadlineExceeded),
    ],
)
@virtual
async def test_an_engine_that_hangs_is_started_anew(bench, hangs, hasty, error):
    """Through the whole runtime: one query times out, the others have their answers, one that came
    after the hang included."""
    bench.prepared.append(hangs)
    async with bench.runner(hasty) as one, bench.runner(asking()) as other:
        innocent = asyncio.ensure_future(reading_text(other, "innocent"))
        with pytest.raises(error):
            await one.run(q="late")
        new = asyncio.ensure_future(other.run(q="new"))
        assert await innocent == reply("innocent")
        assert (await new)["out"] == reply("new")
        assert 10 + SILENCE_S < now() < 10 + SILENCE_S + 30
    assert bench.spy("llm").starts == 2


async def reading_text(runner, question):
    """The deltas of one query."""
    events = [event async for event in runner.stream(q=question)]
    return "".join(event.text for event in events if isinstance(event, TextDelta))
