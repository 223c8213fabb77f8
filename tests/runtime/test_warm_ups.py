"""Warm-ups are the lowest class: they help where they can, and never stand in the way."""

import functools
from dataclasses import replace
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.llm import warm_ups
from teola.runtime.llm.prefixes import Prefixes
from teola.runtime.policies import RemainingWork
from teola.runtime.simulation.clock import pass_time, run_virtually
from tests.runtime.llm_desk import BLOCK, KEEPS, Desk, prompt


def desk(test=None, **capabilities):
    """Run ``async def test(desk)`` under the virtual clock; nothing may be left when it ends."""
    if test is None:
        return functools.partial(desk, **capabilities)

    async def main():
        found = Desk(replace(KEEPS, **capabilities))
        await test(found)
        await found.turn()
        assert found.scheduler.check_integrity() == []

    def run():
        run_virtually(main())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@desk
async def test_a_warm_up_is_sent_where_no_call_waits(desk):
    """Its whole blocks go to the engine, and it ends with one event."""
    owner = await desk.warm([*prompt(("A", 5)), 1, 2, 3])
    assert desk.marks == "a"
    assert desk.sent[0].tokens == prompt(("A", 5))
    assert owner.told == [5 * BLOCK]
    await desk.answer(0)
    assert owner.told == [5 * BLOCK, "ended"]
    await desk.leave(owner)
    assert desk.counts == {"sent": 1, "wasted": 1}


@desk
async def test_calls_go_first(desk):
    """A warm-up waits until no call waits for its first token."""
    await desk.call(prompt(("A", 2)))
    owner = await desk.warm(prompt(("B", 5)))
    assert desk.marks == "A"
    await desk.answer(0, end=False)
    assert desk.marks == "Ab"
    await desk.answer(0, 1)
    await desk.leave(owner)


class NotLookedThrough(RemainingWork):
    """A queue whose calls nobody goes through."""

    def __iter__(self):
        raise AssertionError("somebody looked at every call that waits")


@desk(max_requests=1)
async def test_an_offer_costs_the_same_however_much_waits(desk):
    """Nobody goes through the calls that wait, or through other warm-ups once one is sent."""
    desk.scheduler.queue.__class__ = NotLookedThrough
    calls = [await desk.call(prompt((letter, 2))) for letter in "ABCDEF"]
    owners = [await desk.warm(prompt((letter, 5))) for letter in "GHIJKL"]
    for number in range(len(calls)):
        with mock.patch.object(warm_ups, "worth", wraps=warm_ups.worth) as looked_at:
            await desk.answer(number)
    assert desk.marks == "ABCDEFg"
    assert looked_at.call_count == 1
    desk.scheduler.queue.__class__ = RemainingWork
    for owner in owners:
        await desk.leave(owner)
    await desk.answer(len(calls))


@desk(max_requests=1)
async def test_a_call_does_not_wait_for_a_warm_up_of_others(desk):
    """Where there is room for one request only, the warm-up gives way and is not tried again."""
    owner = await desk.warm(prompt(("A", 5)))
    await desk.call(prompt(("B", 2)))
    assert desk.marks == "aB"
    assert desk.aborted == [desk.sent[0].id]
    await desk.answer(1)
    assert desk.marks == "aB"
    await desk.leave(owner)
    assert desk.counts == {"sent": 1, "wasted": 1}


