"""An LLM that runs out of memory: it takes fewer calls at once, and none of them is lost."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.engines.protocol import Failure, Generate, TokenEvent
from teola.runtime.engines.transformers.llm import Running, TransformersLLM
from teola.runtime.errors import ModuleError, StreamInterrupted, TaskTimeout
from teola.runtime.events import TextDelta
from teola.runtime.item_budget import RECOVERY
from teola.runtime.simulation.clock import pass_time
from tests.runtime.llm_desk import BLOCK, prompt
from tests.runtime.llm_fleet import ends_well, fleet, greedy, turn
from tests.runtime.workbench import call, plan, reply, result_of, virtual

VICTIMS = {
    "all in one message": list,
    "all in messages of their own": lambda all_: [[one] for one in all_[0]],
    "the newest": lambda all_: [all_[0][-1:]],
}


def holds(calls=99, tokens=10_000):
    """What an engine's memory suffices for: so many calls with so many tokens together."""
    return lambda live: len(live) <= calls and sum(len(made) for _, made in live.values()) <= tokens


@fleet(1)
async def test_a_replica_that_is_short_of_memory_takes_fewer_calls(fleet):
    """Half as many, and half of that: as many as there is memory for. Nobody has failed, and no
    retry was counted. Later it takes as many as before."""
    (machine,) = fleet.machines
    machine.suffices = holds(calls=3)
    tasks = [await fleet.call([n] * BLOCK) for n in range(20)]
    await turn()
    assert machine.replica.limit.items == 2
    assert len(machine.live) == 2
    await fleet.finish()
    assert all(ends_well(task, [n] * BLOCK) for n, task in enumerate(tasks))
    assert {task.attempt for task in tasks} == {0}
    assert machine.replica.limit.items < 8
    machine.suffices = holds()
    for n in range(200):
        await fleet.call([n] * BLOCK)
    await turn()
    assert len(machine.live) <= 4
    await fleet.finish()
    assert machine.replica.limit.items == 8


@pytest.mark.parametrize("victims", VICTIMS.values(), ids=list(VICTIMS))
def test_one_shortage_halves_once(victims):
    """However many of the calls that ran fail of it, and in however many messages."""

    @fleet(1)
    async def scene(found):
        (machine,) = found.machines
        tasks = [await found.call([n] * BLOCK) for n in range(8)]
        for names in victims([list(machine.live)]):
            machine.fail(*names, kind="memory")
        assert machine.replica.limit.items == 4
        await found.finish()
        assert all(ends_well(task, [n] * BLOCK) for n, task in enumerate(tasks))

    scene()


@fleet(1)
async def test_a_call_that_is_too_much_alone_fails(fleet):
    """With what the engine said; the others have their answers, and as many calls run at once
    afterwards as before: it was not their number."""
    (machine,) = fleet.machines
    machine.suffices = holds(tokens=10 * BLOCK)
    tasks = [await fleet.call([n] * BLOCK) for n in range(4)]
    huge = await fleet.call([9] * 20 * BLOCK)
    await fleet.finish()
    assert all(ends_well(task, [n] * BLOCK) for n, task in enumerate(tasks))
    assert type(huge.call.error) is ModuleError
    assert huge.call.error.kind == "memory"
    assert "spoilt" in huge.call.error.cause
    assert machine.replica.limit.items == 8


@fleet(1)
async def test_retry_says_what_becomes_of_a_call_that_is_too_much_alone(fleet):
    """It is tried again as often as allowed."""
    (machine,) = fleet.machines
    machine.suffices = holds(tokens=10)
    task = await fleet.call([9] * BLOCK, max_retries=2)
    await pass_time(10)
    assert len(machine.sent) == 3
    assert "after 3 attempts" in task.call.error.cause


@fleet(1)
async def test_a_call_left_alone_by_others_that_failed_is_not_to_blame(fleet):
    """It ran beside them: it is sent once more before it has failed."""
    (machine,) = fleet.machines
    one, other = [await fleet.call([n] * BLOCK) for n in range(2)]
    machine.fail(one.id, kind="memory")
    machine.fail(other.id, kind="memory")
    await turn()
    assert machine.calls == [other.id]
    machine.fail(other.id, kind="memory")
    assert other.call.error.kind == "memory"
    await fleet.finish()
    assert ends_well(one, [0] * BLOCK)


