"""OpenTelemetry spans, in the SDK's own memory exporter, and at a collector on this machine."""

import asyncio
import sys
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from teola.runtime import EnginePool, ModelError, Runner
from teola.runtime.observing import otlp
from teola.runtime.observing.opentelemetry import OpenTelemetrySpans
from teola.runtime.simulation.clock import pass_time
from tests.observing.witness import both
from tests.runtime.test_hints import INPUTS, asking
from tests.runtime.workbench import virtual


class Memory:
    """A tracer provider that keeps its spans."""

    def __init__(self):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def named(self, name):
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def tree(self):
        """Name -> names of its children, sorted."""
        spans = {span.context.span_id: span for span in self.exporter.get_finished_spans()}
        children = defaultdict(list)
        for span in spans.values():
            above = spans[span.parent.span_id].name if span.parent else None
            children[above].append(span.name)
        return {name: sorted(found) for name, found in children.items()}


def seconds(span):
    return (span.end_time - span.start_time) / 1e9


@virtual
async def test_spans_are_query_module_primitive_and_batch(bench):
    """Each is a child of the one above, and everything has ended."""
    memory = Memory()
    bench.pool.observe(OpenTelemetrySpans(memory.provider))
    await bench.run(both(), texts=["x"], q="y")
    assert memory.tree() == {
        None: ["invoke_workflow t"],
        "invoke_workflow t": ["module a", "module e"],
        "module a": ["a.decode"],
        "module e": ["e.embed"],
        "a.decode": ["chat llm"],
        "e.embed": ["batch embed"],
    }


@virtual
async def test_times_are_those_of_the_work(bench):
    """The loop's clock is turned into time since 1970."""
    memory = Memory()
    bench.pool.observe(OpenTelemetrySpans(memory.provider))
    before = time.time()
    result = await bench.run(both(), texts=["x"], q="y")
    (query,), (batch,) = memory.named("invoke_workflow t"), memory.named("batch embed")
    total_s = max(entry.ended_s for entry in result.timeline)
    assert seconds(query) == pytest.approx(total_s)
    assert seconds(batch) == pytest.approx(1.0)
    assert before - 1 < query.start_time / 1e9 < time.time() + 1


@virtual
async def test_a_call_has_the_names_of_the_conventions(bench):
    """Semantic conventions for generative AI, as other tools know them."""
    memory = Memory()
    bench.pool.observe(OpenTelemetrySpans(memory.provider))
    result = await bench.run(both(), texts=["x"], q="y")
    (call,) = memory.named("chat llm")
    assert call.kind is SpanKind.CLIENT
    assert dict(call.attributes) == {
        "teola.engine": "llm",
        "gen_ai.provider.name": "fake",
        "gen_ai.operation.name": "chat",
        "gen_ai.usage.input_tokens": result.usage.prompt_tokens,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.output_tokens": result.usage.completion_tokens,
        "gen_ai.response.time_to_first_chunk": 0.5,
        "teola.queue_seconds": 0.0,
        "teola.finish_reason": "stop",
    }
    (query,) = memory.named("invoke_workflow t")
    assert query.attributes["gen_ai.workflow.name"] == "t"
    assert query.attributes["teola.run_id"] == result.run_id


@virtual
async def test_a_batch_is_linked_to_all_whom_it_serves(bench):
    """It stands below its first primitive; each other one has a child that leads to it."""
    memory = Memory()
    bench.pool.observe(OpenTelemetrySpans(memory.provider))
    async with bench.runner(both(), share=False) as runner:
        first = asyncio.ensure_future(runner.run(texts=["x"], q="1"))
        await pass_time(0.25)
        await asyncio.gather(first, *(runner.run(texts=[q], q=q) for q in "23"))
    primitives = {span.context.span_id: span for span in memory.named("e.embed")}
    _, *both_shared = memory.named("batch embed")
    (shared,) = [span for span in both_shared if "teola.shared" not in span.attributes]
    (also,) = [span for span in both_shared if "teola.shared" in span.attributes]
    assert shared.attributes["teola.batch.tasks"] == 2
    assert [link.context.span_id for link in shared.links] == [also.parent.span_id]
    assert [link.context.span_id for link in also.links] == [shared.context.span_id]
    assert {shared.parent.span_id, also.parent.span_id} < set(primitives)
    assert shared.context.trace_id != also.context.trace_id


