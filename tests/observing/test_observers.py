"""What observers are told: every query, primitive, batch and call, with exact times."""

import asyncio
import logging

import pytest

from teola.runtime.errors import ModuleError, QueryCancelled, StateLost
from teola.runtime.observing.error_code import error_code
from teola.runtime.observing.observations import (
    BatchEnded,
    CallEnded,
    EngineReady,
    Load,
    PrimitiveBegan,
    PrimitiveEnded,
    PrimitiveKey,
    QueryBegan,
    QueryEnded,
)
from teola.runtime.simulation.clock import pass_time
from tests.observing.witness import Broken, Witness, both
from tests.runtime.test_hints import INPUTS, asking
from tests.runtime.test_ingest import DOCUMENTS, rag
from tests.runtime.workbench import plan, virtual


@virtual
async def test_a_query_is_told_from_its_begin_to_its_end(bench):
    """Its run id is that of its result; it ends when its last output is there."""
    witness = bench.pool.observe(Witness())
    result = await bench.run(both(), texts=["x"], q="y")
    began, ended = witness.one(QueryBegan), witness.one(QueryEnded)
    assert (began.run_id, began.workflow, began.at_s) == (result.run_id, "t", 0)
    assert (ended.run_id, ended.error) == (result.run_id, None)
    assert ended.ended_s == max(entry.ended_s for entry in result.timeline)


@virtual
async def test_primitives_are_told_as_the_timeline_has_them(bench):
    """What ended is exactly an entry of the result's timeline."""
    witness = bench.pool.observe(Witness())
    result = await bench.run(both(), texts=["x"], q="y")
    ended = witness.all(PrimitiveEnded)
    assert sorted(one.entry.primitive for one in ended) == ["a.decode", "e.embed"]
    assert sorted((one.entry for one in ended), key=repr) == sorted(result.timeline, key=repr)
    assert {one.outcome for one in ended} == {"done"}
    began = {one.key: one for one in witness.all(PrimitiveBegan)}
    assert set(began) == {one.key for one in ended}
    assert began[PrimitiveKey(result.run_id, "e.embed")].module == "e"


@virtual
async def test_a_batch_names_all_whom_it_serves(bench):
    """Two queries that wait while a batch runs share the next one; queueing is counted for each."""
    witness = bench.pool.observe(Witness())
    async with bench.runner(both(), share=False) as runner:
        first = asyncio.ensure_future(runner.run(texts=["x"], q="1"))
        await pass_time(0.25)
        second = asyncio.ensure_future(runner.run(texts=["y", "z"], q="2"))
        await pass_time(0.25)
        third = asyncio.ensure_future(runner.run(texts=["w"], q="3"))
        one, two, three = [(await query).run_id for query in (first, second, third)]
    alone, shared = witness.all(BatchEnded)
    assert [part.keys for part in alone.parts] == [(PrimitiveKey(one, "e.embed"),)]
    assert (alone.engine.name, alone.engine.kind, alone.operation) == ("emb", "embedder", "embed")
    assert (shared.began_s, shared.ended_s, shared.items) == (1.0, 2.0, 3)
    assert [part.keys[0].run_id for part in shared.parts] == [two, three]
    assert [shared.began_s - part.queued_s for part in shared.parts] == [0.75, 0.5]


@virtual
async def test_shared_work_is_told_for_every_query_that_uses_it(bench):
    """Equal content is embedded once: the batch has one part, for both queries."""
    witness = bench.pool.observe(Witness())
    async with bench.runner(both()) as runner:
        results = await asyncio.gather(*(runner.run(texts=["x"], q=q) for q in "12"))
    (part,) = witness.one(BatchEnded).parts
    assert part.items == 1
    assert {key.run_id for key in part.keys} == {result.run_id for result in results}


@virtual
async def test_a_call_is_told_with_its_first_token(bench):
    """Sent at once, the first token after a step, the end with the last one."""
    witness = bench.pool.observe(Witness())
    result = await bench.run(both(), texts=["x"], q="y")
    told = witness.one(CallEnded)
    (entry,) = [one for one in result.timeline if one.primitive == "a.decode"]
    assert (told.queued_s, told.sent_s, told.first_token_s) == (0, 0, 0.5)
    assert told.ended_s == entry.ended_s
    assert (told.prompt_tokens, told.completion_tokens) == (
        entry.prompt_tokens,
        entry.completion_tokens,
    )
    assert (told.warm, told.cached_tokens, told.finish_reason) == (False, 0, "stop")
    assert told.keys == (PrimitiveKey(result.run_id, "a.decode"),)


@virtual
async def test_a_warm_up_and_what_it_saves_are_told(bench):
    """The call that follows finds the warmed tokens in the prefix cache."""
    witness = bench.pool.observe(Witness())
    result = await bench.run(asking(), **INPUTS)
    warm_up, call = witness.all(CallEnded)
    assert (warm_up.warm, call.warm) == (True, False)
    assert warm_up.keys == (PrimitiveKey(result.run_id, "a.early"),)
    assert call.cached_tokens == warm_up.prompt_tokens > 0
    assert warm_up.keys[0] in [one.key for one in witness.all(PrimitiveBegan)]
    assert warm_up.keys[0] in [one.key for one in witness.all(PrimitiveEnded)]


