"""The trace file: Perfetto itself reads it without an error, and finds what happened."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime import EnginePool, Runner
from teola.runtime.observing.lanes import lanes
from teola.runtime.observing.perfetto import PerfettoTrace
from teola.runtime.simulation.clock import pass_time, run_virtually
from tests.observing.witness import both
from tests.runtime.test_hints import INPUTS, asking
from tests.runtime.test_regions import each
from tests.runtime.workbench import virtual

MICRO = 1_000_000
FAKES = [
    f"engines.{name}={{kind: {name}, backend: fake}}"
    for name in ("llm", "embedder", "reranker", "store")
]

PROBLEMS = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"
LOST = "select value from stats where name like 'flow%' and value > 0"
SLICES = """
    select process.name as process, thread.name as thread, slice.name, slice.ts, slice.dur,
        slice.depth
    from slice join thread_track on slice.track_id = thread_track.id
    join thread using (utid) join process using (upid) order by slice.ts, slice.depth, slice.id
"""
ARROWS = """
    select source.name as source, target.name as target, count(*) as count
    from flow join slice source on flow.slice_out = source.id
    join slice target on flow.slice_in = target.id group by 1, 2 order by 1, 2
"""
COUNTERS = """
    select process.name as process, track.name, max(value) as most, min(value) as least
    from counter join process_counter_track track on counter.track_id = track.id
    join process using (upid) group by track.id order by 1, 2
"""


async def three_queries(bench):
    """One query alone; two that come meanwhile share the embedder's next batch."""
    trace = bench.pool.observe(PerfettoTrace())
    async with bench.runner(both(), share=False) as runner:
        first = asyncio.ensure_future(runner.run(texts=["x"], q="1"))
        await pass_time(0.25)
        results = await asyncio.gather(first, *(runner.run(texts=[q], q=q) for q in "23"))
    return trace.to_json(), results


@pytest.mark.perfetto
@virtual
async def test_perfetto_reads_every_slice_and_arrow(bench, ask_perfetto):
    """No slice is dropped, no arrow is lost; times, threads and targets are those of the run."""
    text, results = await three_queries(bench)
    problems, lost, slices, arrows, counters = ask_perfetto(
        text, PROBLEMS, LOST, SLICES, ARROWS, COUNTERS
    )
    assert problems == lost == []
    second = [one for one in slices if one["process"] == f"t {results[1].run_id[:8]}"]
    embed = [one for one in second if one["thread"] == "e"]
    assert [(one["name"], one["ts"] / 1e9, one["dur"] / 1e9) for one in embed] == [
        ("e", 0.25, 1.75),
        ("e.embed waits", 0.25, 0.75),
        ("e.embed", 1.0, 1.0),
    ]
    batches = [one for one in slices if one["process"] == "engine emb (fake)"]
    assert {(one["thread"], one["name"], one["ts"] / 1e9) for one in batches} == {
        ("start", "start", 0.0),
        ("batches", "embed 1", 0.0),
        ("batches", "embed 2", 1.0),
    }
    assert {(one["source"], one["target"], one["count"]) for one in arrows} == {
        ("e.embed", "embed 1", 1),
        ("e.embed", "embed 2", 2),
        ("a.decode", "a.decode", 3),
    }
    most = {(one["process"], one["name"]): one["most"] for one in counters}
    assert most["engine llm (fake)", "tasks running"] == 3
    assert most["engine llm (fake)", "KV tokens"] > 3 * 64
    assert all(one["least"] == 0 for one in counters)


@pytest.mark.perfetto
def test_perfetto_reads_a_packaged_workflow(ask_perfetto):
    """Regions, streams, groups, shared work and warm-ups, with the clock of the machine."""

    async def main():
        async with EnginePool() as pool:
            trace = pool.observe(PerfettoTrace())
            async with Runner("advanced_rag", pool=pool, sets=FAKES) as runner:
                await asyncio.gather(*(runner.run(question=q) for q in ("Why?", "How?", "When?")))
            return trace.to_json()

    text = asyncio.run(main())
    problems, lost, slices, arrows = ask_perfetto(text, PROBLEMS, LOST, SLICES, ARROWS)
    assert problems == lost == []
    told = [event for event in json.loads(text)["traceEvents"] if event["ph"] in "Xi"]
    assert len(slices) == len(told)
    served = {one["source"] for one in arrows}
    assert {"expand.decode", "indexed.embed", "indexed.ingest", "answer.refine.decode"} <= served
    starts = sum(event["ph"] == "s" for event in json.loads(text)["traceEvents"])
    assert sum(one["count"] for one in arrows) == starts


@virtual
async def test_warm_ups_have_a_thread_of_their_own(bench):
    """They are not taken for calls."""
    trace = bench.pool.observe(PerfettoTrace())
    await bench.run(asking(), **INPUTS)
    events = json.loads(trace.to_json())["traceEvents"]
    names = {
        (one["pid"], one["tid"]): one["args"]["name"]
        for one in events
        if one["name"] == "thread_name"
    }
    work = {
        names[one["pid"], one["tid"]]: one["name"]
        for one in events
        if one["ph"] == "X" and names[one["pid"], one["tid"]] in ("calls", "warm-ups")
    }
    assert work == {"calls": "a.decode", "warm-ups": "warm-up"}


