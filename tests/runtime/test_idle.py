"""An idle pool is clean, and says so where it is not; no failure on the way is lost."""

import asyncio

import pytest

from teola.runtime.engines.fakes.llm import FakeLLM
from teola.runtime.engines.protocol import Capabilities, Generate
from teola.runtime.errors import ModuleError
from teola.runtime.simulation.clock import pass_time, run_virtually
from tests.runtime.workbench import call, plan, reply, virtual


def asking(**llm):
    return plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q")}
        output out: text = %a.decode:text
        """,
        llm=llm,
    )


@virtual
async def test_an_idle_pool_looks_for_what_is_left(bench, caplog):
    """Once the last query has ended, not before; what is found is logged as an error."""
    async with bench.runner(asking(latency_ms=1000)) as runner:
        await runner.run(q="x")
        assert caplog.text == ""
        (engine,) = bench.pool.engines.values()
        (replica,) = engine.calls.replicas.values()
        replica.held += 7
        one, two = (
            asyncio.ensure_future(runner.run(q="y")),
            asyncio.ensure_future(runner.run(q="z")),
        )
        await one
        assert bench.pool.queries in (0, 1)
        await two
        await pass_time(0)
        assert bench.pool.queries == 0
        assert "an idle engine pool is not clean: engine llm: 7 KV tokens are held" in caplog.text
        caplog.clear()
        replica.held -= 7


def test_every_action_runs_though_one_raises(caplog):
    """The graph scheduler does what is left, and tells the loop of the error."""
    problems, done = [], []

    @virtual
    async def test(bench):
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: problems.append(context)
        )
        async with bench.runner(asking()) as runner:
            scheduler = runner._scheduler

            def first():
                scheduler.ready(lambda: 1 / 0)
                scheduler.ready(lambda: done.append("second"))

            scheduler.ready(first)
            assert done == ["second"]
            assert (await runner.run(q="x"))["out"] == reply("x")

    test()
    (problem,) = problems
    assert isinstance(problem["exception"], ZeroDivisionError)


EMBED = """
    input q: text
    %e.wrap = wrap value=%inputs:q @a
    %e.embed = embed texts=%e.wrap:items {engine = emb} @a
    output vectors: list<embedding> = %e.embed:embeddings
"""


@pytest.mark.parametrize(
    ("kind", "capabilities", "said"),
    [
        ("llm", Capabilities(kv_tokens=0, max_requests=4), "'llm' started with kv_tokens = 0"),
        ("llm", Capabilities(kv_tokens=100), "'llm' started with max_requests = 0"),
        ("embedder", Capabilities(max_items=0), "'emb' started with max_items = 0"),
    ],
)
@virtual
async def test_an_engine_that_takes_nothing_is_refused(
    bench, monkeypatch, kind, capabilities, said
):
    """A plug-in that could never be given any work: an error at its start, never a hang."""

    async def start():
        return capabilities

    bench.prepared.append(lambda spy: monkeypatch.setattr(spy, "start", start))
    with pytest.raises(ModuleError, match=said) as caught:
        await bench.run(asking() if kind == "llm" else plan(EMBED), q="x")
    assert "'a'" in str(caught.value)


@virtual
async def test_an_abort_that_fails_is_logged(bench, caplog, monkeypatch):
    """It ends neither the loop nor another query, and is not lost."""
    async with bench.runner(asking(latency_ms=1000)) as runner:
        query = asyncio.ensure_future(runner.run(q="x"))
        await pass_time(0.5)
        spy = bench.spy("llm")

        async def abort(ids):
            spy.handle._engine._running.pop(ids[0])
            raise ValueError("no such id")

        monkeypatch.setattr(spy, "abort", abort)
        query.cancel()
        await asyncio.gather(query, return_exceptions=True)
        await pass_time(1)
        assert "was not aborted and may still run" in caplog.text
        assert "no such id" in caplog.text
        assert (await runner.run(q="y"))["out"] == reply("y")


def test_a_call_that_does_not_stream_gets_its_tokens_at_the_end():
    """In one event, when a streaming one gets its last."""
    seen = {"a": [], "b": []}

    async def test():
        llm = FakeLLM({"latency_ms": 10})
        llm.listen(lambda events: [seen[event.id].append(event) for event in events])
        await llm.submit([Generate("a", [1], 100), Generate("b", [1], 100, stream=False)])
        await pass_time(1)

    run_virtually(test())
    (whole,) = seen["b"]
    assert len(seen["a"]) > 1
    assert [t for event in seen["a"] for t in event.tokens] == list(whole.tokens)
    assert whole.finish_reason == seen["a"][-1].finish_reason == "stop"
