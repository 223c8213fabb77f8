"""Two workflows that share work each see it under their own names."""

import asyncio

import pytest

from teola.runtime.errors import ModuleError
from teola.runtime.events import ModuleFinished, ModuleProgress, ModuleStarted, RunFinished
from teola.runtime.simulation.clock import pass_time
from tests.runtime.workbench import call, plan, reply, virtual

FOLDER = [{"name": "a", "text": "abcdefghijklmnop"}]


def workflow(name):
    """The same work under the module names ``{name}c``, ``{name}i`` and ``{name}a``."""
    body = f"""
        input documents: list<document>
        input q: text
        %{name}c.chunk = chunk documents=%inputs:documents {{size = 4, by = "characters"}} @{name}c
        %{name}i.embed = embed texts=%{name}c.chunk:chunks {{engine = emb}} @{name}i
        %{name}i.ingest = ingest chunks=%{name}c.chunk:chunks \
            embeddings=%{name}i.embed:embeddings {{engine = store}} @{name}i
        {call(f"{name}a", "{{ q }}", "q=%inputs:q")}
        output count: int = %{name}i.ingest:count
        output out: text = %{name}a.decode:text
    """
    slow = {"latency_ms": 1000, "batch_size": 2}
    return plan(body, emb=slow, store=slow, llm={"latency_ms": 1000})


async def read(runner, events, **inputs):
    async for event in runner.stream(**inputs):
        events.append(event)


@virtual
async def test_events_timeline_and_usage_name_a_querys_own_modules(bench):
    """Whichever workflow began a run, joined while it waits, runs or is done."""
    inputs = {"documents": FOLDER, "q": "why"}
    one, two, three = [], [], []
    async with bench.runner(workflow("x")) as first, bench.runner(workflow("y")) as second:
        queries = [asyncio.ensure_future(read(first, one, **inputs))]
        await pass_time(0.5)
        queries.append(asyncio.ensure_future(read(second, two, **inputs)))
        await pass_time(1.1)
        queries.append(asyncio.ensure_future(read(second, three, **inputs)))
        await asyncio.gather(*queries)
    assert len(bench.spy("embedder").items("embed")) == 4
    for name, events in (("x", one), ("y", two), ("y", three)):
        kinds = ModuleStarted | ModuleProgress | ModuleFinished
        assert {e.module for e in events if isinstance(e, kinds)} <= {f"{name}{m}" for m in "cia"}
        assert isinstance(events[-1], RunFinished)
        result = events[-1].result
        assert result["out"] == reply("why")
        assert result.usage.requests == 1
        assert {entry.primitive[0] for entry in result.timeline} == {name}
        assert {entry.module[0] for entry in result.timeline} == {name}
        finished = [e.module for e in events if isinstance(e, ModuleFinished)]
        assert sorted(finished) == [f"{name}a", f"{name}c", f"{name}i"]


@virtual
async def test_errors_name_a_querys_own_module(bench):
    """A run that two workflows share fails in each under its own module and primitive."""
    inputs = {"documents": FOLDER, "q": "why"}
    bench.prepared.append(lambda spy: spy.kind == "llm" and spy.spoil(0, after=1))
    async with bench.runner(workflow("x")) as first, bench.runner(workflow("y")) as second:
        one = asyncio.ensure_future(first.run(**inputs))
        await pass_time(0.5)
        two = asyncio.ensure_future(second.run(**inputs))
        for query, name in ((one, "x"), (two, "y")):
            with pytest.raises(ModuleError, match="spoilt") as caught:
                await query
            assert caught.value.place.module == f"{name}a"
            assert caught.value.place.primitive == f"{name}a.decode"
            assert f"module '{name}a'" in str(caught.value)
    assert len(bench.spy("llm").submitted) == 1


def regions(kind, mark):
    """A region with the module name ``mark``: the primitives are called the same in each."""
    ask = call("r.ask", "{{ x }}{{ q }}", "x=%r.reg:item q=%w.cast:value", module=mark)
    initial = " initial=%inputs:q" if kind == "fold" else ""
    return plan(
        f"""
        input xs: list<text>
        input q: text
        %w.cast = cast value=%inputs:q {{to = "text"}} @{mark}w
        %r.reg = {kind} items=%inputs:xs{initial} {{}} -> text=%r.ask.decode:text @{mark} [
            {ask}
        ]
        output out: {"text" if kind == "fold" else "list<text>"} = %r.reg:text
        """,
        llm={"latency_ms": 1000},
    )


@pytest.mark.parametrize("kind", ["each", "fold"])
@virtual
async def test_bodies_of_a_shared_region_have_a_querys_own_names(bench, kind):
    """Iterations that began before the query came, and those that begin after."""
    inputs = {"xs": ["p", "q", "r"], "q": "why"}
    one, two = [], []
    own = [regions(kind, "x"), regions(kind, "y")]
    async with bench.runner(own[0]) as first, bench.runner(own[1]) as second:
        queries = [asyncio.ensure_future(read(first, one, **inputs))]
        await pass_time(1.5)
        queries.append(asyncio.ensure_future(read(second, two, **inputs)))
        await asyncio.gather(*queries)
    assert len(bench.spy("llm").submitted) == 3
    for mark, events in (("x", one), ("y", two)):
        assert {entry.module for entry in events[-1].result.timeline} <= {mark, f"{mark}w"}
        modules = {e.module for e in events if isinstance(e, ModuleProgress | ModuleFinished)}
        assert modules == {mark, f"{mark}w"}