@virtual
async def test_a_failed_query_is_in_the_trace(bench):
    """With its error; the trace is most wanted then."""
    bench.prepared.append(lambda spy: spy.spoil(0) if spy.kind == "llm" else None)
    trace = bench.pool.observe(PerfettoTrace())
    with pytest.raises(Exception, match="spoilt"):
        await bench.run(both(), texts=["x"], q="y")
    events = json.loads(trace.to_json())["traceEvents"]
    (query,) = [one for one in events if one["ph"] == "X" and one["name"] == "t"]
    assert "spoilt" in query["args"]["error"]
    (embed,) = [one for one in events if one["name"] == "e.embed"]
    assert embed["args"]["outcome"] == "cancelled"


@virtual
async def test_slices_of_a_thread_lie_within_each_other_or_apart(bench):
    """As the format asks: what only overlaps would be dropped."""
    text, _ = await three_queries(bench)
    threads = {}
    for one in json.loads(text)["traceEvents"]:
        if one["ph"] == "X":
            spans = threads.setdefault((one["pid"], one["tid"]), [])
            spans.append((one["ts"], one["ts"] + one["dur"]))
    for spans in threads.values():
        for begin, end in spans:
            for other_begin, other_end in spans:
                within = begin <= other_begin and other_end <= end
                around = other_begin <= begin and end <= other_end
                assert within or around or end <= other_begin or other_end <= begin


@virtual
async def test_work_of_one_moment_has_lanes(bench):
    """Instances that begin and end together stand below each other."""
    trace = bench.pool.observe(PerfettoTrace())
    await bench.run(each(), xs=["a", "b", "c"], q="q")
    slices = [one for one in json.loads(trace.to_json())["traceEvents"] if one["ph"] == "X"]
    calls = [one for one in slices if one["name"] == "r.ask.decode" and one["pid"] >= 1000]
    assert len({(one["ts"], one["dur"]) for one in calls}) == 1
    assert len({one["tid"] for one in calls}) == 3


@virtual
async def test_what_has_been_told_is_not_kept(bench):
    """Of queries that have ended nothing is; what has come of one that runs can be asked for."""
    told = []
    trace = bench.pool.observe(PerfettoTrace(told.append))
    async with bench.runner(both(), share=False) as runner:
        running = asyncio.ensure_future(runner.run(texts=["x"], q="1"))
        await pass_time(1.25)
        assert "e.embed" in {one["name"] for one in trace.unfinished()}
        assert "e.embed" not in {one["name"] for one in told}
        await running
    assert list(trace.unfinished()) == []
    assert (trace._queries, trace._events) == ({}, [])
    assert {"e.embed", "t"} <= {one["name"] for one in told}


@virtual
async def test_a_trace_that_comes_late_has_what_it_saw(bench):
    """The query that runs already is told with its end."""
    async with bench.runner(both(), share=False) as runner:
        running = asyncio.ensure_future(runner.run(texts=["x"], q="1"))
        await pass_time(0.5)
        trace = bench.pool.observe(PerfettoTrace())
        result = await running
    events = json.loads(trace.to_json())["traceEvents"]
    names = [one["args"]["name"] for one in events if one["name"] == "process_name"]
    assert f"t {result.run_id[:8]}" in names


def test_an_empty_trace_is_a_trace():
    """A pool that did nothing."""
    assert json.loads(PerfettoTrace().to_json())["traceEvents"] == []


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=40))
def test_lanes_hold_what_does_not_overlap(spans):
    """Nothing is lost, nothing in a lane overlaps, and there are no more lanes than needed."""
    given_slices = [(begin, begin + length, n) for n, (begin, length) in enumerate(spans)]
    placed = list(lanes(given_slices))
    assert sorted(one[3] for one in placed) == list(range(len(spans)))
    by_lane = {}
    for lane, begin, end, _ in placed:
        assert begin >= by_lane.get(lane, 0)
        by_lane[lane] = max(end, begin + 1)
    most = max(
        (sum(b <= at < max(e, b + 1) for b, e, _ in given_slices) for at in range(75)), default=0
    )
    assert len(by_lane) == most


def test_engines_that_start_before_the_first_query_are_before_it():
    """As long as they were."""

    async def main():
        async with EnginePool() as pool:
            trace = pool.observe(PerfettoTrace())
            await pass_time(100)
            async with Runner(both(), pool=pool) as runner:
                await pass_time(7)
                await runner.run(texts=["x"], q="y")
            return trace.to_json()

    events = json.loads(run_virtually(main()))["traceEvents"]
    begins = {one["name"]: one["ts"] for one in events if one["ph"] == "X"}
    assert begins["t"] - begins["start"] == 7 * MICRO
