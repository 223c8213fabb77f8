"""Sharing: equal content is computed once for all queries of a pool, and dropped when it may be."""

import asyncio
import gc

import pytest

from teola.runtime.errors import ModuleError, QueryCancelled
from teola.runtime.events import ModuleFinished
from teola.runtime.instance.run import Run
from teola.runtime.pool import BYTES_AN_ITEM
from teola.runtime.simulation.clock import pass_time
from tests.runtime.workbench import Bench, call, plan, reply, virtual

FOLDER = [{"name": "a", "text": "abcdefghijklmnop"}, {"name": "b", "text": "qrstuvwx"}]
CHUNKS = 6

BODY = """
    input documents: list<document>
    input question: text
    %c.chunk = chunk documents=%inputs:documents {{size = 4, by = "characters"}} @c
    %i.embed = embed texts=%c.chunk:chunks {{engine = emb}} @i
    %i.ingest = ingest chunks=%c.chunk:chunks embeddings=%i.embed:embeddings \
        {collection}{{engine = store}} @i
    %s.wrap = wrap value=%inputs:question @s
    %s.embed = embed texts=%s.wrap:items {{engine = emb}} @s
    %s.search = search embeddings=%s.embed:embeddings collection=%i.ingest:collection top_k=2 \
        {{engine = store}} @s
    %s.flatten = flatten items=%s.search:hits @s
    %a.prefill = prefill q=%inputs:question ps=%s.flatten:items {{engine = llm, messages = \
        [{{"role": "user", "template": "{{{{ q }}}} {{{{ ps | length }}}}"}}], sampling = \
        {{"max_tokens": 64}}}} @a
    %a.decode = decode state=%a.prefill:state {{engine = llm}} @a
    output answer: text = %a.decode:text
    output found: list<passage> = %s.flatten:items
    output count: int = %i.ingest:count
"""


def rag(collection="", **engines):
    slow = {"emb": {"latency_ms": 1000}, "store": {"latency_ms": 1000}, "llm": {"latency_ms": 1000}}
    return plan(BODY.format(collection=collection), **(slow | engines))


def ingested(bench):
    return len(bench.spy("store").items("ingest"))


def embedded(bench):
    return bench.spy("embedder").items("embed")


@virtual
async def test_two_queries_at_once_ingest_once(bench):
    """Two questions over one folder at the same time index it once; each gets its own answer."""
    async with bench.runner(rag()) as runner:
        one, two = await asyncio.gather(
            runner.run(documents=FOLDER, question="q1"), runner.run(documents=FOLDER, question="q2")
        )
    assert ingested(bench) == CHUNKS
    assert len(embedded(bench)) == CHUNKS + 2
    assert one["answer"] == reply("q1 2")
    assert two["answer"] == reply("q2 2")
    assert one["count"] == two["count"] == CHUNKS


@virtual
async def test_a_later_query_reuses_the_collection(bench):
    """The second question searches what the first one indexed; its modules are reported shared."""
    async with bench.runner(rag()) as runner:
        await runner.run(documents=FOLDER, question="q1")
        events = [e async for e in runner.stream(documents=FOLDER, question="q2")]
    assert ingested(bench) == CHUNKS
    assert len(embedded(bench)) == CHUNKS + 2
    shared = [e.module for e in events if isinstance(e, ModuleFinished) and e.detail == "shared"]
    assert set(shared) == {"c", "i"}
    assert events[-1].result["count"] == CHUNKS


@virtual
async def test_other_documents_are_indexed(bench):
    """What counts is content: a changed document is another collection, an equal one is not."""
    async with bench.runner(rag()) as runner:
        await runner.run(documents=FOLDER, question="q1")
        await runner.run(documents=[dict(item) for item in FOLDER], question="q1")
        assert ingested(bench) == CHUNKS
        await runner.run(documents=[*FOLDER[:1], {"name": "b", "text": "stuvwxyz"}], question="q1")
        assert ingested(bench) == 2 * CHUNKS


@virtual
async def test_two_runners_of_a_pool_share(bench):
    """An engine is known by its settings, a result by its content: not by names in a file."""
    first, second = rag(), rag()
    async with bench.runner(first) as one, bench.runner(second) as two:
        await one.run(documents=FOLDER, question="q1")
        await two.run(documents=FOLDER, question="q2")
    assert ingested(bench) == CHUNKS
    assert len(bench.spies) == 3


@virtual
async def test_other_engine_settings_are_another_engine(bench):
    """A collection made by another embedder is another collection."""
    await bench.run(rag(), documents=FOLDER, question="q1")
    other = rag(emb={"latency_ms": 1000, "dimension": 8})
    await bench.run(other, documents=FOLDER, question="q1")
    assert ingested(bench) == 2 * CHUNKS
    assert len([spy for spy in bench.spies if spy.kind == "embedder"]) == 2


