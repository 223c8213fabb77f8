"""The chart of a run: what waited, what worked, and what was predicted."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.cli.gantt import ASCII_MARKS, MARKS, Paper, gantt
from teola.runtime.observing.busy_time import BusyTime
from teola.runtime.observing.timeline import Interval, Row, Timeline, WorkLog
from teola.runtime.result import RunResult
from teola.runtime.simulation.clock import pass_time
from tests.observing.witness import both
from tests.runtime.test_hints import INPUTS, asking
from tests.runtime.test_regions import each
from tests.runtime.workbench import virtual


async def second_of_two(bench):
    """The timeline of a query that comes a quarter of a second after another one."""
    log = bench.pool.observe(WorkLog())
    async with bench.runner(both(llm={"latency_ms": 1500}), share=False) as runner:
        first = asyncio.ensure_future(runner.run(texts=["x"], q="1"))
        await pass_time(0.25)
        _, result = await asyncio.gather(first, runner.run(texts=["y"], q="2"))
    return log.timeline(result), result


@virtual
async def test_waiting_for_an_engine_is_not_work(bench):
    """The other query's batch is the engine's work, not this query's."""
    timeline, _ = await second_of_two(bench)
    (embed,) = timeline.modules["e"]
    assert embed.intervals[:2] == (
        Interval(0.0, 0.75, "waits"),
        Interval(0.75, 1.75, "works"),
    )
    (engine,) = [row for row in timeline.engines if row.name == "emb"]
    assert [one for one in engine.intervals if one.state == "works"] == [
        Interval(0.0, 0.75, "works"),
        Interval(0.75, 1.75, "works"),
    ]


@virtual
async def test_the_chart_can_be_read_at_eighty_columns(bench):
    """A line for each module and engine; marks need no colours."""
    timeline, result = await second_of_two(bench)
    chart = gantt(timeline, result.predicted())
    assert max(map(len, chart.split("\n"))) <= 80
    lines = {line.split()[0]: line for line in chart.split("\n") if line.strip()}
    embed, calls = lines["e"], lines["a"]
    assert embed.count("·") >= 5 <= embed.count("█")
    assert embed.index("·") < embed.index("█")
    assert calls.count("·") == 0
    assert "1.75" in embed
    assert lines["emb"].count("█") > embed.count("█")
    assert lines["emb"].endswith("%")
    assert "waits for its engine" in chart


@virtual
async def test_a_plain_terminal_gets_plain_characters(bench):
    """Nothing beyond ASCII, and the same chart."""
    timeline, _ = await second_of_two(bench)
    fine, plain = gantt(timeline), gantt(timeline, paper=Paper(ascii_only=True))
    assert plain.isascii()
    marks = {ord(mark): ASCII_MARKS[state] for state, mark in MARKS.items()}
    assert fine.translate(marks) == plain


@virtual
async def test_warm_ups_look_different(bench):
    """What is computed early is told apart from the call itself, and explained below."""
    log = bench.pool.observe(WorkLog())
    result = await bench.run(asking(), **INPUTS)
    for chart in (gantt(log.timeline(result)), gantt(WorkLog().timeline(result))):
        (early,) = [line for line in chart.split("\n") if line.strip().startswith("early")]
        assert "▒" in early
        assert "█" not in early
        assert "computes the beginning of a prompt early" in chart


@virtual
async def test_a_result_alone_gives_a_chart(bench):
    """Without anybody who watched, from its own timeline."""
    result = await bench.run(both(), texts=["x"], q="y")
    timeline = WorkLog().timeline(result)
    (embed,) = timeline.modules["e"]
    assert embed.busy_s == 1.0
    assert timeline.engines == []
    assert "engines" not in gantt(timeline)


@virtual
async def test_engines_that_start_are_shown(bench):
    """The chart and the time that they took."""
    bench.prepared.append(lambda spy: setattr(spy, "start_s", 2.0))
    log = bench.pool.observe(WorkLog())
    result = await bench.run(both(), texts=["x"], q="y")
    timeline = log.timeline(result)
    assert timeline.ready_s == 2.0
    (embed,) = timeline.modules["e"]
    assert Interval(0.0, 2.0, "waits") in embed.intervals
    assert "engine starts" in gantt(timeline)


