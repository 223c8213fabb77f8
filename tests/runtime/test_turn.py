"""Turns: actions one after another, and what is handed out together is seen together."""

import asyncio

from teola.runtime.turn import Turn


def test_what_an_action_makes_ready_comes_after_it_without_nesting():
    """A chain of 10,000 actions, each of which makes the next one ready, is no recursion."""
    turn, done = Turn(), []

    def act(number):
        if number < 10_000:
            turn.ready(lambda: act(number + 1))
        done.append(number)

    turn.ready(lambda: act(0))
    assert done == list(range(10_001))


def test_within_a_turn_nothing_is_done_before_its_end():
    """All that is handed out is there when the first action looks at it."""
    turn, there, seen = Turn(), [], []
    with turn:
        for number in range(3):
            there.append(number)
            turn.ready(lambda: seen.append(tuple(there)))
        assert seen == []
    assert seen == [(0, 1, 2)] * 3


def test_an_action_that_hands_something_out_comes_to_its_end_first():
    """Turns within turns are one."""
    turn, done = Turn(), []

    def hand_out():
        with turn:
            turn.ready(lambda: done.append("handed out"))
        turn.ready(lambda: done.append("after"))
        done.append("end")

    turn.ready(hand_out)
    turn.ready(lambda: done.append("later"))
    assert done == ["end", "handed out", "after", "later"]


def test_an_error_in_handing_out_keeps_nothing_back():
    """What was handed out before it is still done, and later actions are done at once."""
    turn, done = Turn(), []
    try:
        with turn:
            turn.ready(lambda: done.append("first"))
            raise ValueError
    except ValueError:
        done.append("raised")
    turn.ready(lambda: done.append("later"))
    assert done == ["first", "raised", "later"]


def test_what_gets_out_of_an_action_is_told_and_stops_no_other():
    """The loop's handler hears of it."""

    async def act():
        told, done, turn = [], [], Turn()
        asyncio.get_running_loop().set_exception_handler(lambda _, found: told.append(found))

        def fail():
            raise ValueError("oh")

        with turn:
            turn.ready(fail)
            turn.ready(lambda: done.append("next"))
        return [str(found["exception"]) for found in told], done

    assert asyncio.run(act()) == (["oh"], ["next"])
