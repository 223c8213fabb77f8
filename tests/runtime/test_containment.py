"""Neighbours are safe: items that raise or take all memory harm their own task only."""

from dataclasses import replace

import pytest

from teola.compiler.graph.operations import OPERATIONS
from teola.runtime.batch_worker import FULL_S
from teola.runtime.engines.protocol import Failure
from teola.runtime.errors import TaskTimeout
from teola.runtime.item_budget import RECOVERY, ItemBudget
from teola.runtime.simulation.clock import pass_time
from tests.runtime.faulty import Faults, embedding, failed, held, sizes, together
from tests.runtime.workbench import now, virtual


@virtual
async def test_an_item_that_raises_fails_alone(bench):
    """The neighbours in its batch have their results; the error says which item it was."""
    faults = Faults(raises=["bad"]).into(bench)
    async with bench.runner(embedding(latency_ms=1), share=False) as runner:
        one, two, three = await held(runner, ["a", "b"], ["c", "bad", "d"], ["e"])
    assert sizes([one, three]) == [2, 1]
    assert failed(two, "item", "module 'e' (line 7), e.embed on engine 'emb': ValueError: cannot")
    assert "'bad'" in str(two)
    assert len(faults.sizes) <= 2 + 6 * 2


@virtual
async def test_several_items_of_one_batch_raise(bench):
    """Each is found; runs grow with the log of the batch."""
    faults = Faults(raises=["bad"]).into(bench)
    queries = [["bad" if n in (3, 17) else "a"] for n in range(32)]
    async with bench.runner(embedding(latency_ms=1), share=False) as runner:
        results = await held(runner, *queries)
    assert [n for n, size in enumerate(sizes(results)) if size is None] == [3, 17]
    assert len(faults.sizes) <= 2 + 2 * 2 * 5


@pytest.mark.parametrize(("count", "runs"), [(1, 2), (2, 4), (8, 16), (32, 18)])
@virtual
async def test_an_engine_that_is_broken_is_not_asked_for_every_item(bench, count, runs):
    """Where everything raises the engine is at fault: `engine`, after few runs."""
    faults = Faults(raises=["a"]).into(bench)
    bench.pool.policy = "fifo"  # whose batches are as large as can be
    async with bench.runner(embedding(latency_ms=1), share=False) as runner:
        results = await held(runner, *(["a"] for _ in range(count)))
    assert all(failed(result, "engine") for result in results)
    assert len(faults.sizes) == runs


@virtual
async def test_one_that_is_well_is_found_beside_many_that_are_not(bench):
    """A query all of whose items raise harms no other in its batch, however many they are."""
    Faults(raises=["bad"]).into(bench)
    bench.pool.policy = "fifo"  # which lets a large batch be of two queries
    async with bench.runner(embedding(latency_ms=1), share=False) as runner:
        one, two = await held(runner, [f"bad {n}" for n in range(31)], ["a"])
    assert failed(one, "item")
    assert sizes([two]) == [1]


@virtual
async def test_an_item_that_raised_is_not_tried_again_unless_retry_says_so(bench):
    """It is `item` beside others that are well, `engine` if nothing is known of the engine."""
    faults = Faults(raises=["bad"]).into(bench)
    retry = 'retry = {"max": 1, "initial_s": 5}'
    async with bench.runner(embedding(retry, latency_ms=1), share=False) as runner:
        began = now()
        (alone,) = await together(runner, ["bad"])
        assert failed(alone, "engine", "after 2 attempts")
        assert now() - began == pytest.approx(5)
        began = now()
        beside = await held(runner, ["bad"], ["a"])
        assert failed(beside[0], "item")
        assert now() - began < 1
    assert faults.sizes.count(2) == 1


@virtual
async def test_an_engine_that_recovers_has_no_error(bench):
    """What raised once and not again is no error at all."""
    calls = []

    def change(spy):
        async def before(batch):
            calls.append(batch)
            if len(calls) == 1:
                raise RuntimeError("a hiccup")

        spy.before_run = before

    bench.prepared.append(change)
    result = await bench.run(embedding(), texts=list("abcd"))
    assert len(result["vectors"]) == 4
    assert len(calls) == 3