@virtual
async def test_the_load_comes_back_to_nothing(bench):
    """What waits and runs is told whenever it changes, with the KV tokens of calls."""
    witness = bench.pool.observe(Witness())
    await bench.run(both(), texts=["x"], q="y")
    loads = [one for one in witness.all(Load) if one.engine.name == "llm"]
    assert max(one.running for one in loads) == 1
    assert max(one.kv_tokens for one in loads) == witness.one(CallEnded).prompt_tokens + 64
    for name in ("llm", "emb"):
        last = [one for one in witness.all(Load) if one.engine.name == name][-1]
        assert (last.waiting, last.running, last.kv_tokens or 0) == (0, 0, 0)


@virtual
async def test_an_engine_tells_when_it_takes_work(bench):
    """From the moment it began to start."""

    def slow(spy):
        spy.start_s = 3.0

    bench.prepared.append(slow)
    witness = bench.pool.observe(Witness())
    await bench.run(both(), texts=["x"], q="y")
    assert {(one.engine.name, one.began_s, one.ready_s) for one in witness.all(EngineReady)} == {
        ("emb", 0.0, 3.0),
        ("llm", 0.0, 3.0),
    }


@virtual
async def test_a_failure_is_told_by_its_kind(bench):
    """The call, the primitive and the query each say so; what still ran was cancelled."""
    bench.prepared.append(lambda spy: spy.spoil(0) if spy.kind == "llm" else None)
    witness = bench.pool.observe(Witness())
    with pytest.raises(ModuleError, match="spoilt"):
        await bench.run(both(), texts=["x"], q="y")
    assert witness.one(CallEnded).failure == "item"
    outcomes = {one.key.primitive: one.outcome for one in witness.all(PrimitiveEnded)}
    assert outcomes == {"a.decode": "failed", "e.embed": "cancelled"}
    assert error_code(witness.one(QueryEnded).error) == "item"


@virtual
async def test_work_whose_end_fails_the_query_is_told_as_done(bench):
    """What ended well, and what failed at once on its results: both have an end."""
    witness = bench.pool.observe(Witness())
    async with bench.runner(rag()) as runner:
        running = asyncio.ensure_future(runner.run(documents=DOCUMENTS, q="q"))
        await pass_time(1.5)
        bench.spy("store").die()
        with pytest.raises(StateLost):
            await running
    ended = {one.key: one.outcome for one in witness.all(PrimitiveEnded)}
    assert {key.primitive for key, outcome in ended.items() if outcome == "failed"} == {"s.search"}
    assert {one.key for one in witness.all(PrimitiveBegan)} <= set(ended)


@virtual
async def test_a_cancelled_query_ends_too(bench):
    """Its call is told as aborted: neither finished nor failed."""
    witness = bench.pool.observe(Witness())
    async with bench.runner(both()) as runner:
        running = asyncio.ensure_future(runner.run(texts=["x"], q="y"))
        await pass_time(0.75)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await pass_time(2)
    call, ended = witness.one(CallEnded), witness.one(QueryEnded)
    assert (call.finish_reason, call.failure, call.ended_s) == (None, None, 0.75)
    assert isinstance(ended.error, QueryCancelled)
    assert error_code(ended.error) == "cancelled"
    assert {one.outcome for one in witness.all(PrimitiveEnded)} == {"cancelled"}


@virtual
async def test_an_observer_that_breaks_is_told_no_more(bench, caplog):
    """It is logged; the query and the other observers do not notice."""
    broken, witness = bench.pool.observe(Broken()), bench.pool.observe(Witness())
    with caplog.at_level(logging.ERROR):
        result = await bench.run(both(), texts=["x"], q="y")
    assert result["answer"]
    assert broken.tried == 1
    assert witness.one(QueryEnded).error is None
    assert "Broken failed and is told no more" in caplog.text


@virtual
async def test_engines_of_one_name_are_told_apart(bench):
    """Two workflows may mean different engines by one name."""
    witness = bench.pool.observe(Witness())
    await bench.run(both(), texts=["x"], q="y")
    await bench.run(both(emb={"dimension": 8}), texts=["x"], q="y")
    first, second = [one.engine.name for one in witness.all(BatchEnded)]
    assert first == "emb"
    assert second.startswith("emb-")


@virtual
async def test_who_comes_late_sees_the_rest(bench):
    """A call that was sent before is not told, its end is no error."""
    async with bench.runner(both()) as runner:
        running = asyncio.ensure_future(runner.run(texts=["x"], q="y"))
        await pass_time(0.25)
        witness = bench.pool.observe(Witness())
        await running
    assert witness.all(CallEnded) == witness.all(BatchEnded) == []
    assert witness.one(QueryEnded).error is None


@virtual
async def test_an_engines_work_begins_when_the_engine_has_it(bench):
    """A primitive that waits behind another's batch has started when its own is sent."""
    source = plan(
        """
        input texts: list<text>
        %e.embed = embed texts=%inputs:texts {engine = emb} @e
        output vectors: list<embedding> = %e.embed:embeddings
        """,
        emb={"latency_ms": 1000},
    )
    async with bench.runner(source, share=False) as runner:
        first = asyncio.ensure_future(runner.run(texts=["x"]))
        await pass_time(0.25)
        results = await asyncio.gather(first, runner.run(texts=["y"]))
    entries = [result.timeline[0] for result in results]
    assert [(one.queued_s, one.started_s, one.ended_s) for one in entries] == [
        (0.0, 0.0, 1.0),
        (0.0, 0.75, 1.75),
    ]
