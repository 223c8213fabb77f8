"""Every policy serves every item once, within its budget, and rests only when nothing fits; and
what sets each apart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teola.runtime.errors import Place
from teola.runtime.limits import Limits
from teola.runtime.policies import (
    POLICIES,
    Budget,
    Fifo,
    MaxWait,
    PerInvocation,
    RemainingWork,
    Throughput,
    Topology,
    make_policy,
)
from teola.runtime.policies.remaining_work import WEIGHT
from teola.runtime.rank import Rank
from teola.runtime.task import TOKEN_BYTES, Task

PLACE = Place("w", "m", None, "p", None)


def task(items=1, tokens=1, **rank):
    """A task of texts, each of so many tokens (or of these numbers of tokens)."""
    sizes = [tokens] * items if isinstance(tokens, int) else tokens
    texts = ["x" * (TOKEN_BYTES * size) for size in sizes]
    made = Task("embed", texts, {}, PLACE, Limits(), lambda _: None, lambda _: None)
    made.rank = Rank(**rank)
    return made


def filled(policy, tasks):
    for one in tasks:
        policy.add(one)
    return policy


def served(policy, budget):
    """Every batch as (task, index) pairs, until it rests."""
    batches = []
    while (batch := policy.next_batch(budget)) is not None:
        batches.append([(part.task, index) for part in batch for index in part.indices])
    return batches


def tokens_of(batch):
    """What a batch takes of a budget of tokens."""
    return sum(part.task.size(index) for part in batch for index in part.indices)


tasks = st.lists(
    st.builds(
        task,
        items=st.integers(1, 6),
        tokens=st.integers(1, 20),
        query=st.integers(0, 4),
        arrived_ms=st.integers(0, 100).map(float),
        depth=st.integers(0, 3),
        left_ms=st.integers(0, 1000).map(float),
        path_ms=st.integers(0, 1000).map(float),
    ),
    max_size=12,
)
policies = st.one_of(
    st.sampled_from(sorted(POLICIES)).map(lambda name: POLICIES[name]()),
    st.builds(
        lambda name, seconds: MaxWait(POLICIES[name](), seconds, lambda: 0.0),
        st.sampled_from(sorted({"throughput", "topology", "remaining-work"})),
        st.sampled_from([0.0, 1.0]),
    ),
)


@given(policy=policies, tasks=tasks, items=st.integers(1, 9))
def test_every_item_is_served_once(policy, tasks, items):
    """In batches that are never larger than the budget; then nothing waits."""
    batches = served(filled(policy, tasks), Budget(items))
    assert all(1 <= len(batch) <= items for batch in batches)
    expected = [(one, index) for one in tasks for index in range(len(one.items))]
    found = [pair for batch in batches for pair in batch]
    assert len(found) == len(expected)
    assert set(found) == set(expected)
    assert not policy
    assert list(policy) == []


@given(policy=policies, tasks=tasks, items=st.integers(0, 9), tokens=st.integers(0, 60))
def test_budgets_are_kept(policy, tasks, items, tokens):
    """Items and tokens; and where nothing is taken, what goes next does not fit."""
    batch = filled(policy, tasks).next_batch(Budget(items, tokens)) or []
    assert sum(len(part.indices) for part in batch) <= items
    assert tokens_of(batch) <= tokens
    if not batch and tasks and items:
        first = policy.first()
        assert first.size(first.todo[0]) > tokens


@given(
    policy=policies,
    sizes=st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=6), max_size=8),
    items=st.integers(1, 9),
    tokens=st.integers(1, 30),
)
def test_an_item_over_the_budget_goes_alone(policy, sizes, items, tokens):
    """Where such may go at all: no other batch is over the budget, every item is served once, and
    a policy that joins tasks ends a batch only with what does not fit any more."""
    tasks = [task(len(some), some, query=number) for number, some in enumerate(sizes)]
    filled(policy, tasks)
    found = []
    while (batch := policy.next_batch(Budget(items, tokens, lone=True))) is not None:
        pairs = [(part.task, index) for part in batch for index in part.indices]
        assert len(pairs) <= items
        assert tokens_of(batch) <= tokens or len(pairs) == 1
        found += pairs
        if type(policy) in (Fifo, RemainingWork) and len(pairs) < items and policy:
            first = policy.first()
            assert tokens_of(batch) + first.size(first.todo[0]) > tokens
    assert len(found) == sum(map(len, sizes))
    assert len(set(found)) == len(found)


@given(policy=policies, tasks=tasks, items=st.integers(1, 9))
def test_a_batch_is_full_while_there_is_work(policy, tasks, items):
    """But for per-invocation, which never joins tasks."""
    sizes = [len(batch) for batch in served(filled(policy, tasks), Budget(items))]
    if not isinstance(policy, PerInvocation):
        assert all(size == items for size in sizes[:-1])


@given(name=st.sampled_from(sorted(POLICIES)), tasks=tasks, items=st.integers(1, 9), data=st.data())
def test_the_same_tasks_are_served_alike(name, tasks, items, data):
    """Whatever was cancelled meanwhile: a policy is a function of what has come."""
    orders = []
    gone = data.draw(st.sets(st.sampled_from(range(len(tasks)))) if tasks else st.just(set()))
    for number in gone:
        tasks[number].cancel()
    for _ in range(2):
        batches = served(filled(POLICIES[name](), tasks), Budget(items))
        orders.append([[(tasks.index(one), index) for one, index in batch] for batch in batches])
        for one in (one for n, one in enumerate(tasks) if n not in gone):
            one.reset()
    assert orders[0] == orders[1]
    assert not {number for batch in orders[0] for number, _ in batch} & gone


@given(policy=policies, tasks=tasks)
def test_what_is_put_back_goes_first(policy, tasks):
    """A call whose prefix is there now overtakes what has not been looked at."""
    filled(policy, [one for one in tasks if len(one.items) == 1])
    batch = policy.next_batch(Budget(4)) or []
    for part in reversed(batch):
        part.task.todo = (*part.indices, *part.task.todo)
        policy.put_back(part.task)
    again = policy.next_batch(Budget(1))
    assert [part.task for part in again or []] == [part.task for part in batch[:1]]


@given(policy=policies, tasks=tasks)
def test_all_tasks_are_given_back_when_it_is_cleared(policy, tasks):
    """None is lost, none is doubled."""
    assert sorted(map(id, filled(policy, tasks).clear())) == sorted(map(id, tasks))
    assert len(policy) == len(list(policy)) == 0
    assert policy.next_batch(Budget(9)) is None


@given(policy=policies, tasks=tasks, items=st.integers(1, 9))
def test_the_length_counts_the_tasks_that_wait(policy, tasks, items):
    """Those that were cancelled may be among them, until they are passed over."""
    filled(policy, tasks)
    assert len(policy) == len(list(policy)) == len(tasks)
    for task in tasks[::3]:
        task.cancel()
    while policy.next_batch(Budget(items)):
        assert len(list(policy)) <= len(policy) <= len(tasks)
    assert policy.first() is None
    assert len(policy) == 0


def test_the_example_of_the_paper():
    """Two queries, an engine of batch size 2: the deepest of each first, not both of the first."""
    tasks = [task(query=0, depth=1), task(query=0, depth=3), task(query=1, depth=3)]
    first, second = served(filled(Topology(), tasks), Budget(2))
    assert [one for one, _ in first] == [tasks[1], tasks[2]]
    assert [one for one, _ in second] == [tasks[0]]


def test_queries_are_visited_by_their_earliest_pending_task():
    """The order changes when a query's earliest task is served."""
    early, late = task(query=0, depth=2), task(query=0, depth=1)
    other = task(query=1, depth=1)
    policy = filled(Topology(), [early, other, late])
    assert [[one for one, _ in batch] for batch in served(policy, Budget(1))] == [
        [early],
        [other],
        [late],
    ]