@virtual
async def test_what_must_not_be_done_twice_is_not(bench, monkeypatch):
    """An operation that is neither pure nor idempotent fails with its batch."""
    row = replace(OPERATIONS["embed"], pure=False, idempotent=False)
    monkeypatch.setitem(OPERATIONS, "embed", row)
    faults = Faults(raises=["bad"], kills=["worse"]).into(bench)
    async with bench.runner(embedding(latency_ms=1), share=False) as runner:
        assert all(failed(one, "engine") for one in await held(runner, ["a"], ["bad"]))
        assert all(failed(one, "died") for one in await held(runner, ["a"], ["worse"]))
    assert faults.sizes == [1, 2, 1, 2]


@pytest.mark.parametrize("group", [None, 1, 2])
@virtual
async def test_the_first_lasting_error_ends_a_module(bench, group):
    """What has not been sent is not sent any more, be it of the same group or of another."""
    source = embedding(group=group, latency_ms=1000, batch_size=1, fail_items=["bad"])
    async with bench.runner(source, share=False) as runner:
        (result,) = await together(runner, ["a", "bad", "b", "c", "d"])
        assert failed(result, "item")
        assert now() == 2
        await pass_time(10)
    assert bench.spies[0].items("embed") == ["a", "bad"]


@virtual
async def test_the_error_of_a_module_is_its_first_lasting_one(bench):
    """Not one that would have been tried again, nor one that came later."""

    def change(spy):
        async def before(batch):
            kinds = {"again": "engine", "one": "item", "two": "item"}
            return [[Failure(kinds[text], text) for text in part.items] for part in batch]

        spy.before_run = before

    bench.prepared.append(change)
    async with bench.runner(embedding('retry = {"max": 1, "initial_s": 1}')) as runner:
        (result,) = await together(runner, ["again", "one", "two"])
    assert failed(result, "item", ": one")


@virtual
async def test_an_error_that_is_tried_again_is_not_lasting(bench):
    """The other items go on, and only what failed is sent once more; then it lasts."""
    retry = 'retry = {"max": 1, "initial_s": 1, "on": ["item"]}'
    source = embedding(retry, latency_ms=1000, batch_size=1, fail_items=["bad"])
    async with bench.runner(source, share=False) as runner:
        (result,) = await together(runner, ["a", "bad", "b"])
        assert failed(result, "item", "after 2 attempts")
    assert bench.spies[0].items("embed") == ["a", "bad", "b", "bad"]


@virtual
async def test_a_batch_that_is_too_large_is_made_smaller(bench):
    """Everything is done in the end, in batches that there is memory for."""
    faults = Faults(memory=3).into(bench)
    async with bench.runner(embedding(latency_ms=1, batch_size=16), share=False) as runner:
        results = await held(runner, *(list("abcd") for _ in range(4)))
    assert sizes(results) == [4] * 4
    assert faults.sizes[:4] == [1, 16, 8, 4]
    assert set(faults.sizes[4:]) <= {2, 4}
    assert faults.sizes.count(4) <= 3


@virtual
async def test_a_replica_that_was_too_small_grows_again(bench):
    """Batches are full again some time after there was no memory for a while."""
    faults = Faults(memory=3).into(bench)
    async with bench.runner(embedding(latency_ms=1, batch_size=16), share=False) as runner:
        await held(runner, *(list("abcd") for _ in range(4)))
        faults.memory = None
        results = await held(runner, *([str(n) for n in range(50)] for _ in range(4)))
    assert sizes(results) == [50] * 4
    assert faults.sizes.count(16) > 4


@virtual
async def test_an_item_that_is_too_large_alone_fails(bench):
    """As `memory`; the others have their results, and the error names the module."""

    def change(spy):
        async def before(batch):
            if sum(99 if item == "huge" else 1 for part in batch for item in part.items) > 10:
                raise MemoryError

        spy.before_run = before

    bench.prepared.append(change)
    async with bench.runner(embedding(latency_ms=1), share=False) as runner:
        one, two = await held(runner, list("abcde"), ["huge", "a"])
    assert sizes([one]) == [5]
    assert failed(two, "memory", "module 'e'")


