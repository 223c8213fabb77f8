"""Engines that order by themselves what waits in them are told the policy's order."""

import pytest

from teola.runtime.limits import Limits
from teola.runtime.llm.task import LLMTask
from teola.runtime.policies import POLICIES, MaxWait, RemainingWork
from teola.runtime.policies.remaining_work import WEIGHT
from teola.runtime.rank import Rank
from tests.runtime.llm_desk import KEEPS, PLACE, Caller, prompt
from tests.runtime.test_warm_ups import desk

HALF = ("A", KEEPS.kv_tokens // 16 // 2 + 1)
"""More than half of the engine's KV."""


async def call(desk, rank):
    task = LLMTask(prompt(("A", 1)), 4, False, PLACE, Limits(), Caller())
    task.rank = rank
    desk.scheduler.submit(task)
    await desk.turn()


@desk(priority=True)
async def test_a_call_carries_the_work_left_of_its_query_and_its_arrival(desk):
    """In whole milliseconds, as the policy orders them."""
    desk.scheduler.queue = RemainingWork()
    await call(desk, Rank(query=1, arrived_ms=1000.0, left_ms=250.4))
    await call(desk, Rank(query=2, arrived_ms=1200.0, left_ms=10.0))
    found = [one.priority for one in desk.sent]
    assert found == [round(250.4 + WEIGHT * 1000), round(10 + WEIGHT * 1200)]
    await desk.answer(0, 1)


@pytest.mark.parametrize("name", sorted(set(POLICIES) - {RemainingWork.name}))
def test_other_policies_give_one_priority(name):
    """Of equals the engine takes first what was sent first: the policy's own order."""
    task = LLMTask(prompt(("A", 1)), 4, False, PLACE, Limits(), Caller())
    assert POLICIES[name]().priority(task) == 0


@desk(priority=True)
async def test_a_warm_up_stands_behind_every_call(desk):
    """Whatever comes later, and however much work it is."""
    owner = await desk.warm(prompt(("A", 5)))
    (warm_up,) = desk.sent
    assert warm_up.priority > 1e15
    await desk.answer(0)
    await desk.leave(owner)


@desk(priority=True, shares_in_flight=True, max_requests=4)
async def test_an_engine_that_orders_itself_gets_more_than_runs(desk):
    """One call in eight ahead, whatever they may take of its KV; the others wait here."""
    for _ in range(7):
        await desk.call(prompt(HALF))
    assert len(desk.sent) == 5
    await desk.answer(0)
    assert len(desk.sent) == 6
    await desk.answer(1, 2, 3, 4, 5)
    await desk.answer(6)


@desk(shares_in_flight=True, max_requests=4)
async def test_any_other_engine_gets_what_it_can_run_now(desk):
    """What is more waits here, in the policy's order."""
    for _ in range(3):
        await desk.call(prompt(HALF))
    assert len(desk.sent) == 1
    for number in range(3):
        await desk.answer(number)


@desk(priority=True, shares_in_flight=True)
async def test_a_warm_up_is_held_to_our_account_all_the_same(desk):
    """It is sent only where its KV is free: what runs could have to give way."""
    await desk.call(prompt(HALF))
    await desk.call(prompt(HALF))
    await desk.answer(0, 1, end=False)
    owner = await desk.warm(prompt(("W", 5)))
    assert desk.marks == "AA"
    await desk.answer(0)
    assert desk.marks == "AAw"
    await desk.answer(1, 2)
    await desk.leave(owner)


def test_what_has_waited_for_too_long_goes_before_all():
    """In the engine as in the queue before it."""
    task = LLMTask(prompt(("A", 1)), 4, False, PLACE, Limits(), Caller())
    task.rank, task.queued_s = Rank(left_ms=20.0), 100.0
    assert MaxWait(RemainingWork(), 5, lambda: 104.9).priority(task) == 20
    assert MaxWait(RemainingWork(), 5, lambda: 105.0).priority(task) < -1e15
