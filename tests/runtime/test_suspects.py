"""Items that kill their engine: they are found, fail and are refused; the innocent go on."""

import asyncio

import pytest

from teola.runtime import refused
from teola.runtime.circuit import REST_S, Circuit
from teola.runtime.errors import StateLost
from teola.runtime.limits import Limits
from teola.runtime.refused import REFUSED_S, Refused
from teola.runtime.sent import Sent
from teola.runtime.simulation.clock import pass_time
from teola.runtime.task import Task
from tests.runtime.faulty import Faults, embedding, failed, held, sizes, together
from tests.runtime.llm_desk import PLACE
from tests.runtime.workbench import SEARCH, plan, virtual


@virtual
async def test_an_item_that_kills_fails_and_its_neighbours_do_not(bench):
    """It is tried alone, once; the error says so. No retries are needed, and none are counted."""
    faults = Faults(kills=["poison"]).into(bench)
    async with bench.runner(embedding(latency_ms=1), share=False) as runner:
        one, two, three = await held(runner, ["a", "b"], ["c", "poison"], ["d"])
        assert failed(two, "item", "module 'e' (line 7), e.embed on engine 'emb': it ended the")
        assert "twice" in two.cause
        assert "poison" in two.cause
        assert sizes([one, three]) == [2, 1]
        assert sizes(await together(runner, ["e"])) == [1]
        assert faults.deaths == 2
        assert faults.spies[0].starts == 3


@virtual
async def test_equal_items_are_refused_for_a_while(bench):
    """At once, without the engine; the rest of a query's batch is unharmed."""
    faults = Faults(kills=["poison"]).into(bench)
    async with bench.runner(embedding(latency_ms=1), share=False) as runner:
        await held(runner, ["poison"])
        assert faults.deaths == 2
        one, two = await held(runner, ["a", "poison"], ["b"])
        assert failed(one, "item", "refused for 10 minutes")
        assert sizes([two]) == [1]
        assert faults.deaths == 2
        await pass_time(REFUSED_S)
        assert failed((await together(runner, ["poison"]))[0], "item", "twice")
        assert faults.deaths == 4


@virtual
async def test_few_refusals_are_remembered(bench, monkeypatch):
    """Memory for them is bounded: the oldest are forgotten first."""
    monkeypatch.setattr(refused, "MOST", 3)
    faults = Faults(kills=["poison"]).into(bench)
    async with bench.runner(embedding(latency_ms=1), share=False) as runner:
        for number in range(4):
            await held(runner, [f"poison {number}"])
        (engine,) = bench.pool.engines.values()
        assert len(engine.queues.batches.suspects.refused._until) == 3
        assert faults.deaths == 8
        results = await together(runner, ["poison 3"], ["poison 1"])
        assert all(failed(one, "item", "equal item") for one in results)
        assert faults.deaths == 8


@virtual
async def test_the_same_poison_twice_in_a_batch_kills_twice(bench):
    """Two queries with one poisonous text: what is found out of one counts for the other."""
    faults = Faults(kills=["poison"]).into(bench)
    async with bench.runner(embedding(latency_ms=1), share=False) as runner:
        results = await held(runner, ["poison"], ["poison"], ["a"])
    assert [failed(one, "item") for one in results] == [True, True, False]
    assert faults.deaths == 2


@virtual
async def test_an_engine_that_dies_while_items_are_told_apart(bench):
    """What has not been run again by then goes back to the queue; both culprits are found."""
    faults = Faults(raises=["bad"], kills=["poison"]).into(bench)
    async with bench.runner(embedding(latency_ms=1), share=False) as runner:
        results = await held(runner, ["poison"], ["a"], ["bad"], ["b", "c"], ["d"])
    assert failed(results[0], "item", "twice")
    assert failed(results[2], "item", "ValueError") or failed(results[2], "engine", "ValueError")
    assert sizes([results[1], *results[3:]]) == [1, 2, 1]
    assert faults.deaths == 2


@virtual
async def test_the_rest_of_a_poisonous_query_is_held(bench):
    """Until its suspects are through: however many items would kill, the engine dies twice."""
    faults = Faults(kills=["poison"]).into(bench)
    source = embedding(group=2, latency_ms=1, batch_size=2, replicas=2)
    async with bench.runner(source, share=False) as runner:
        poison = [f"poison {n}" for n in range(50)]
        results = await together(runner, poison, *([f"{n}"] for n in range(9)))
    assert failed(results[0], "item", "twice")
    assert sizes(results[1:]) == [1] * 9
    assert 2 <= faults.deaths <= 3


@virtual
async def test_what_was_held_goes_on(bench):
    """A query that was with an engine when it was killed from outside loses nothing."""
    source = embedding(group=2, latency_ms=100, batch_size=3)
    async with bench.runner(source, share=False) as runner:
        running = asyncio.ensure_future(together(runner, list("abcdefghijk"), ["x"]))
        await pass_time(0.25)
        bench.spies[0].die()
        assert sizes(await running) == [11, 1]


@virtual
async def test_others_are_served_before_a_replica_is_put_at_risk_again(bench):
    """A life begins with an ordinary batch, where one waits; then come the suspects, one by one."""
    bench.pool.policy = "fifo"
    Faults(kills=["poison"]).into(bench)
    async with bench.runner(embedding(latency_ms=1, batch_size=2), share=False) as runner:
        bad = asyncio.ensure_future(together(runner, ["poison", "a"]))
        await pass_time(0.005)
        rest = await together(runner, ["b", "c"], ["d", "e"])
        assert sizes(rest) == [2, 2]
        assert failed((await bad)[0], "item")
    batches = ["".join(call.items) for call in bench.spies[0].calls]
    assert batches == ["poisona", "b", "poison", "cd", "e"]