def test_per_invocation_never_joins():
    """One task a batch, however much room there is."""
    tasks = [task(items=2), task(items=1)]
    assert [len(batch) for batch in served(filled(PerInvocation(), tasks), Budget(8))] == [2, 1]


def test_throughput_passes_over_what_does_not_fit_yet():
    """The fullest batch; fifo waits for the first."""
    for policy, expected in ((Throughput(), 1), (Fifo(), 0)):
        tasks = [task(tokens=100), task(tokens=1)]
        batch = filled(policy, tasks).next_batch(Budget(8, 50)) or []
        assert len(batch) == expected


def test_throughput_does_not_pass_over_for_ever():
    """After PATIENCE times the task is waited for."""
    policy = filled(Throughput(), [task(tokens=100)])
    for _ in range(Throughput.PATIENCE):
        policy.add(task(tokens=1))
        assert policy.next_batch(Budget(8, 50))
    policy.add(task(tokens=1))
    assert policy.next_batch(Budget(8, 50)) is None
    assert len(policy.next_batch(Budget(8, 200))) == 2


@given(
    queries=st.lists(
        st.tuples(
            st.integers(0, 1000), st.integers(1, 6), st.integers(0, 200), st.integers(0, 900)
        ),
        min_size=1,
        max_size=12,
    ),
    weight=st.sampled_from([WEIGHT, 0.5, 1.0, 2.0]),
    budgets=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    knee=st.integers(0, 3),
)
def test_remaining_work_waits_for_a_bounded_time(queries, weight, budgets, knee):
    """While queries come and batches are taken, a query is overtaken only by those that arrived
    less than ``left / weight`` after it, however wrong the estimate of what is left."""
    policy, tasks = RemainingWork(weight), []
    for number, (arrived, items, item_ms, left_ms) in enumerate(sorted(queries)):
        left = {"left_ms": float(left_ms), "item_ms": float(item_ms), "knee": knee}
        tasks.append(task(items, query=number, arrived_ms=float(arrived), **left))
        policy.add(tasks[-1])
        batch = policy.next_batch(Budget(budgets[number % len(budgets)])) or []
        served = [part.task for part in batch]
        for one in (one for one in tasks if one.todo and one not in served):
            done = len(one.items) - len(one.todo)
            bound = max(0.0, one.rank.left_ms - one.rank.item_ms * done) / weight
            for other in served:
                assert other.rank.arrived_ms - one.rank.arrived_ms <= bound + 1 / weight