@desk
async def test_a_queued_one_is_replaced_by_a_longer_one_of_its_prompt(desk):
    """Each newly known part makes one longer warm-up, not another one."""
    await desk.call(prompt(("X", 1)))
    owner = await desk.warm(prompt(("A", 2)))
    await desk.warm(prompt(("A", 2), ("B", 3)), owner)
    await desk.warm(prompt(("C", 2)), owner)
    await desk.answer(0)
    assert [len(one.tokens) // BLOCK for one in desk.sent] == [1, 5]
    await desk.answer(1)
    assert [len(one.tokens) // BLOCK for one in desk.sent] == [1, 5, 2]
    await desk.answer(2)
    await desk.leave(owner)
    assert desk.counts == {"sent": 2, "wasted": 2}


@desk
async def test_a_queued_one_is_dropped_when_the_call_comes(desk):
    """The call computes its prompt itself, whichever of the two comes first."""
    await desk.call(prompt(("X", 1)))
    early = await desk.warm(prompt(("A", 5)))
    await desk.call(prompt(("A", 5), ("B", 1)))
    late = await desk.warm(prompt(("A", 5)))
    await desk.answer(0, 1)
    assert desk.marks == "XA"
    await desk.leave(early)
    await desk.leave(late)
    assert desk.counts == {"dropped": 2}


@desk
async def test_a_call_waits_for_the_warm_up_that_runs(desk):
    """It is sent when its prefix is there; others are not held up."""
    owner = await desk.warm(prompt(("A", 5)))
    await desk.call(prompt(("A", 5), ("B", 1)))
    await desk.call(prompt(("C", 1)))
    assert desk.marks == "aC"
    await desk.answer(0)
    assert desk.marks == "aCA"
    await desk.answer(1, 2)
    await desk.leave(owner)
    assert desk.counts == {"sent": 1, "used": 1}


@desk(shares_in_flight=True)
async def test_an_engine_that_shares_in_flight_gets_the_call_at_once(desk):
    """The warm-up and the call compute the prefix together."""
    owner = await desk.warm(prompt(("A", 5)))
    await desk.call(prompt(("A", 5), ("B", 1)))
    assert desk.marks == "aA"
    await desk.answer(0, 1)
    await desk.leave(owner)


@desk
async def test_one_prefix_is_warmed_once(desk):
    """All who want it share it; it goes on while one of them is left."""
    owners = [await desk.warm(prompt(("A", 5))) for _ in range(3)]
    assert desk.marks == "a"
    await desk.leave(owners[0])
    await desk.leave(owners[1])
    assert desk.aborted == []
    await desk.leave(owners[2])
    assert desk.aborted == [desk.sent[0].id]
    assert desk.counts == {"sent": 1, "wasted": 1}


@desk
async def test_what_is_cached_is_not_warmed_again(desk):
    """Neither what a warm-up, nor what a call has computed; at least `least` tokens are new."""
    await desk.call(prompt(("A", 5)))
    await desk.answer(0)
    owner = await desk.warm(prompt(("A", 5)))
    await desk.warm(prompt(("A", 5), ("B", 3)), owner, least=64)
    assert desk.marks == "A"
    await desk.warm(prompt(("A", 5), ("B", 4)), owner, least=64)
    assert desk.marks == "Aa"
    await desk.answer(1)
    await desk.leave(owner)


@desk
async def test_less_than_a_block_is_nothing(desk):
    """Only whole blocks are cached."""
    await desk.leave(await desk.warm(prompt(("A", 1))[:-1]))
    assert desk.marks == ""


@desk(prefix_cache=False)
async def test_without_a_prefix_cache_nothing_is_sent_or_held(desk):
    """The engine would compute everything again."""
    await desk.leave(await desk.warm(prompt(("A", 5))))
    for _ in range(3):
        await desk.call(prompt(("A", 40)))
    assert desk.marks == "AAA"
    await desk.answer(0, 1, 2)


@desk(kv_tokens=16 * BLOCK)
async def test_a_warm_up_takes_a_quarter_of_the_kv_at_most(desk):
    """What is longer is cut."""
    owner = await desk.warm(prompt(("A", 12)))
    assert len(desk.sent[0].tokens) == 3 * BLOCK
    await desk.answer(0)
    await desk.leave(owner)


@desk
async def test_followers_of_a_long_common_prefix_wait_for_their_leader(desk):
    """256 tokens that are being computed are waited for, fewer are not."""
    common = ("A", 256 // BLOCK)
    for mark in "BCD":
        await desk.call(prompt(common, (mark, 1)))
    await desk.call(prompt(("A", 256 // BLOCK - 1), ("E", 1)))
    assert desk.marks == "AA"
    await desk.answer(0, end=False)
    assert desk.marks == "AAAA"
    await desk.call(prompt(common, ("F", 1)))
    assert desk.marks == "AAAAA"
    await desk.answer(0, 1, 2, 3, 4)


@pytest.mark.parametrize("how", ["fails", "aborted", "times out"])
def test_a_held_call_never_hangs(how):
    """Whatever ends its leader without a token, the next one leads."""

    @desk
    async def scene(desk):
        common = ("A", 40)
        limits = {"timeout_s": 5.0} if how == "times out" else {}
        first = await desk.call(prompt(common, ("B", 1)), **limits)
        await desk.call(prompt(common, ("C", 1)))
        await desk.call(prompt(common, ("D", 1)))
        assert len(desk.sent) == 1
        if how == "fails":
            await desk.answer(0, failure="broken")
        elif how == "aborted":
            first.cancel()
        else:
            await pass_time(6)
        await desk.turn()
        assert len(desk.sent) == 2
        await desk.answer(1)
        assert len(desk.sent) == 3
        await desk.answer(2)

    scene()


@desk
async def test_a_failed_warm_up_lets_the_call_go(desk):
    """It is counted, and not tried again."""
    owner = await desk.warm(prompt(("A", 5)))
    task = await desk.call(prompt(("A", 5), ("B", 1)))
    await desk.answer(0, failure="no memory")
    assert desk.marks == "aA"
    await desk.answer(1)
    assert task.call.error is None
    assert task.call.got == [7]
    await desk.leave(owner)
    assert desk.counts == {"sent": 1, "used": 1, "failed": 1}


@desk
async def test_a_held_call_can_leave(desk):
    """A query cancelled while its call is held, and one whose clock runs out."""
    owner = await desk.warm(prompt(("A", 5)))
    cancelled = await desk.call(prompt(("A", 5), ("B", 1)))
    late = await desk.call(prompt(("A", 5), ("C", 1)), timeout_s=5.0)
    cancelled.cancel()
    await pass_time(6)
    assert "timeout of 5 s" in late.call.error.cause
    await desk.answer(0)
    assert desk.marks == "a"
    await desk.leave(owner)


@desk
async def test_a_held_call_that_is_tried_again_is_sent_once(desk):
    """Its clock runs while it is held; the retry takes its place."""
    owner = await desk.warm(prompt(("A", 5)))
    task = await desk.call(prompt(("A", 5)), timeout_s=5.0, max_retries=1)
    await pass_time(6)
    await desk.answer(0)
    assert desk.marks == "aA"
    await desk.answer(1)
    assert task.call.got == [7]
    await desk.leave(owner)


@pytest.mark.parametrize("back", [True, False])
def test_when_the_engine_dies_nothing_is_lost(back):
    """What is held waits with the others for the engine, or fails with them; its cache is gone."""

    @desk
    async def scene(desk):
        owner = await desk.warm(prompt(("A", 5)))
        held = await desk.call(prompt(("A", 5), ("B", 1)))
        queued = await desk.warm(prompt(("C", 5)))
        desk.scheduler.stop(desk, "gone")
        await desk.turn()
        assert desk.marks == "a"
        if back:
            desk.start()
            await desk.turn()
            assert desk.marks == "aA"
            await desk.answer(1)
            assert held.call.got == [7]
            assert desk.marks == "aAc"
            await desk.answer(2)
        else:
            desk.scheduler.fail("for good")
            assert held.call.error is not None
        await desk.leave(owner)
        await desk.leave(queued)
        assert desk.counts["failed"] == 1

    scene()


@pytest.mark.parametrize("first", ["owner", "call"])
def test_a_warm_up_that_nobody_waits_for_any_more_is_aborted(first):
    """The query ends while its call waits for its warm-up, which gives no sign of life."""

    @desk
    async def scene(desk):
        owner = await desk.warm(prompt(("A", 5)))
        call = await desk.call(prompt(("A", 5), ("B", 1)))
        ends = [lambda: desk.scheduler.leave(owner), call.cancel]
        for end in ends if first == "owner" else reversed(ends):
            assert desk.aborted == []
            end()
            await desk.turn()
        assert desk.aborted == [desk.sent[0].id]
        assert desk.scheduler.check_integrity() == []

    scene()


@desk
async def test_a_broken_engine_takes_no_offers(desk):
    """There is nobody to send them to."""
    desk.scheduler.fail("for good")
    await desk.leave(await desk.warm(prompt(("A", 5))))
    assert desk.marks == ""


steps = st.lists(
    st.tuples(
        st.sampled_from(["call", "warm", "answer", "token", "fail", "leave", "cancel", "die"]),
        st.integers(0, 5),
        st.integers(1, 30),
    ),
    max_size=40,
)


class _Story:
    """Calls, warm-ups, answers, failures and deaths in any order."""

    def __init__(self, desk):
        self.desk, self.tasks, self.owners = desk, [], []

    def running(self):
        sent = enumerate(self.desk.sent)
        return [n for n, one in sent if one.id in self.desk.replica.running]

    async def do(self, kind, number, blocks):
        tokens = prompt(("ABCDEF"[number], blocks), ("Z", 1))
        if kind == "call":
            self.tasks.append(await self.desk.call(tokens, max_retries=99, exponential=False))
        elif kind == "warm":
            known = self.owners[0] if self.owners and number == 0 else None
            self.owners.append(await self.desk.warm(tokens, known))
        elif kind == "die":
            self.desk.scheduler.stop(self.desk, "gone")
            self.desk.start()
        elif kind == "leave" and self.owners:
            self.desk.scheduler.leave(self.owners.pop(number % len(self.owners)))
        elif kind == "cancel" and self.tasks:
            self.tasks.pop(number % len(self.tasks)).cancel()
        elif kind in ("answer", "token", "fail") and (running := self.running()):
            await self.answer(kind, running[number % len(running)])
        await self.desk.turn()

    async def answer(self, kind, number):
        end = kind != "token" or self.desk.sent[number].warm
        await self.desk.answer(number, end=end, failure="x" if kind == "fail" else None)

    async def end(self):
        for owner in self.owners:
            self.desk.scheduler.leave(owner)
        await pass_time(1000)
        while running := self.running():
            await self.desk.answer(*running)


@given(steps=steps, shares=st.booleans(), requests=st.integers(1, 3))
def test_every_call_ends_whatever_happens(steps, shares, requests):
    """All calls are answered, once, and nothing is left."""

    @desk(shares_in_flight=shares, max_requests=requests)
    async def scene(desk):
        story = _Story(desk)
        for step in steps:
            await story.do(*step)
        await story.end()
        assert all(task.over and task.call.error is None for task in story.tasks)

    scene()


@given(
    prompts=st.lists(st.lists(st.integers(0, 1), max_size=12), max_size=8),
    asked=st.lists(st.integers(0, 1), max_size=12),
)
def test_prefixes_know_the_longest_common_one(prompts, asked):
    """Counted in whole blocks."""
    prefixes = Prefixes(3, 10**6)
    for tokens in prompts:
        prefixes.add(prefixes.marks(tokens))
    best = 0
    for tokens in prompts:
        same = 0
        while same + 3 <= min(len(tokens), len(asked)) and tokens[: same + 3] == asked[: same + 3]:
            same += 3
        best = max(best, same // 3)
    assert prefixes.cached(prefixes.marks(asked)) == best


def test_prefixes_forget_the_ends_of_the_oldest_prompts_first():
    """They hold no more than there is room for."""
    prefixes = Prefixes(1, 4)
    old, new = prefixes.marks([1, 2, 3]), prefixes.marks([4, 5, 6])
    prefixes.add(old)
    prefixes.add(new)
    assert (prefixes.cached(old), prefixes.cached(new)) == (1, 3)