@virtual
async def test_without_sharing_every_query_does_its_own_work(bench):
    """`share=False`: nothing is taken from others, and nothing stays."""
    async with bench.runner(rag(), share=False) as runner:
        await asyncio.gather(
            runner.run(documents=FOLDER, question="q1"), runner.run(documents=FOLDER, question="q1")
        )
        await runner.run(documents=FOLDER, question="q1")
    await bench.settle()
    assert ingested(bench) == 3 * CHUNKS
    assert await bench.stored() == {"collections": {}, "pending": []}


@virtual
async def test_a_query_that_does_not_share_takes_nothing_from_one_that_does(bench):
    """Sharing is the choice of each runner."""
    await bench.run(rag(), documents=FOLDER, question="q1")
    await bench.run(rag(), share=False, documents=FOLDER, question="q1")
    assert ingested(bench) == 2 * CHUNKS
    await bench.settle()
    assert len((await bench.stored())["collections"]) == 1


@virtual
async def test_equal_queries_at_once_are_one(bench):
    """The same question over the same folder, five times at once, asks the LLM once."""
    async with bench.runner(rag()) as runner:
        results = await asyncio.gather(
            *(runner.run(documents=FOLDER, question="q") for _ in range(5))
        )
    assert len(bench.spy("llm").submitted) == 1
    assert all(result.outputs == results[0].outputs for result in results)
    assert len({result.run_id for result in results}) == 5
    assert all(result.usage.requests == 1 for result in results)


@virtual
async def test_what_does_not_feed_a_collection_is_not_kept(bench):
    """An answer is shared while it is in use; afterwards only the collection stays."""
    async with bench.runner(rag()) as runner:
        await runner.run(documents=FOLDER, question="q")
        await runner.run(documents=FOLDER, question="q")
    assert len(bench.spy("llm").submitted) == 2
    assert [run.prepared.id for run in bench.pool.shared.values()] == ["i.ingest"]


@pytest.mark.parametrize("at_s", [0.0, 0.5, 1.5, 2.5, 3.5, 4.5])
@virtual
async def test_a_cancelled_query_leaves_shared_work_to_the_others(bench, at_s):
    """Whenever the first query goes, the second one, which shares its work, completes."""
    async with bench.runner(rag()) as runner:
        first = asyncio.ensure_future(runner.run(documents=FOLDER, question="q1"))
        await pass_time(0)
        second = asyncio.ensure_future(runner.run(documents=FOLDER, question="q2"))
        await pass_time(at_s)
        first.cancel()
        result = await second
        assert first.cancelled()
    assert result["answer"] == reply("q2 2")
    assert result["count"] == CHUNKS
    assert ingested(bench) == CHUNKS


@virtual
async def test_a_query_that_comes_late_takes_part_in_what_runs(bench):
    """A second query that comes while chunks are embedded waits for them, though they are not its
    own; the first may go then."""
    async with bench.runner(rag(emb={"latency_ms": 5000})) as runner:
        first = asyncio.ensure_future(runner.run(documents=FOLDER, question="q1"))
        await pass_time(2)
        second = asyncio.ensure_future(runner.run(documents=FOLDER, question="q2"))
        await pass_time(0)
        first.cancel()
        assert (await second)["answer"] == reply("q2 2")
    assert len([text for text in embedded(bench) if text not in ("q1", "q2")]) == CHUNKS


@virtual
async def test_when_all_users_leave_shared_work_ends(bench):
    """Two cancelled queries leave nothing in queues, engines or stores."""
    async with bench.runner(rag()) as runner:
        both = [
            asyncio.ensure_future(runner.run(documents=FOLDER, question=f"q{n}")) for n in range(2)
        ]
        await pass_time(1.5)
        for one in both:
            one.cancel()
        await asyncio.gather(*both, return_exceptions=True)
    await bench.settle()
    assert bench.pool.shared == {}
    assert await bench.stored() == {"collections": {}, "pending": []}


@virtual(retained_bytes=int(2.5 * CHUNKS * BYTES_AN_ITEM))
async def test_the_collection_used_longest_ago_goes_first(bench):
    """Past the memory limit the least recently used collection is dropped from its store."""

    def folder(name):
        return [{"name": f"{name}{item['name']}", "text": item["text"]} for item in FOLDER]

    async with bench.runner(rag()) as runner:
        for name in ("x", "y", "x", "z"):
            await runner.run(documents=folder(name), question="q")
        await bench.settle()
        assert ingested(bench) == 3 * CHUNKS
        assert len((await bench.stored())["collections"]) == 2
        await runner.run(documents=folder("x"), question="q")
        assert ingested(bench) == 3 * CHUNKS
        await runner.run(documents=folder("y"), question="q")
        assert ingested(bench) == 4 * CHUNKS