coming = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.lists(st.integers(1, 12), min_size=1, max_size=4),
        st.integers(0, 3),
        st.tuples(st.integers(0, 4), st.sampled_from([None, 2, 5, 9, 12])),
    ),
    min_size=5,
    max_size=25,
)
"""Tasks as (query, tokens of the items, depth), and what the engine can take after each of them."""


def story(policy, steps):
    """While tasks come and batches are taken: those that waited before each batch, in order of
    arrival, and the items that it took of each."""
    arrived = []
    for query, sizes, depth, (items, tokens) in steps:
        arrived.append(task(len(sizes), sizes, query=query, depth=depth))
        policy.add(arrived[-1])
        waiting = [one for one in arrived if one.todo]
        taken = dict.fromkeys(arrived, 0)
        for part in policy.next_batch(Budget(items, tokens)) or []:
            taken[part.task] += len(part.indices)
        yield waiting, taken


@given(policy=st.sampled_from([Fifo, PerInvocation]), steps=coming)
def test_in_order_of_arrival_nothing_waits_behind_what_came_later(policy, steps):
    """Whoever is given something has nobody before it who is left with something."""
    for waiting, taken in story(policy(), steps):
        last = max((n for n, one in enumerate(waiting) if taken[one]), default=0)
        assert not any(one.todo for one in waiting[:last])


@settings(max_examples=300)
@given(steps=coming, patience=st.integers(0, 1), lookahead=st.integers(1, 4))
def test_throughput_passes_over_so_often_and_no_more(steps, patience, lookahead):
    """A task is left out of at most PATIENCE batches with something that came later, before it is
    given something itself."""

    class Impatient(Throughput):
        PATIENCE, LOOKAHEAD = patience, lookahead

    passed = {}
    for waiting, taken in story(Impatient(), steps):
        last = max((n for n, one in enumerate(waiting) if taken[one]), default=0)
        for number, one in enumerate(waiting):
            passed[one] = 0 if taken[one] else passed.get(one, 0) + (number < last)
            assert passed[one] <= patience


@given(steps=coming)
def test_topology_passes_over_a_query_only_for_those_with_an_older_task(steps):
    """A batch without anything of a query is all of queries of which a task waits that is older
    than all of its own: what comes later comes before it only if it is of one of these."""
    for waiting, taken in story(Topology(), steps):
        earliest = {}
        for number, one in enumerate(waiting):
            earliest.setdefault(one.rank.query, number)
        served = {one.rank.query for one, items in taken.items() if items}
        for query in set(earliest) - served:
            assert all(earliest[other] < earliest[query] for other in served)


@given(steps=coming)
def test_topology_takes_a_query_from_its_deepest_tasks_on(steps):
    """Within a query a task waits only behind those that are as deep or deeper."""
    for waiting, taken in story(Topology(), steps):
        for one in (one for one in waiting if taken[one]):
            mine = [other for other in waiting if other.rank.query == one.rank.query]
            assert not any(other.todo and other.rank.depth > one.rank.depth for other in mine)