@virtual
async def test_a_replica_that_dies_of_large_batches_is_given_smaller_ones(bench):
    """Where each item is well alone it was their number: the system kills what takes all memory."""
    faults = Faults(most=3).into(bench)
    source = embedding(latency_ms=1, batch_size=16)
    async with bench.runner(source, share=False) as runner:
        texts = [str(n) for n in range(100)]
        assert sizes(await together(runner, texts, ["a"], ["b"])) == [100, 1, 1]
    assert 3 <= faults.deaths <= 7
    assert 2 * faults.sizes.count(2) + faults.sizes.count(1) >= 50


@virtual
async def test_poison_opens_no_circuit_while_the_engine_works(bench):
    """Deaths that items are to blame for do not count once the engine has done something else."""
    faults = Faults(kills=["poison"]).into(bench)
    async with bench.runner(embedding(latency_ms=1), share=False) as runner:
        for number in range(6):
            one, two = await held(runner, [f"poison {number}"], ["a"])
            assert failed(one, "item", "twice")
            assert sizes([two]) == [1]
    assert faults.deaths == 12


@virtual
async def test_an_engine_that_always_dies_is_given_up(bench):
    """Suspects do not keep it alive: after four deaths in a row whoever waits is told, and no item
    is taken to be at fault any more."""
    faults = Faults(kills=["a"]).into(bench)
    bench.pool.policy = "fifo"  # all of them in one batch
    async with bench.runner(embedding(latency_ms=1), share=False) as runner:
        results = await together(runner, *([f"a{n}"] for n in range(20)))
        assert [failed(one, "item", "twice") for one in results].count(True) == 3
        assert [failed(one, "engine", "died 4 times") for one in results].count(True) == 17
        assert faults.deaths == 4
        faults.kills = []
        await pass_time(2 * REST_S)
        assert sizes(await together(runner, *([f"a{n}"] for n in range(20)))) == [1] * 20


def test_blame_is_forgotten_only_after_work():
    """An engine that does nothing between its deaths is not excused by what it worked on."""
    circuit = Circuit()
    for _ in range(4):
        circuit.died(1.0)
        circuit.blame()
    assert circuit.open
    circuit.worked()
    assert (circuit.deaths, circuit.open) == (0, False)
    circuit.died(1.0)
    circuit.worked()
    assert circuit.deaths == 1
    circuit.excused = True
    circuit.died(1.0)
    assert circuit.deaths == 1
    circuit.died(1.0)
    assert circuit.deaths == 2


@virtual
async def test_other_replicas_work_on_while_one_tries_suspects(bench):
    """One replica at a time is put at risk."""
    faults = Faults(kills=["poison"]).into(bench)
    source = embedding(latency_ms=100, batch_size=4, replicas=2)
    async with bench.runner(source, share=False) as runner:
        bad = asyncio.ensure_future(together(runner, ["poison", "b", "c", "d"]))
        await pass_time(0.005)
        rest = await together(runner, *([f"{n}", f"{n}b"] for n in range(30)))
        assert sizes(rest) == [2] * 30
        assert failed((await bad)[0], "item")
    assert faults.deaths == 2


@virtual
async def test_a_suspect_of_which_nobody_waits_is_not_tried(bench):
    """Its query has been cancelled meanwhile."""
    faults = Faults(kills=["poison"]).into(bench)
    async with bench.runner(embedding(latency_ms=1), share=False) as runner:
        bad = asyncio.ensure_future(runner.run(texts=["poison", "a"]))
        await pass_time(0.1)
        assert faults.deaths == 1
        bad.cancel()
        await pass_time(10)
        assert faults.deaths == 1
        assert sizes(await together(runner, ["b"])) == [1]


@virtual
async def test_a_suspects_clock_stands_still_while_its_engine_starts(bench):
    """As for all that waits for an engine; it starts anew when the engine is back."""

    def slow(spy):
        spy.start_s = 100

    bench.prepared.append(slow)
    Faults(kills=["poison"]).into(bench)
    async with bench.runner(embedding("timeout_s = 1", latency_ms=100), share=False) as runner:
        one, two = await together(runner, ["poison"], ["a"])
    assert failed(one, "item")
    assert sizes([two]) == [1]


@virtual
async def test_what_lived_in_a_store_that_died_is_lost(bench):
    """A suspect whose collection is gone is not tried on empty state."""
    async with bench.runner(plan(SEARCH, store={"latency_ms": 1000}), share=False) as runner:
        chunk = {"id": "1", "document": "d", "text": "one"}
        running = asyncio.ensure_future(runner.run(chunks=[chunk], texts=["one"]))
        await pass_time(1.5)
        bench.spy("store").die()
        with pytest.raises(StateLost, match="restarted"):
            await running
    assert len(bench.spy("store").calls) == 2


@virtual
async def test_what_is_refused_is_forgotten_in_time(bench):
    """After REFUSED_S nothing is left of it, so that nothing is hashed any more; one that is
    refused again stays for so long from then on."""
    found = Refused()
    items = [_part("a"), _part("b")]
    for part in items:
        found.add(part)
    await pass_time(REFUSED_S - 1)
    found.add(items[0])
    assert [found.of(part) for part in items] == [[0], [0]]
    await pass_time(1)
    assert [found.of(part) for part in items] == [[0], []]
    await pass_time(REFUSED_S)
    assert [found.of(part) for part in items] == [[], []]
    assert not found


def _part(text):
    task = Task("embed", (text,), {}, PLACE, Limits(), print, print)
    return Sent(task, (0,), task.generation)