@virtual
async def test_an_item_that_is_too_large_alone_makes_no_later_batch_smaller(bench):
    """The batches were halved down to it, because of it: they are as large as before after that."""
    seen = []

    def change(spy):
        async def before(batch):
            items = [item for part in batch for item in part.items]
            seen.append(len(items))
            if "huge" in items:
                raise MemoryError

        spy.before_run = before

    bench.prepared.append(change)
    async with bench.runner(embedding(latency_ms=1, batch_size=16), share=False) as runner:
        one, two = await held(runner, list("abcdefg"), ["x", "y", "huge", "z"])
        assert sizes([one]) == [7]
        assert failed(two, "memory", "module 'e'")
        seen.clear()
        await together(runner, [str(n) for n in range(48)])
    assert seen == [16] * 3


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("no"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate me"
            "mory: you tried to allocate 9 bytes"
        ),
        OSError(12, "Cannot allocate memory"),
    ],
)
@virtual
async def test_memory_errors_are_known_by_what_they_say(bench, error):
    """Libraries have classes of their own for them, and hosts turn those into texts."""
    faults = Faults(raises=["a"], error=lambda _: error).into(bench)
    async with bench.runner(embedding()) as runner:
        (result,) = await together(runner, ["a"])
    assert failed(result, "memory")
    assert len(faults.sizes) == 1


def test_a_budget_recovers_slowly():
    """It doubles after RECOVERY full batches, up to what the engine said; after more of them where
    that was too soon."""
    budget = ItemBudget(16)
    budget.halve(16)
    budget.halve(5)
    assert budget.items == 2
    budget.halve(2)
    budget.halve(1)
    assert budget.items == 1
    seen = []
    for _ in range(5 * RECOVERY):
        budget.done(budget.items)
        seen.append(budget.items)
    assert seen == [1, 1, 1, *[2] * 4, *[4] * 4, *[8] * 4, *[16] * 5]
    budget.halve(16)
    for _ in range(100):
        budget.done(7)
    assert budget.items == 8
    for _ in range(2 * RECOVERY - 1):
        budget.done(8)
    assert budget.items == 8
    budget.done(8)
    assert budget.items == 16


def test_a_budget_is_as_before_once_one_item_is_to_blame():
    """What was found out by growing again is kept."""
    budget = ItemBudget(16)
    for items in (16, 8, 4, 2):
        budget.halve(items)
    budget.blame()
    assert budget.items == 16
    for items in (16, 8, 4, 2):
        budget.halve(items)
    for _ in range(RECOVERY):
        budget.done(1)
    assert budget.items == 2
    budget.halve(2)
    budget.blame()
    assert budget.items == 2


@virtual
async def test_a_full_engine_is_no_error(bench):
    """Its items wait and come again, more and more slowly, without any retry."""
    faults = Faults(full=5).into(bench)
    result = await bench.run(embedding(), texts=list("abc"))
    assert len(result["vectors"]) == 3
    assert len(faults.sizes) == 6
    assert now() == pytest.approx(FULL_S * (2**5 - 1))


@virtual
async def test_a_full_replica_leaves_work_to_the_others(bench):
    """What it has no room for is taken by one that has."""

    def change(spy):
        if len(bench.spies) == 0:
            Faults(full=1000)._arrange(spy)

    bench.prepared.append(change)
    source = embedding(latency_ms=1, batch_size=1, replicas=2)
    result = await bench.run(source, texts=list("abcdef"))
    assert len(result["vectors"]) == 6
    assert now() < 1


@virtual
async def test_only_the_clock_bounds_a_full_engine(bench):
    """A task's timeout goes on while it is put back."""
    Faults(full=1000).into(bench)
    async with bench.runner(embedding("timeout_s = 7")) as runner:
        (result,) = await together(runner, ["a"])
    assert isinstance(result, TaskTimeout)
    assert now() == 7
