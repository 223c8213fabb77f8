"""Cancelling reaches every engine: queues are left, calls aborted, and nothing stays."""

import asyncio

import pytest

from teola.runtime.errors import DeadlineExceeded, QueryCancelled
from teola.runtime.events import RunFinished, TextDelta
from teola.runtime.simulation.clock import pass_time
from tests.runtime.workbench import call, plan, reply, virtual

CHAIN = """
    input q: text
    {a}
    %e.wrap = wrap value=%a.decode:text @e
    %e.embed = embed texts=%e.wrap:items {{engine = emb}} @e
    %r.each = each items=%e.wrap:items {{}} -> text=%r.ask.decode:text @r [
        {r}
    ]
    output out: list<text> = %r.each:text
    output vectors: list<embedding> = %e.embed:embeddings
"""


def chain(**engines):
    """An LLM call, then an embedding and another call side by side."""
    slow = {"llm": {"latency_ms": 1000}, "emb": {"latency_ms": 1000}}
    a = call("a", "{{ q }}", "q=%inputs:q")
    r = call("r.ask", "{{ x }}", "x=%r.each:item")
    return plan(CHAIN.format(a=a, r=r), **(slow | engines))


LASTS = 12
"""Seconds that the chain takes at most."""


@pytest.mark.parametrize("at_s", [0, 0.5, 1, 2.5, 4, 4.5, 5.5, 7])
@virtual
async def test_cancelling_the_task_ends_the_query(bench, at_s):
    """Whenever the caller's task is cancelled, what runs is aborted and the rest never starts."""
    async with bench.runner(chain()) as runner:
        running = asyncio.ensure_future(runner.run(q="q"))
        await pass_time(at_s)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await pass_time(0)
        calls = len(bench.spy("llm").submitted) + len(bench.spy("embedder").calls)
        await pass_time(2 * LASTS)
    assert len(bench.spy("llm").submitted) + len(bench.spy("embedder").calls) == calls
    spy = bench.spy("llm")
    assert set(spy.aborted) <= {request.id for request in spy.submitted}


@pytest.mark.parametrize("turns", range(40))
@virtual
async def test_cancelling_at_any_turn_of_the_loop_leaves_nothing(bench, turns):
    """Between any two steps of the loop a query can be cancelled."""
    async with bench.runner(chain(llm={}, emb={})) as runner:
        running = asyncio.ensure_future(runner.run(q="q"))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("turns", range(12))
@virtual
async def test_a_call_cancelled_on_its_way_is_aborted(bench, turns):
    """A call that is cancelled between its admission and its sending does not run on."""
    async with bench.runner(chain()) as runner:
        await pass_time(0.5)
        running = asyncio.ensure_future(runner.run(q="q"))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await pass_time(0.5)
        assert await bench.spy("llm").handle.control("describe", {}) == {"running": 0}


@virtual
async def test_closing_the_stream_ends_the_query(bench):
    """A reader who stops reading aborts the call."""
    async with bench.runner(chain()) as runner:
        events = runner.stream(q="q")
        async for event in events:
            if event.__class__.__name__ == "ModuleStarted":
                break
        await pass_time(1.5)
        await events.aclose()
        await bench.settle()
    assert bench.spy("llm").aborted == [bench.spy("llm").submitted[0].id]


@virtual
async def test_a_stream_left_by_an_error_of_its_reader_ends_the_query(bench):
    """So does a reader that fails in the middle."""

    async def read(runner):
        async with asyncio.timeout(1.5):
            async for _ in runner.stream(q="q"):
                pass

    async with bench.runner(chain()) as runner:
        with pytest.raises(TimeoutError):
            await read(runner)
        await bench.settle()
    assert bench.spy("llm").aborted


