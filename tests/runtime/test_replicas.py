"""Engines with several replicas: who does what, and what a death takes with it."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teola.compiler.engines import identity
from teola.runtime.circuit import MAX_RESTARTS, MOST_REST_S, REST_S, RESTART_DELAY_S, Circuit
from teola.runtime.engines.protocol import TokenEvent
from teola.runtime.errors import ModuleError
from teola.runtime.limits import Limits
from teola.runtime.llm.scheduler import LLMScheduler
from teola.runtime.llm.task import LLMTask
from teola.runtime.policies import RemainingWork
from teola.runtime.simulation.clock import pass_time
from tests.runtime.llm_desk import BLOCK, KEEPS, PLACE, Caller, prompt
from tests.runtime.workbench import SEARCH, call, now, plan, reply, virtual

SECOND = {"latency_ms": 1000}

EMBED = """
    input texts: list<text>
    %e.embed = embed texts=%inputs:texts {engine = emb} @e
    output out: list<embedding> = %e.embed:embeddings
"""

ASK = (
    "input q: text\n"
    + call("ask", "{{ q }}", "q=%inputs:q")
    + "\noutput out: text = %ask.decode:text"
)


def chunks(*texts):
    return [{"id": text, "document": "d", "text": text} for text in texts]


def spies(bench, kind):
    return [spy for spy in bench.spies if spy.kind == kind]


@virtual
async def test_free_replicas_share_what_waits(bench):
    """Two replicas take a batch each at once: four batches take two turns."""
    source = plan(EMBED, emb={**SECOND, "batch_size": 2, "replicas": 2})
    result = await bench.run(source, texts=list("abcdefg"))
    alone = await bench.run(plan(EMBED, emb={"batch_size": 2}), texts=list("abcdefg"))
    assert [tuple(one) for one in result["out"]] == [tuple(one) for one in alone["out"]]
    assert sorted(made.at_s for spy in spies(bench, "embedder")[:2] for made in spy.calls) == [
        0,
        0,
        1,
        1,
    ]


@virtual
async def test_what_makes_one_batch_is_shared_by_idle_replicas(bench):
    """Seven items that one replica could take at once are three batches at the same moment."""
    source = plan(EMBED, emb={"per_item_ms": 1000, "replicas": 3})
    began = now()
    await bench.run(source, texts=list("abcdefg"))
    assert now() - began == 3
    assert sorted(sum(made.sizes) for spy in bench.spies for made in spy.calls) == [2, 2, 3]


@virtual
async def test_calls_go_where_there_is_room(bench):
    """Three replicas that take one call each answer three questions at a time."""
    llm = {**SECOND, "max_requests": 1, "replicas": 3}
    async with bench.runner(plan(ASK, llm=llm)) as runner:
        results = await asyncio.gather(*(runner.run(q=f"q{n}") for n in range(6)))
    assert [result["out"] for result in results] == [reply(f"q{n}") for n in range(6)]
    assert [len(spy.submitted) for spy in bench.spies] == [2, 2, 2]


@virtual
async def test_a_collection_stays_on_one_replica(bench):
    """It is ingested, published, searched and dropped there; others live elsewhere."""
    source = plan(SEARCH, store={**SECOND, "replicas": 2}, emb={})
    async with bench.runner(source, share=False) as runner:
        texts = [[f"{n}{letter}" for letter in "ab"] for n in range(4)]
        results = await asyncio.gather(
            *(runner.run(chunks=chunks(*those), texts=those) for those in texts)
        )
    for those, result in zip(texts, results, strict=True):
        assert [hits[0]["text"] for hits in result["hits"]] == those
    stores = spies(bench, "store")
    assert [Counter(name for name, _ in spy.commands)["publish"] for spy in stores] == [2, 2]
    await bench.settle()
    for spy in stores:
        described = await spy.handle.control("describe", {})
        assert described == {"collections": {}, "pending": []}


@virtual
async def test_a_named_collection_is_found_where_it_was_written(bench):
    """Another query of another plan searches the replica that holds it."""
    body = SEARCH.replace("%i.ingest:collection top_k", '"kb" top_k').replace(
        "{engine = store} @i", "{engine = store} @i\n    effect %i.ingest -> %s.search"
    )
    body = body.replace(
        "embeddings=%i.embed:embeddings {", 'embeddings=%i.embed:embeddings collection="kb" {'
    )
    body = body.replace("{engine = store} @s", "{engine = store, named = true} @s")
    source = plan(body, store={"replicas": 3}, emb={})
    async with bench.runner(source, share=False) as runner:
        for text in "abc":
            result = await runner.run(chunks=chunks(text), texts=[text])
            assert result["hits"][0][0]["text"] == text
    held = [await spy.handle.control("describe", {}) for spy in spies(bench, "store")]
    assert sorted(len(one["collections"]) for one in held) == [0, 0, 1]


@virtual
async def test_a_death_takes_only_what_lived_there(bench):
    """A query whose collection is on another replica goes on."""
    source = plan(SEARCH, store={**SECOND, "replicas": 2}, emb={})
    async with bench.runner(source, share=False) as runner:
        queries = [
            asyncio.ensure_future(runner.run(chunks=chunks(text), texts=[text])) for text in "ab"
        ]
        await pass_time(1.5)
        spies(bench, "store")[0].die()
        lost, kept = await asyncio.gather(*queries, return_exceptions=True)
        assert isinstance(lost, ModuleError)
        assert kept["hits"][0][0]["text"] == "b"
        again = await runner.run(chunks=chunks("c"), texts=["c"])
        assert again["hits"][0][0]["text"] == "c"


@virtual
async def test_the_others_do_the_work_of_one_that_died(bench):
    """What it ran is tried again where there is room; when it is back both work."""
    source = plan(EMBED, emb={**SECOND, "batch_size": 1, "replicas": 2})
    async with bench.runner(source, share=False) as runner:
        queries = [asyncio.ensure_future(runner.run(texts=list(texts))) for texts in ("ab", "cdef")]
        await pass_time(0.25)
        first, second = bench.spies
        first.die()
        assert [len(result["out"]) for result in await asyncio.gather(*queries)] == [2, 4]
        assert [made.at_s for made in second.calls] == [0, 1, 2]
        assert first.starts == 2
        assert [made.at_s for made in first.calls] == [0, 0.75, 1.75, 2.75]


@virtual
async def test_a_second_workflow_may_ask_for_more_replicas(bench):
    """Engines that differ in nothing else are one: it grows, and never shrinks."""
    for count, expected in ((1, 1), (3, 3), (2, 3)):
        source = plan(EMBED, emb={**SECOND, "batch_size": 1, "replicas": count})
        await bench.run(source, share=False, texts=["a"])
        await bench.settle()
        assert len(bench.spies) == expected
    began = now()
    await bench.run(source, share=False, texts=list("abc"))
    assert now() - began == 1


@virtual
async def test_a_replica_that_does_not_start_fails_the_engine(bench):
    """At the first start all must come up: nobody runs with fewer than were asked for."""

    async def refuse():
        raise RuntimeError("no memory left")

    def prepare(spy):
        if len(bench.spies) == 1:
            spy.start = refuse

    bench.prepared.append(prepare)
    with pytest.raises(ModuleError, match="did not start: RuntimeError: no memory left"):
        await bench.run(plan(EMBED, emb={"replicas": 2}), texts=["a"])


@virtual
async def test_an_engine_that_keeps_dying_is_refused_and_tried_again(bench):
    """After MAX_RESTARTS deaths in a row queries fail at once; later it is given another chance."""
    async with bench.runner(plan(EMBED, emb=SECOND), share=False) as runner:
        await runner.run(texts=["a"])
        (spy,) = bench.spies
        for death in range(MAX_RESTARTS):
            spy.die()
            await pass_time(RESTART_DELAY_S * 2**death)
            assert len((await runner.run(texts=["a"]))["out"]) == 1
        spy.die()
        began = now()
        with pytest.raises(ModuleError, match="died 4 times: the plug was pulled"):
            await runner.run(texts=["a"])
        assert now() == began
        await pass_time(REST_S + 1)
        assert len((await runner.run(texts=["a"]))["out"]) == 1


def test_a_circuit_opens_and_closes():
    """Delays double; after MAX_RESTARTS deaths it is open; a stable life closes it."""
    circuit = Circuit()
    delays = []
    for _ in range(12):
        circuit.started(0.0)
        delays.append(circuit.died(1.0))
    assert delays[:5] == [0.5, 1, 2, REST_S, 2 * REST_S]
    assert delays[-1] == MOST_REST_S
    assert circuit.open
    circuit.started(100.0)
    assert circuit.died(1000.0) == RESTART_DELAY_S
    assert not circuit.open
    assert circuit.died(5000.0, up=False) == 2 * RESTART_DELAY_S


def test_replicas_do_not_make_another_engine():
    """The identity is that of the weights and settings."""
    one = {"kind": "embedder", "backend": "fake"}
    assert identity(one) == identity({**one, "replicas": 4})


class Fleet:
    """A scheduler before scripted replicas that answer when they are told to."""

    def __init__(self, count, **limits):
        self.scheduler = LLMScheduler(RemainingWork())
        self.sent = [[] for _ in range(count)]
        self.replicas = [
            self.scheduler.start(_Scripted(sent), replace(KEEPS, **limits)) for sent in self.sent
        ]

    async def call(self, tokens, max_tokens=4):
        task = LLMTask(tokens, max_tokens, False, PLACE, Limits(), Caller())
        self.scheduler.submit(task)
        await turn()
        return task

    async def end(self, task):
        task.home.events([TokenEvent(task.id, (7,), "stop")])
        await turn()

    def number(self, task):
        return self.replicas.index(task.home)


class _Scripted:
    def __init__(self, sent):
        self.sent = sent

    async def submit(self, requests):
        self.sent += requests

    async def abort(self, ids):
        pass


async def turn():
    for _ in range(6):
        await asyncio.sleep(0)


def scene(test):
    """Run a coroutine under asyncio's own loop: nothing in it takes time."""
    return lambda: asyncio.run(test())