@virtual
async def test_a_warm_up_is_a_child_of_its_hint(bench):
    """It is told apart from calls."""
    memory = Memory()
    bench.pool.observe(OpenTelemetrySpans(memory.provider))
    await bench.run(asking(), **INPUTS)
    assert memory.tree()["a.early"] == ["warm-up llm"]
    (warm_up,), (call,) = memory.named("warm-up llm"), memory.named("chat llm")
    assert warm_up.attributes["teola.warm_up"] is True
    assert call.attributes["gen_ai.usage.cache_read.input_tokens"] > 0


@virtual
async def test_work_that_had_begun_for_another_query_is_told_too(bench):
    """Who joins it half a second later has a span of all of it."""
    memory = Memory()
    bench.pool.observe(OpenTelemetrySpans(memory.provider))
    async with bench.runner(both()) as runner:
        first = asyncio.ensure_future(runner.run(texts=["x"], q="1"))
        await pass_time(0.5)
        await asyncio.gather(first, runner.run(texts=["x"], q="2"))
    one, two = memory.named("e.embed")
    assert one.context.trace_id != two.context.trace_id
    assert (one.start_time, one.end_time) == (two.start_time, two.end_time)


@virtual
async def test_the_callers_span_is_the_parent(bench):
    """A server that traces its requests finds the queries below them."""
    memory = Memory()
    bench.pool.observe(OpenTelemetrySpans(memory.provider))
    with memory.provider.get_tracer("server").start_as_current_span("request"):
        await bench.run(both(), texts=["x"], q="y")
    assert memory.tree()["request"] == ["invoke_workflow t"]


@virtual
async def test_errors_are_on_the_spans(bench):
    """The query's has its code and message; what was cancelled is no error."""
    bench.prepared.append(lambda spy: spy.spoil(0) if spy.kind == "llm" else None)
    memory = Memory()
    bench.pool.observe(OpenTelemetrySpans(memory.provider))
    with pytest.raises(Exception, match="spoilt"):
        await bench.run(both(), texts=["x"], q="y")
    (query,), (embed,) = memory.named("invoke_workflow t"), memory.named("e.embed")
    assert query.status.status_code is StatusCode.ERROR
    assert query.attributes["error.type"] == "item"
    assert "spoilt" in query.status.description
    assert embed.status.status_code is StatusCode.UNSET
    assert embed.attributes["teola.outcome"] == "cancelled"
    (call,) = memory.named("chat llm")
    assert call.attributes["error.type"] == "item"


@virtual
async def test_nothing_is_kept_of_queries_that_have_ended(bench):
    """A server may watch for years."""
    spans = bench.pool.observe(OpenTelemetrySpans(Memory().provider))
    await bench.run(both(), texts=["x"], q="y")
    assert spans._queries == {}


@pytest.mark.parametrize(
    ("missing", "make"),
    [
        ("opentelemetry.trace", OpenTelemetrySpans),
        ("opentelemetry.sdk.trace.export", otlp.collected_spans),
    ],
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, missing, make):
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModelError, match=r"pip install 'teola\[telemetry\]'"):
        make()


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False),
    ],
)
def test_the_environment_says_whether_spans_are_sent(monkeypatch, variables, wanted):
    """OpenTelemetry's own variables; gRPC is not spoken."""
    for name in (*otlp.ENDPOINTS, *otlp.PROTOCOLS, "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert otlp.wanted() is wanted


@pytest.fixture
def collector(monkeypatch):
    """A collector on a free port of this machine: the requests it got."""
    got = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        yield got
        server.shutdown()
        thread.join()


def test_spans_reach_a_collector(collector):
    """By OTLP over HTTP, under the service's name, when the observer is ended."""

    async def main():
        async with EnginePool() as pool:
            spans, end = otlp.collected_spans()
            pool.observe(spans)
            async with Runner(both(emb={}, llm={}), pool=pool) as runner:
                await runner.run(texts=["x"], q="y")
            await asyncio.to_thread(end)

    asyncio.run(main())
    (path, request), *more = collector
    assert (path, more) == ("/v1/traces", [])
    (resource,) = request.resource_spans
    facts = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert facts["service.name"] == "teola"
    names = {span.name for scope in resource.scope_spans for span in scope.spans}
    assert {"invoke_workflow t", "module e", "e.embed", "batch embed", "chat llm"} <= names