@virtual
async def test_closing_the_runner_ends_its_queries(bench):
    """They end with an error that says so: a run, and a stream in the middle of its text."""
    runner = bench.runner(chain())
    await runner.start()
    texts = []

    async def read():
        source = bench.runner(
            plan(
                f"""
                input q: text
                {call("a", "{{ q }}", "q=%inputs:q")}
                output out: text = %a.decode:text
                """,
                llm={"latency_ms": 1000},
            )
        )
        await source.start()
        closing.append(source)
        async for event in source.stream(q="other"):
            texts.extend([event.text] if isinstance(event, TextDelta) else [])

    closing = [runner]
    running = [asyncio.ensure_future(runner.run(q="q")), asyncio.ensure_future(read())]
    await pass_time(2.5)
    for each in closing:
        await each.close()
    ends = await asyncio.gather(*running, return_exceptions=True)
    assert [type(end) for end in ends] == [QueryCancelled, QueryCancelled]
    assert "".join(texts) == reply("other").encode()[:32].decode(errors="ignore")
    await bench.settle()
    assert len(bench.spy("llm").aborted) == 2


@virtual
async def test_queued_calls_leave(bench):
    """A cancelled query's calls that wait for their turn are never sent; others move up."""
    source = chain(llm={"latency_ms": 1000, "max_requests": 1})
    async with bench.runner(source) as runner:
        running = [asyncio.ensure_future(runner.run(q=q)) for q in ("one", "two", "three")]
        await pass_time(0.5)
        running[1].cancel()
        await asyncio.gather(*running, return_exceptions=True)
    asked = [bytes(token for token in r.tokens if token < 256) for r in bench.spy("llm").submitted]
    assert not any(b"two" in prompt for prompt in asked)
    assert running[0].done()
    assert running[2].result()["out"] == [reply(reply("three"))]


@virtual
async def test_queued_items_leave(bench):
    """A cancelled query's items that wait are never computed."""
    source = plan(
        """
        input texts: list<text>
        %e.embed = embed texts=%inputs:texts {engine = emb} @e
        output vectors: list<embedding> = %e.embed:embeddings
        """,
        emb={"latency_ms": 1000, "batch_size": 2},
    )
    async with bench.runner(source) as runner:
        names = [[f"{query}{item}" for item in range(4)] for query in "abc"]
        running = [asyncio.ensure_future(runner.run(texts=texts)) for texts in names]
        await pass_time(0.5)
        running[0].cancel()
        running[1].cancel()
        await asyncio.gather(*running, return_exceptions=True)
    assert bench.spy("embedder").items("embed") == ["a0", "a1", *names[2]]


@virtual
async def test_cancelled_work_frees_its_tokens(bench):
    """KV held by an aborted call is there for the next one at once."""
    source = chain(llm={"latency_ms": 1000, "kv_tokens": 150})
    async with bench.runner(source) as runner:
        first = asyncio.ensure_future(runner.run(q="one"))
        await pass_time(1.5)
        second = asyncio.ensure_future(runner.run(q="two"))
        await pass_time(0.25)
        assert len(bench.spy("llm").submitted) == 1
        first.cancel()
        await pass_time(0.001)
        assert len(bench.spy("llm").submitted) == 2
        assert (await second)["out"] == [reply(reply("two"))]


INDEX = """
    input documents: list<document>
    input q: text
    %c.chunk = chunk documents=%inputs:documents {size = 4, by = "characters"} @c
    %i.embed = embed texts=~%c.chunk:chunks {group = 1, engine = emb} @i
    %i.ingest = ingest chunks=~%c.chunk:chunks embeddings=~%i.embed:embeddings {group = 1, \
        engine = store} @i
    %s.wrap = wrap value=%inputs:q @s
    %s.embed = embed texts=%s.wrap:items {engine = emb} @s
    %s.search = search embeddings=%s.embed:embeddings collection=%i.ingest:collection top_k=2 \
        {engine = store} @s
    output hits: list<list<passage>> = %s.search:hits
"""


@pytest.mark.parametrize("at_s", [0, 0.5, 1.5, 2.5, 3.25, 4.25, 5.5])
@pytest.mark.parametrize("share", [True, False])
@virtual
async def test_unshared_collections_of_a_cancelled_query_are_dropped(bench, at_s, share):
    """Whenever it is cancelled: no pending version, and no collection but one that is complete."""
    source = plan(INDEX, emb={"latency_ms": 1000, "batch_size": 1}, store={"latency_ms": 1000})
    async with bench.runner(source, share=share) as runner:
        documents = [{"name": "d", "text": "abcdefghijkl"}]
        running = asyncio.ensure_future(runner.run(documents=documents, q="q"))
        await pass_time(at_s)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await bench.settle()
    await bench.settle()
    stored = await bench.stored()
    assert stored["pending"] == []
    counts = [about["count"] for about in stored["collections"].values()]
    assert counts == ([3] if share and at_s > 4 else [])


