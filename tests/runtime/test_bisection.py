"""Bisection: the items that an engine raises for are found, in few runs, and no others fail."""

from math import ceil, log2

from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.bisection import FRUITLESS, Bisection
from teola.runtime.errors import Place
from teola.runtime.limits import Limits
from teola.runtime.policies import Fifo
from teola.runtime.policies.base import Budget, Room
from teola.runtime.sent import Sent, count
from teola.runtime.task import Task

PLACE = Place("w", "m", 1, "m.embed", "emb")


class Asked:
    """A task and what became of it."""

    def __init__(self, items):
        self.results = self.error = None
        self.task = Task("embed", items, {}, PLACE, Limits(), self.done, self.failed)

    def done(self, results):
        assert self.results is None
        self.results = results

    def failed(self, error):
        assert self.error is None
        self.error = error

    def sent(self):
        part = Room(Budget(len(self.task.items))).take(self.task)
        return Sent.of(part)


def bisect(asked):
    """Run a batch on an engine that raises for a true item; how many runs it took after that."""
    batch, runs = [one.sent() for one in asked], 0
    search = Bisection(batch, ValueError("true"))
    while (part := search.next()) is not None:
        runs += 1
        items = [item for one in part for item in one.request.items]
        if any(items):
            search.ran(part, ValueError("true"))
        else:
            for one in part:
                one.deliver([f"result {index}" for index in one.indices])
            search.ran(part, None)
    search.end(Fifo())
    assert count(batch) == sum(len(one.task.items) for one in asked)
    return runs


tasks = st.lists(st.lists(st.sampled_from([False] * 5 + [True]), min_size=1, max_size=20))
few = tasks.filter(lambda found: 1 <= len(found) <= 8 and any(map(any, found)))


@given(few)
def test_exactly_the_tasks_that_raise_fail(found):
    """Among up to eight tasks: each ends, well if it is well; the runs grow with the log of n."""
    asked = [Asked(items) for items in found]
    runs = bisect(asked)
    for one in asked:
        assert one.task.over
        assert one.task.running == 0 or any(one.task.items)
        assert (one.error is not None) == any(one.task.items)
        assert one.error or one.results == [f"result {n}" for n in range(len(one.task.items))]
    bad = sum(map(any, found))
    items = sum(map(len, found))
    assert runs <= FRUITLESS + 2 * bad * (ceil(log2(items)) + 2)
    if bad < len(found):
        assert {one.error.kind for one in asked if one.error} == {"item"}


@given(st.integers(1, 300), st.integers(1, 300))
def test_a_batch_of_which_all_fails_is_given_up_soon(number, size):
    """The engine is at fault: no task waits until each of its items has been tried."""
    asked = [Asked([True] * size) for _ in range(number)]
    assert bisect(asked) <= FRUITLESS
    assert {one.error.kind for one in asked} == {"engine"}