@fleet(1)
async def test_waiting_for_memory_counts_against_timeout_alone(fleet):
    """`timeout` goes on; `idle_timeout` begins again with the next token."""
    (machine,) = fleet.machines
    long = next(n for n in range(99) if len(greedy([n] * BLOCK, 8)[0]) == 8)
    limits = {"timeout_s": 20, "idle_timeout_s": 2}
    first, second = [await fleet.call([long, n] * BLOCK, **limits) for n in range(2)]
    await pass_time(1)
    fleet.step(second)
    machine.fail(second.id, kind="memory")
    await pass_time(18)
    assert not second.over
    assert second.id not in machine.live
    await pass_time(2)
    assert isinstance(first.call.error, TaskTimeout)
    assert "while queued" in second.call.error.cause


@fleet(1)
async def test_text_that_has_left_is_not_said_twice(fleet):
    """A call goes on where it was; one that cannot is broken off once something of it has left, and
    begins anew before."""
    (machine,) = fleet.machines
    tokens = [next(n for n in range(99) if len(greedy([n] * BLOCK, 8)[0]) == 8)] * BLOCK
    settings = [{"left": left, "resumable": goes} for left in (1, 0) for goes in (1, 0)]
    tasks = [await fleet.call(tokens, **some) for some in settings]
    for task in tasks:
        fleet.step(task, 3)
    machine.fail(*machine.live, kind="memory")
    broken = tasks.pop(1)
    assert isinstance(broken.call.error, StreamInterrupted)
    assert broken.call.error.kind == "memory"
    await fleet.finish()
    assert all(ends_well(task, tokens) for task in tasks)
    assert [task.call.attempts for task in tasks] == [0, 0, 1]


@fleet(1)
async def test_what_a_replica_has_learnt_outlives_it(fleet):
    """Its memory is as large after a death: some engines end of what they run out of."""
    (machine,) = fleet.machines
    tasks = [await fleet.call([n] * BLOCK) for n in range(8)]
    machine.fail(*machine.live, kind="memory")
    machine.die()
    machine.start()
    await turn()
    assert len(machine.calls) == 4
    await fleet.finish()
    assert all(ends_well(task, [n] * BLOCK) for n, task in enumerate(tasks))


@fleet(1)
async def test_calls_that_are_ended_early_count_as_well(fleet):
    """Where they have given something: whoever has read enough ends a call."""
    (machine,) = fleet.machines
    tasks = [await fleet.call([n] * BLOCK) for n in range(30)]
    machine.fail(*machine.live, kind="memory")
    for task in tasks:
        await turn()
        assert machine.replica.limit.items == 4 or task in tasks[4 * RECOVERY :]
        if not task.over:
            fleet.step(task)
            task.cancel()
    assert machine.replica.limit.items == 8
    await turn()


@fleet(1)
async def test_a_call_that_goes_on_shares_the_prefix_that_it_has(fleet):
    """Once it is sent again its marks are those of its longer prompt."""
    (machine,) = fleet.machines
    tokens = next(t for n in range(99) if len(greedy(t := [n] * BLOCK, 40)[0]) == 40)
    task, other = [await fleet.call(one, 40) for one in (tokens, [-1] * BLOCK)]
    fleet.step(task, 2 * BLOCK)
    machine.fail(task.id, kind="memory")
    other.cancel()
    await turn()
    assert machine.calls == [task.id]
    assert len(task.marks) == 3
    await fleet.finish()
    assert ends_well(task, tokens, 40)


@fleet(1, prefix_cache=True)
async def test_a_warm_up_that_finds_no_memory_counts(fleet):
    """It has failed, and its replica takes less."""
    (machine,) = fleet.machines
    task = await fleet.call(prompt(("A", 1)))
    fleet.step(task)
    owner = await fleet.warm(prompt(("B", 4)))
    (warm,) = set(machine.live) - set(machine.calls)
    machine.fail(warm, kind="memory")
    assert machine.replica.limit.items == 1
    assert fleet.scheduler.warm_ups.counts.failed == 1
    await fleet.finish()
    fleet.scheduler.leave(owner)
    assert ends_well(task, prompt(("A", 1)))