@virtual
async def test_what_was_there_before_is_called_shared(bench):
    """A collection that an earlier query made."""
    log = bench.pool.observe(WorkLog())
    async with bench.runner(both()) as runner:
        first = await runner.run(texts=["x"], q="1")
        await pass_time(5)
        again = asyncio.ensure_future(runner.run(texts=["x"], q="2"))
        result = await again
    assert "shared" not in gantt(log.timeline(first))
    timeline = log.timeline(result)
    assert timeline.total_s > 0


@virtual
async def test_forgetting_queries_changes_no_other_timeline(bench):
    """Work is kept while a query runs that may have waited for it, and then let go."""
    whole, short = bench.pool.observe(WorkLog()), bench.pool.observe(WorkLog())
    source = both(emb={"latency_ms": 1000, "batch_size": 2})

    async def row(runner, number):
        await pass_time(number % 5)
        result = await runner.run(texts=list("abc"), q=str(number))
        assert short.timeline(result) == whole.timeline(result)
        short.forget(result.run_id)

    async with bench.runner(source, share=False) as runner:
        await asyncio.gather(*(row(runner, number) for number in range(12)))
    assert len(whole.work) > 20
    assert (len(short.work), short.began) == (0, {})


@virtual
async def test_busy_time_counts_each_moment_once(bench):
    """Of an engine with replicas those in which any of them works; gaps count for none."""
    busy = bench.pool.observe(BusyTime())
    source = both(emb={"latency_ms": 1000, "batch_size": 1, "replicas": 2})
    async with bench.runner(source, share=False) as runner:
        await runner.run(texts=list("abc"), q="1")
        await pass_time(100)
        await runner.run(texts=["d"], q="2")
    calls = bench.spy("llm").submitted
    assert busy.seconds()["emb"] == pytest.approx(2 + 1)
    assert 0 < busy.seconds()["llm"] < 100
    assert len(calls) == 2


@virtual
async def test_regions_stand_in_their_bodies(bench):
    """Instances of a primitive share a line that counts them."""
    log = bench.pool.observe(WorkLog())
    result = await bench.run(each(), xs=["a", "b", "c"], q="q")
    rows = {row.name: row for rows in log.timeline(result).modules.values() for row in rows}
    assert set(rows) == {"r.ask.decode"}
    assert rows["r.ask.decode"].count == 3
    assert len(rows["r.ask.decode"].intervals) == 3 * 3


@virtual
async def test_the_prediction_stands_beside_what_was_measured(bench):
    """In total, for modules and primitives, in milliseconds; made when it is asked for."""
    result = await bench.run(both(), texts=["x"], q="y")
    found = result.predicted()
    assert set(found.modules) == {"a", "e"}
    assert set(found.primitives) == {"a.decode", "e.embed"}
    assert found.primitives["e.embed"].measured_ms == pytest.approx(1000)
    assert found.primitives["e.embed"].predicted_ms > 0
    assert found.total.measured_ms == max(one.measured_ms for one in found.modules.values())


def test_a_result_without_a_plan_cannot_be_predicted():
    """As one that was made by hand."""
    with pytest.raises(ValueError, match="needs the plan"):
        RunResult({}, "r").predicted()


STATES = st.sampled_from(("starts", "waits", "warms", "works"))
INTERVALS = st.builds(
    lambda begin, length, state: Interval(begin, begin + length, state),
    st.floats(-10, 100),
    st.floats(0, 100),
    STATES,
)


@given(
    st.floats(0, 1000),
    st.dictionaries(st.text("abé.", min_size=1), st.lists(INTERVALS, min_size=1, max_size=5)),
    st.integers(40, 200),
)
def test_any_timeline_can_be_drawn(total_s, modules, width):
    """Whatever ran, each line fits, and each module has one."""
    rows = {
        name: [Row(f"{name}.{n}", (one,), "llm") for n, one in enumerate(intervals)]
        for name, intervals in modules.items()
    }
    chart = gantt(Timeline(total_s, rows, [Row("llm", ())]), paper=Paper(width))
    lines = chart.split("\n")
    assert max(map(len, lines)) <= max(width, 80)
    assert len(lines) >= len(modules)
