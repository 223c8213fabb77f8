"""Clocks that share timers ring when timers of their own would."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.clocks import Clocks
from teola.runtime.simulation.clock import BackgroundError, pass_time, run_virtually

LENGTHS = (1, 2, 5)
PEOPLE = st.integers(0, 3)
STARTS = st.tuples(st.just("start"), PEOPLE, st.sampled_from(LENGTHS))
STOPS = st.tuples(st.just("stop"), PEOPLE, st.just(0))
PASSES = st.tuples(st.just("pass"), st.just(0), st.integers(1, 4))


class Shared:
    """One clock for each of some people, as tasks have them: those of one length share a timer."""

    def __init__(self, rang, again):
        self.clocks, self.rang, self.again = Clocks(), rang, again
        self.lines = {}

    def start(self, who, seconds):
        self.stop(who)
        self.lines[who] = self.clocks.start(seconds, self.ring, who)

    def stop(self, who):
        if who in self.lines:
            self.lines.pop(who).leave(who)

    def ring(self, who):
        self.lines.pop(who)
        self.rang.append((asyncio.get_running_loop().time(), who))
        if who in self.again:
            self.again.remove(who)
            self.start(who, LENGTHS[1])


class Alone:
    """The same with a timer each."""

    def __init__(self, rang, again):
        self.rang, self.again = rang, again
        self.timers = {}

    def start(self, who, seconds):
        self.stop(who)
        self.timers[who] = asyncio.get_running_loop().call_later(seconds, self.ring, who)

    def stop(self, who):
        if who in self.timers:
            self.timers.pop(who).cancel()

    def ring(self, who):
        self.timers.pop(who)
        self.rang.append((asyncio.get_running_loop().time(), who))
        if who in self.again:
            self.again.remove(who)
            self.start(who, LENGTHS[1])


async def happens(kind, events, again):
    """What rings, and when, while something happens."""
    rang = []
    one = kind(rang, set(again))
    for what, who, seconds in events:
        if what == "start":
            one.start(who, seconds)
        elif what == "stop":
            one.stop(who)
        else:
            await pass_time(seconds + 0.5)
    await pass_time(20)
    return sorted(rang)


@given(st.lists(STARTS | STOPS | PASSES, max_size=30), st.sets(PEOPLE))
def test_clocks_ring_as_timers_of_their_own_would(events, again):
    """Whatever is started, stopped and started again, and when: some start anew as they ring."""
    found, wanted = (run_virtually(happens(kind, events, again)) for kind in (Shared, Alone))
    assert found == wanted


def test_what_raises_as_it_rings_stops_no_other_clock():
    """The loop is told of it; those behind ring still."""
    rang = []

    def ring(who):
        rang.append(who)
        if who == "bad":
            raise RuntimeError("as it rang")

    async def go():
        clocks = Clocks()
        for who in ("first", "bad", "last"):
            clocks.start(1, ring, who)
        await pass_time(2)

    with pytest.raises(BackgroundError, match="as it rang"):
        run_virtually(go())
    assert rang == ["first", "bad", "last"]


def test_a_line_that_nobody_stands_in_is_let_go():
    """Lengths that occur once leave nothing behind once their time has passed."""

    async def go():
        clocks = Clocks()
        for number in range(100):
            clocks.start(1 + number / 1000, print, number).leave(number)
        await pass_time(2)
        return len(clocks._lines)

    assert run_virtually(go()) == 0