@given(
    calls=st.lists(
        st.tuples(st.integers(1, 6), st.integers(1, 12), st.booleans(), st.booleans()),
        min_size=1,
        max_size=16,
    ),
    count=st.integers(1, 2),
    most=st.integers(1, 6),
    tokens=st.integers(3 * BLOCK, 12 * BLOCK),
    victims=st.sampled_from(sorted(VICTIMS)),
)
def test_whoever_fits_alone_has_its_answer(calls, count, most, tokens, victims):
    """Once and whole, without any retry; whoever does not has an error of its own."""

    @fleet(count)
    async def scene(found):
        for machine in found.machines:
            machine.suffices, machine.victims = holds(most, tokens), VICTIMS[victims]
        tasks = []
        for number, (blocks, new, left, resumable) in enumerate(calls):
            asked = [number] * blocks * BLOCK
            task = await found.call(asked, new, left=left, resumable=resumable)
            tasks.append((task, asked, new))
        for _ in calls:
            await found.finish()
        for task, asked, new in tasks:
            said, _ = greedy(asked, new)
            error = task.call.error
            assert task.over
            assert task.attempt == 0
            if isinstance(error, StreamInterrupted):
                assert task.call.reads
                assert not task.resumable
                assert task.call.got == said[: len(task.call.got)] != []
            elif error is not None:
                assert error.kind == "memory"
                assert len(asked) + len(said) > tokens
            else:
                assert ends_well(task, asked, new)

    scene()


def short_of_memory(most):
    """The fake LLM fails all that it runs at a step for more than so many calls."""

    def prepare(spy):
        spy.most_at_once = []

        def change(events):
            names = dict.fromkeys([*(one.id for one in events), *spy.handle._engine._running])
            spy.most_at_once.append(len(names))
            if len(names) <= most:
                return events
            failure = Failure("memory", "out of memory")
            return [TokenEvent(name, (), failure=failure) for name in names]

        spy.on_events = change

    return prepare


def answering():
    """A call that takes a second."""
    return plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q")}
        output out: text = %a.decode:text
        """,
        llm={"latency_ms": 1000},
    )


@virtual
async def test_readers_notice_nothing(bench):
    """Through the whole runtime, without any `retry:`: each reads its answer once."""
    bench.prepared.append(short_of_memory(3))
    source = answering()
    questions = [f"q{n}" for n in range(12)]
    heard = await asyncio.gather(*(bench.events(source, q=q) for q in questions))
    for question, events in zip(questions, heard, strict=True):
        deltas = [event.text for _, event in events if isinstance(event, TextDelta)]
        assert "".join(deltas) == result_of(events)["out"] == reply(question)
    at_once = bench.spy("llm").most_at_once
    assert at_once[0] == 12
    assert max(at_once[2:]) <= 3
    assert len(at_once) < 4 * RECOVERY * 12


@virtual
async def test_an_engine_that_raises_for_memory_says_so_of_its_calls(bench):
    """As one that gives failures does: fewer are sent then."""

    def prepare(spy):
        submit, spy.sizes = spy.submit, []

        async def short(requests):
            spy.sizes.append(len(requests))
            if len(spy.handle._engine._running) + len(requests) > 2:
                raise MemoryError("no room")
            await submit(requests)

        spy.submit = short

    bench.prepared.append(prepare)
    source = answering()
    async with bench.runner(source) as runner:
        results = await asyncio.gather(*(runner.run(q=f"q{n}") for n in range(4)))
    assert [result["out"] for result in results] == [reply(f"q{n}") for n in range(4)]
    assert bench.spy("llm").sizes[:2] == [4, 2]


@pytest.mark.parametrize(
    ("error", "kind"),
    [("CUDA out of memory. Tried to allocate 2.00 GiB", "memory"), ("bad shapes", "engine")],
)
def test_transformers_says_what_its_loop_failed_for(error, kind):
    """Its loop tells texts."""
    engine = TransformersLLM({})
    engine._running["a"] = Running(Generate("a", (1,), 4), None)
    output = SimpleNamespace(request_id="a", error=error, is_finished=lambda: True)
    assert engine._event(output).failure == Failure(kind, f"generating failed: {error}")
