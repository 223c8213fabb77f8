"""What a decision takes does not grow with what waits: counted in calls of functions, not timed."""

import sys
from contextlib import contextmanager

import pytest

from teola.runtime.errors import Place
from teola.runtime.limits import Limits
from teola.runtime.llm.task import LLMTask
from teola.runtime.policies import POLICIES, Budget
from teola.runtime.rank import Rank
from teola.runtime.simulation.clock import run_virtually
from teola.runtime.task import Task
from tests.runtime.llm_desk import Caller, Desk, Owner, prompt

FEW, MANY = 50, 5000
DECISIONS, BATCH = 40, 4
MORE = 1.1
"""The heaps' own steps are calls of one C function, however deep they go."""
PLACE = Place("w", "m", 1, "m.embed", "emb")


@contextmanager
def counted():
    """The calls of Python's and of C's functions meanwhile."""
    calls = [0]

    def seen(_frame, event, _argument):
        calls[0] += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def ranked(task, number):
    """One a query, in every stage of one."""
    stage = number * 7919 % 13
    task.rank = Rank(number, float(number), stage, 1000.0 * stage, 100.0 * stage)
    return task


def of_items(number):
    return ranked(Task("embed", ("x",), {}, PLACE, Limits(), print, print), number)


def taking(policy, waiting):
    """The calls to take a task and queue another, where so many wait."""
    for number in range(waiting):
        policy.add(of_items(number))
    coming = [of_items(waiting + number) for number in range(DECISIONS * BATCH)]
    taken = 0
    with counted() as calls:
        for _ in range(DECISIONS):
            for _ in policy.next_batch(Budget(BATCH)):
                policy.add(coming[taken])
                taken += 1
    return calls[0] / taken


@pytest.mark.parametrize("policy", POLICIES.values(), ids=list(POLICIES))
def test_a_policy_decides_among_many_as_among_few(policy):
    """A hundred times as many wait."""
    assert taking(policy(), MANY) <= MORE * taking(policy(), FEW)


async def sending(waiting, warm_ups=0):
    """The calls from an answer to the next request, where so many calls, or warm-ups, wait."""
    desk = Desk()
    for number in range(waiting):
        tokens = prompt(("A", 1), (chr(66 + number % 20), 1 + number % 7))
        task = LLMTask([*tokens, number], 64, False, PLACE, Limits(), Caller())
        desk.scheduler.submit(ranked(task, number))
    await desk.turn()
    for number in range(warm_ups):
        desk.scheduler.warm(Owner(), prompt((chr(100 + number), 4)), 1)
    await desk.turn()
    with counted() as calls:
        for _ in range(DECISIONS):
            await desk.answer(*range(len(desk.sent))[-1:])
    return calls[0] / DECISIONS


@pytest.mark.parametrize("kind", ["calls", "warm-ups"])
def test_an_llm_is_offered_the_next_call_as_quickly_among_many(kind):
    """Calls that begin alike among them; and warm-ups that wait beside the calls."""
    few, many = (
        run_virtually(sending(n) if kind == "calls" else sending(FEW, n)) for n in (FEW, MANY // 5)
    )
    assert many <= MORE * few, (few, many)