@given(
    name=st.sampled_from(["throughput", "topology", "remaining-work"]),
    steps=st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(0, 500), st.integers(0, 4)),
        max_size=20,
    ),
    seconds=st.sampled_from([0, 1, 2, 5]),
)
def test_what_has_waited_too_long_goes_first(name, steps, seconds):
    """While tasks come and batches are taken, a second each: nothing is taken while something older
    waits that was queued ``max_wait_s`` ago."""
    now = 0.0
    policy, tasks = MaxWait(POLICIES[name](), seconds, lambda: now), []
    for query, items, left_ms, budget in steps:
        now += 1
        tasks.append(task(items, query=query, left_ms=float(left_ms), depth=left_ms % 3))
        tasks[-1].queued_s = now
        policy.add(tasks[-1])
        batch = policy.next_batch(Budget(budget)) or []
        late = [one for one in tasks if one.todo and now - one.queued_s >= seconds]
        for part in batch if late else ():
            assert part.task.queued_s <= late[0].queued_s


def test_what_is_late_and_does_not_fit_is_waited_for():
    """Nothing overtakes it then."""
    policy = MaxWait(Throughput(), 5.0, lambda: 5.0)
    filled(policy, [task(tokens=100), task(tokens=1)])
    assert policy.next_batch(Budget(8, 50)) is None
    assert len(policy.next_batch(Budget(8, 200))) == 2


@pytest.mark.parametrize(("name", "bounded"), [("fifo", False), ("remaining-work", True)])
def test_the_order_of_arrival_needs_no_bound(name, bounded):
    """What has waited longest goes next there anyway; and without a bound there is none."""
    assert isinstance(make_policy(name, 1.0, lambda: 0.0), MaxWait) is bounded
    assert isinstance(make_policy(name, None, lambda: 0.0), POLICIES[name])


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 1), ("abcd", 1), ("abcde", 2), ("\u4e16\u754c", 2), ("\ud800", 1)]
)
def test_four_bytes_of_text_are_a_token(text, tokens):
    """Of UTF-8: where a character is a token of its own, it has about as many bytes."""
    made = Task("embed", [text], {}, PLACE, Limits(), lambda _: None, lambda _: None)
    assert made.size(0) == tokens


def test_remaining_work_ends_what_it_has_begun():
    """Each batch brings a query nearer to the front. One that needs a little less than another did
    at first comes too late when half of that is done."""
    first = task(4, query=0, left_ms=400.0, item_ms=100.0)
    policy = filled(RemainingWork(), [first])
    policy.next_batch(Budget(2))
    policy.add(task(3, query=1, left_ms=300.0, item_ms=100.0))
    assert [part.task for part in policy.next_batch(Budget(2))] == [first]


@given(
    queries=st.lists(st.integers(1, 20), min_size=1, max_size=8),
    groups=st.integers(1, 5),
    knee=st.integers(1, 12),
    budget=st.integers(1, 16),
)
def test_remaining_work_joins_queries_up_to_the_knee(queries, groups, knee, budget):
    """A larger batch has items of one query only; and what would have fitted was taken."""
    policy = RemainingWork()
    for query, items in enumerate(queries):
        for first in range(0, items, groups):
            policy.add(task(min(groups, items - first), query=query, knee=knee))
    found = 0
    while (batch := policy.next_batch(Budget(budget))) is not None:
        size = sum(len(part.indices) for part in batch)
        found += size
        assert size <= knee or len({part.task.rank.query for part in batch}) == 1
        if size < budget and (first := policy.first()) is not None:
            assert size + len(first.todo) > knee
    assert found == sum(queries)


def test_remaining_work_learns_that_a_query_needs_less():
    """What comes last knows best: all that waits of its query goes by that."""
    long, other = task(query=0, left_ms=400.0), task(query=1, left_ms=300.0)
    policy = filled(RemainingWork(), [long, other])
    assert policy.first() is other
    policy.add(task(query=0, left_ms=200.0))
    assert policy.first() is long


@given(tasks=st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_remaining_work_keeps_one_place_for_a_query(tasks):
    """Decisions take O(log n): equal tasks of a query, and batches, make its order no longer."""
    policy = RemainingWork()
    for query in tasks:
        policy.add(task(2, query=query, left_ms=100.0, item_ms=1.0))
        policy.next_batch(Budget(1))
    assert len(policy._order) <= 2 * len(tasks)


def test_remaining_work_orders_a_query_by_its_longest_path():
    """Ties inside a query: what most waits behind goes first."""
    short, long = task(left_ms=5, path_ms=1), task(left_ms=5, path_ms=3)
    assert [batch[0][0] for batch in served(filled(RemainingWork(), [short, long]), Budget(1))] == [
        long,
        short,
    ]


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_says_its_name(name):
    """The name that it is chosen by."""
    assert POLICIES[name].name == name
