"""What engines hold though nobody uses them is found, wherever they live."""

import asyncio
from pathlib import Path

import pytest

from teola.runtime import EnginePool, Runner
from teola.runtime.engines import ENGINES, EngineEntry
from teola.runtime.engines.protocol import Generate
from teola.runtime.hosts import HostError, process
from tests.runtime.workbench import SEARCH, call, plan, virtual

ASK = f"""
    input q: text
    {call("a", "{{ q }}", "q=%inputs:q")}
    output out: text = %a.decode:text
"""
CHUNK = {"id": "a", "document": "d", "text": "a"}


async def until(condition):
    """Wait for something."""
    while not condition():
        await asyncio.sleep(0)


@virtual
async def test_a_request_that_is_left_is_found(bench):
    """One that the schedulers know nothing of."""
    async with bench.runner(plan(ASK, llm={"latency_ms": 1000})) as runner:
        await runner.run(q="q")
        assert await bench.pool.inspect() == []
        await bench.spy("llm").handle.submit([Generate("lost", (1, 2), 1000, ignore_eos=True)])
        assert bench.pool.check_integrity() == []
        assert await bench.pool.inspect() == [
            "engine llm, replica 1: 1 requests run that nobody waits for"
        ]
        await bench.spy("llm").handle.abort(["lost"])


@pytest.mark.parametrize("share", [True, False])
@virtual
async def test_a_pending_version_that_is_left_is_found(bench, share):
    """Of a store that forgets to discard what a query has cancelled."""
    source = plan(SEARCH, store={"latency_ms": 1000, "replicas": 2}, emb={})

    async def forget(command):
        if command == "discard":
            raise HostError("forgotten")

    bench.prepared.append(lambda spy: setattr(spy, "on_control", forget))
    async with bench.runner(source, share=share) as runner:
        query = asyncio.ensure_future(runner.run(chunks=[CHUNK], texts=["a"]))
        await asyncio.wait([query], timeout=0.5)
        query.cancel()
        await asyncio.wait([query])
        await bench.settle()
        (problem,) = await bench.pool.inspect()
    assert problem.startswith("engine store, replica ")
    assert "versions are pending that nobody publishes" in problem
    for spy in (spy for spy in bench.spies if spy.kind == "store"):
        spy.handle._engine._pending.clear()


@pytest.mark.parametrize("host", ["process", "thread"])
def test_a_host_knows_the_calls_without_an_answer(monkeypatch, host):
    """An abort that an engine elsewhere never answers, and the request that it keeps."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr(process, "CLOSE_S", 0.05)
    entry = EngineEntry("troubled_engine:LeakyLLM", host=host)
    monkeypatch.setitem(ENGINES, ("llm", "fake"), entry)

    async def scene():
        source = plan(ASK, llm={"latency_ms": 100_000})
        async with EnginePool() as pool, Runner(source, pool=pool) as runner:
            begun = asyncio.Event()
            pool.listeners.append(lambda status: status.state == "ready" and begun.set())
            query = asyncio.ensure_future(runner.run(q="q"))
            await begun.wait()
            (engine,) = pool.engines.values()
            host = engine.replicas[0].handle
            await until(lambda: host.unanswered)  # the call goes there
            await until(lambda: not host.unanswered)
            query.cancel()
            await until(lambda: host.unanswered)
            return pool.check_integrity(), await pool.inspect()

    ours, found = asyncio.run(asyncio.wait_for(scene(), 30))
    assert ours == []
    assert found == [
        "engine llm, replica 1: 1 calls have no answer",
        "engine llm, replica 1: 1 requests run that nobody waits for",
    ]