@virtual
async def test_a_query_that_ended_cannot_be_cancelled(bench):
    """Closing a stream after its last event changes nothing."""
    async with bench.runner(chain()) as runner:
        events = runner.stream(q="q")
        async for event in events:
            if isinstance(event, RunFinished):
                break
        await events.aclose()
    assert bench.spy("llm").aborted == []


ORDERED = """
    input q: text
    {a}
    {b}
    %c.wrap = wrap value=%inputs:q @c
    order %a.decode -> %b.prefill
    effect %a.decode -> %c.wrap
    output one: text = %a.decode:text
    output two: text = %b.decode:text
    output three: list<text> = %c.wrap:items
"""


@virtual
async def test_what_waits_for_a_cancelled_run_never_begins(bench, caplog):
    """A run that ends because its query is cancelled is no reason for others to begin."""
    a, b = (call(name, "{{ q }} " + name, "q=%inputs:q") for name in "ab")
    ordered = plan(ORDERED.format(a=a, b=b), llm={"latency_ms": 1000})
    async with bench.runner(ordered) as runner:
        running = asyncio.ensure_future(runner.run(q="q"))
        await pass_time(0.5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await pass_time(5)
    assert len(bench.spy("llm").submitted) == 1
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == []


@virtual
async def test_cancelling_between_two_attempts_ends_the_query(bench):
    """A call that waits for its next attempt never has one."""
    bench.prepared.append(lambda spy: spy.spoil(*range(9), kind="engine"))
    retry = '{engine = llm, retry = {"max": 9, "initial_s": 10}}'
    source = plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q", decode=retry)}
        output out: text = %a.decode:text
        """,
        llm={"latency_ms": 1000},
    )
    async with bench.runner(source) as runner:
        running = asyncio.ensure_future(runner.run(q="q"))
        await pass_time(5)
        assert len(bench.spy("llm").submitted) == 1
        running.cancel()
        await pass_time(1000)
    assert running.cancelled()
    assert len(bench.spy("llm").submitted) == 1


@virtual
async def test_cancelling_while_an_engine_starts_ends_the_query(bench):
    """Nothing is sent to the engine once it is there."""
    bench.prepared.append(lambda spy: setattr(spy, "start_s", 60))
    async with bench.runner(chain()) as runner:
        running = asyncio.ensure_future(runner.run(q="q"))
        await pass_time(30)
        running.cancel()
        await pass_time(100)
    assert running.cancelled()
    assert bench.spy("llm").submitted == []


@pytest.mark.parametrize("at_s", [0.5, 1.5, 2.5, 3.25])
@virtual
async def test_a_deadline_drops_what_the_query_has_indexed(bench, at_s):
    """As cancelling does: nothing of its collection is left."""
    engines = {"emb": {"latency_ms": 1000, "batch_size": 1}, "store": {"latency_ms": 1000}}
    source = plan(INDEX, deadline_s=at_s, **engines)
    async with bench.runner(source, share=False) as runner:
        with pytest.raises(DeadlineExceeded):
            await runner.run(documents=[{"name": "d", "text": "abcdefghijkl"}], q="q")
    await bench.settle()
    await bench.settle()
    assert await bench.stored() == {"collections": {}, "pending": []}


@virtual
async def test_cancelling_one_of_two_that_share_work_harms_nobody(bench):
    """What both wait for goes on for the other, and is aborted with the last."""
    async with bench.runner(chain()) as runner:
        running = [asyncio.ensure_future(runner.run(q="q")) for _ in range(3)]
        await pass_time(1.5)
        running[0].cancel()
        await pass_time(0.5)
        assert bench.spy("llm").aborted == []
        running[1].cancel()
        assert (await running[2])["out"] == [reply(reply("q"))]
    assert bench.spy("llm").aborted == []
    assert len(bench.spy("llm").submitted) == 2