@scene
async def test_a_prompt_goes_where_its_prefix_is():
    """A replica that holds most of a prompt is preferred to one with more room."""
    fleet = Fleet(2)
    first = await fleet.call(prompt(("A", 20)))
    other = await fleet.call(prompt(("B", 20)))
    assert {fleet.number(first), fleet.number(other)} == {0, 1}
    await fleet.end(first)
    await fleet.end(other)
    busy = await fleet.call(prompt(("A", 20), ("C", 1)))
    assert fleet.number(busy) == fleet.number(first)
    assert fleet.number(await fleet.call(prompt(("B", 20), ("C", 1)))) == fleet.number(other)


@scene
async def test_a_prefix_does_not_draw_a_prompt_to_a_busy_replica():
    """Where more is to be computed before it than its prefix saves, it goes to the other."""
    fleet = Fleet(2)
    holder = await fleet.call(prompt(("A", 2)))
    await fleet.end(holder)
    long = await fleet.call(prompt(("A", 2), ("L", 100)))
    assert fleet.number(long) == fleet.number(holder)
    assert fleet.number(await fleet.call(prompt(("A", 2), ("D", 1)))) != fleet.number(holder)


@scene
async def test_a_full_replica_is_no_reason_to_wait():
    """Work-conserving: what its prefix's replica has no room for runs elsewhere."""
    fleet = Fleet(2, max_requests=1)
    first = await fleet.call(prompt(("A", 20)))
    second = await fleet.call(prompt(("A", 20), ("B", 1)))
    assert fleet.number(first) != fleet.number(second)
    third = await fleet.call(prompt(("A", 20), ("C", 1)))
    assert third.home is None
    await fleet.end(first)
    assert fleet.number(third) == fleet.number(first)


