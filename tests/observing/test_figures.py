"""What engines tell of themselves reaches whoever observes them."""

import json
from dataclasses import replace

from teola.runtime.engines.protocol import Figure
from teola.runtime.observing.figure_reader import WAIT_S
from teola.runtime.observing.observations import CallEnded, FiguresTold
from teola.runtime.observing.opentelemetry import OpenTelemetrySpans
from teola.runtime.observing.perfetto import PerfettoTrace
from teola.runtime.observing.prometheus import PrometheusMetrics
from teola.runtime.observing.timeline import WorkLog
from teola.runtime.simulation.clock import pass_time
from tests.observing.test_opentelemetry import Memory
from tests.observing.test_prometheus import Scrape
from tests.observing.witness import TOKEN_MS, Witness, both
from tests.runtime.workbench import now, virtual

ABOUT = {
    "held_ratio": Figure("What is held"),
    "lost": Figure("What was lost", total=True),
    "absent": Figure("What this version does not have"),
}
INPUTS = {"texts": ["x"], "q": "y"}


class Telling:
    """Makes an LLM tell figures: of all that are asked for, those of ``values``."""

    def __init__(self, bench, **values):
        self.values, self.asked, self.error = values, [], None
        bench.prepared.append(self.prepare)

    def prepare(self, spy):
        if spy.kind != "llm":
            return
        began = spy.start

        async def start():
            return replace(await began(), figures=ABOUT)

        async def describe():
            self.asked.append(now())
            if self.error is not None:
                raise self.error
            return {"running": 0, **self.values}

        spy.start = start
        spy.control = lambda _command, _arguments: describe()


@virtual
async def test_figures_become_metrics(bench):
    """A total is a counter, another one a gauge; one that the engine does not have is none."""
    Telling(bench, held_ratio=0.25, lost=3)
    metrics = bench.pool.observe(PrometheusMetrics(bench.pool))
    await bench.run(both(), **INPUTS)
    await pass_time(2 * WAIT_S)
    found = Scrape(metrics)
    labels = {"engine": "llm", "replica": "1"}
    assert found.value("teola_engine_held_ratio", **labels) == 0.25
    assert found.value("teola_engine_lost_total", **labels) == 3
    families = {name: one for name, one in found.families.items() if name.endswith(tuple(ABOUT))}
    assert {one.type for one in families.values()} == {"gauge", "counter"}
    assert families["teola_engine_lost"].documentation == "What was lost"


@virtual
async def test_figures_are_read_when_work_changes_and_when_it_has_settled(bench):
    """At most once a second, and for the last time a second after the last change: an engine that
    rests is not asked."""
    telling, witness = Telling(bench, lost=1), bench.pool.observe(Witness())
    await bench.run(both(), **INPUTS)
    ended = now()
    await pass_time(100)
    assert ended + WAIT_S <= telling.asked[-1] <= ended + 2 * WAIT_S
    gaps = [later - one for one, later in zip(telling.asked, telling.asked[1:], strict=False)]
    assert all(gap >= WAIT_S for gap in gaps)
    assert [one.at_s for one in witness.all(FiguresTold)] == telling.asked
    assert dict(witness.all(FiguresTold)[-1].values) == {"lost": 1}


@virtual
async def test_nobody_asks_for_what_nobody_sees(bench):
    telling = Telling(bench, lost=1)
    await bench.run(both(), **INPUTS)
    await pass_time(100)
    assert telling.asked == []


@virtual
async def test_figures_that_cannot_be_read_disturb_nobody(bench, caplog):
    """That is logged, and they are read again with the next change."""
    telling, witness = Telling(bench, lost=1), bench.pool.observe(Witness())
    telling.error = ValueError("out of order")
    await bench.run(both(), **INPUTS)
    await pass_time(10)
    assert "the figures of an engine cannot be read: out of order" in caplog.text
    assert witness.all(FiguresTold) == []
    telling.error = None
    await bench.run(both(), **INPUTS)
    await pass_time(10)
    assert witness.all(FiguresTold)


@virtual
async def test_figures_are_counters_of_the_trace(bench):
    Telling(bench, held_ratio=0.5)
    trace = bench.pool.observe(PerfettoTrace())
    await bench.run(both(), **INPUTS)
    await pass_time(10)
    events = json.loads(trace.to_json())["traceEvents"]
    told = {json.dumps(one["args"]) for one in events if one["name"] == "held_ratio"}
    assert told == {'{"value": 0.5}'}


def waits(bench, seconds):
    """Let the LLM say that its calls have waited in it for so long."""

    def change(events):
        return [one._replace(waited_s=seconds) if one.finish_reason else one for one in events]

    bench.prepared.append(lambda spy: setattr(spy, "on_events", change))


@virtual
async def test_what_a_call_waited_in_its_engine_is_told(bench):
    """As a metric, in the trace, on its span; in the timeline that is no work."""
    step_s = TOKEN_MS / 1000
    waits(bench, step_s / 2)
    spans = Memory()
    log, witness = bench.pool.observe(WorkLog()), bench.pool.observe(Witness())
    metrics = bench.pool.observe(PrometheusMetrics(bench.pool))
    trace = bench.pool.observe(PerfettoTrace())
    bench.pool.observe(OpenTelemetrySpans(spans.provider))
    result = await bench.run(both(), **INPUTS)
    call = witness.one(CallEnded)
    assert call.waited_s == step_s / 2
    assert Scrape(metrics).value("teola_engine_queue_seconds_sum", engine="llm") == step_s / 2
    events = json.loads(trace.to_json())["traceEvents"]
    assert [one["args"]["waited_s"] for one in events if "waited_s" in one.get("args", ())] == [
        step_s / 2
    ]
    (span,) = spans.named("chat llm")
    assert span.attributes["teola.engine_queue_seconds"] == step_s / 2
    (row,) = [one for one in log.timeline(result).engines if one.name == "llm"]
    assert row.busy_s == call.ended_s - call.sent_s - step_s / 2