@virtual(retained_bytes=0)
async def test_a_collection_in_use_is_never_dropped(bench):
    """A query that searches keeps its collection, however short memory is."""
    async with bench.runner(rag(store={"latency_ms": 5000})) as runner:
        results = await asyncio.gather(
            *(
                runner.run(documents=[{"name": f"d{n}", "text": "some text"}], question="q")
                for n in range(4)
            )
        )
    assert all(result["answer"] == reply("q 2") for result in results)
    await bench.settle()


@virtual
async def test_named_collections_are_not_shared_work(bench):
    """What writes a named collection happens for every query that says so."""
    async with bench.runner(rag('collection="kb" ')) as runner:
        await runner.run(documents=FOLDER, question="q1")
        await runner.run(documents=FOLDER, question="q1")
    assert ingested(bench) == 2 * CHUNKS
    stored = await bench.stored()
    assert {name: about["count"] for name, about in stored["collections"].items()} == {"kb": CHUNKS}


@virtual
async def test_a_closed_runner_leaves_the_pool_to_others(bench):
    """Closing one runner of a pool cancels its queries only."""
    async with bench.runner(rag()) as stays:
        goes = bench.runner(rag())
        await goes.start()
        lost = asyncio.ensure_future(goes.run(documents=FOLDER, question="q1"))
        kept = asyncio.ensure_future(stays.run(documents=FOLDER, question="q2"))
        await pass_time(1.5)
        await goes.close()
        with pytest.raises(QueryCancelled):
            await lost
        assert (await kept)["answer"] == reply("q2 2")
    assert ingested(bench) == CHUNKS


def test_pools_share_nothing():
    """Two pools are two worlds."""

    @virtual
    async def run(bench):
        other = Bench()
        async with other.pool:
            await bench.run(rag(), documents=FOLDER, question="q")
            await other.run(rag(), documents=FOLDER, question="q")
            assert ingested(bench) == ingested(other) == CHUNKS

    run()


@virtual(retained_bytes=0)
async def test_a_collection_in_use_is_reconsidered_when_it_is_left(bench):
    """What was kept past the memory limit for a query's sake goes with that query."""
    async with bench.runner(rag(store={"latency_ms": 5000})) as runner:
        await asyncio.gather(
            *(
                runner.run(documents=[{"name": f"d{n}", "text": "some text"}], question="q")
                for n in range(4)
            )
        )
        await bench.settle()
        assert len(bench.pool.retained) == 1
        assert len((await bench.stored())["collections"]) == 1


REGION = """
    input xs: list<text>
    input q: text
    {extra}
    %r.each = each items=%inputs:xs {{concurrency = 1}} -> text=%r.ask.decode:text @r [
        {ask}
    ]
    output out: list<text> = %r.each:text
"""


@virtual
async def test_a_failed_query_leaves_nothing_but_what_is_shared(bench):
    """Of a query that failed, only the region that another query still uses is kept."""
    ask = call("r.ask", "{{ x }}{{ q }}", "x=%r.each:item q=%inputs:q")
    extra = """%e.wrap = wrap value=%inputs:q @e
    %e.embed = embed texts=%e.wrap:items {engine = emb} @e"""
    slow = {"llm": {"latency_ms": 1000}, "emb": {"latency_ms": 500, "fail_items": ["why"]}}
    failing = plan(REGION.format(extra=extra, ask=ask), **slow)
    steady = plan(REGION.format(extra="", ask=ask), **slow)
    inputs = {"xs": ["a", "b", "c"], "q": "why"}
    async with bench.runner(failing) as first, bench.runner(steady) as second:
        one = asyncio.ensure_future(first.run(**inputs))
        await pass_time(0.2)
        two = asyncio.ensure_future(second.run(**inputs))
        with pytest.raises(ModuleError, match="'e'"):
            await one
        del one
        await pass_time(0.2)
        gc.collect()
        assert not two.done()
        # By type: other libraries' objects may answer a question for their class with a warning.
        runs = [run for run in gc.get_objects() if issubclass(type(run), Run)]
        alive = [run.prepared.id for run in runs if run.executor.pool is bench.pool]
        assert sorted(alive) == ["r.ask.decode", "r.each"]
        del runs
        assert (await two)["out"] == [reply(f"{x}why") for x in "abc"]
    assert len(bench.spy("llm").submitted) == 3