@given(
    calls=st.lists(
        st.tuples(st.sampled_from("ABC"), st.integers(1, 12), st.integers(1, 60)), max_size=30
    ),
    count=st.integers(1, 3),
    ends=st.randoms(use_true_random=False),
)
@settings(deadline=None)
def test_no_replica_is_given_more_than_it_takes(calls, count, ends):
    """KV and requests stay within each replica's limits, no call is lost or sent twice, and none
    waits while a replica has room for it."""

    async def story():
        fleet = Fleet(count, max_requests=3, kv_tokens=16 * BLOCK)
        tasks = []
        for mark, blocks, new in calls:
            tasks.append(await fleet.call(prompt((mark, blocks)), new))
            check(fleet)
            running = [task for task in tasks if task.home and task.id in task.home.running]
            if running and ends.random() < 0.5:
                await fleet.end(ends.choice(running))
                check(fleet)
        while running := [task for task in tasks if not task.over and task.home]:
            await fleet.end(running[0])
        assert all(task.over for task in tasks)
        sent = [request.id for sent in fleet.sent for request in sent]
        assert len(sent) == len(set(sent)) == len(calls)
        assert fleet.scheduler.check_integrity() == []

    def check(fleet):
        first = fleet.scheduler.queue.first()
        for replica in fleet.replicas:
            assert len(replica.running) <= 3
            assert replica.held == sum(one.tokens for one in replica.running.values())
            assert replica.held <= 16 * BLOCK
            assert first is None or not replica.fits(first)

    asyncio.run(story())
