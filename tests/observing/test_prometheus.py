"""Prometheus metrics, as a scrape reads them."""

import asyncio
import sys

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from teola.runtime import ModelError, Overloaded
from teola.runtime.observing.prometheus import PrometheusMetrics
from teola.runtime.simulation.clock import pass_time
from tests.observing.witness import both
from tests.runtime.test_hints import INPUTS, asking
from tests.runtime.workbench import virtual

EMBED = {"engine": "emb", "operation": "embed"}


class Scrape:
    """What an endpoint would give."""

    def __init__(self, metrics):
        self.families = {one.name: one for one in text_string_to_metric_families(metrics.text())}

    def value(self, name, **labels):
        """A sample; 0 where there is none yet."""
        found = [
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        return found[0] if found else 0


def watch(bench):
    return bench.pool.observe(PrometheusMetrics(bench.pool))


@virtual
async def test_batches_are_counted_with_their_items_and_their_queueing(bench):
    """One batch of one item at once, one of two that waited three quarters of a second."""
    metrics = watch(bench)
    async with bench.runner(both(), share=False) as runner:
        first = asyncio.ensure_future(runner.run(texts=["x"], q="1"))
        await pass_time(0.25)
        await asyncio.gather(first, *(runner.run(texts=[q], q=q) for q in "23"))
    found = Scrape(metrics)
    assert found.value("teola_batch_items_count", **EMBED) == 2
    assert found.value("teola_batch_items_sum", **EMBED) == 3
    assert found.value("teola_batch_items_bucket", **EMBED, le="1.0") == 1
    assert found.value("teola_batch_seconds_sum", **EMBED) == 2.0
    assert found.value("teola_queue_seconds_count", **EMBED) == 3
    assert found.value("teola_queue_seconds_sum", **EMBED) == 1.5
    assert found.value("teola_query_seconds_count", workflow="t") == 3


@virtual
async def test_calls_are_counted_with_tokens_and_first_token(bench):
    """Time to first token counts from the moment the call is queued."""
    metrics = watch(bench)
    result = await bench.run(both(), texts=["x"], q="y")
    found = Scrape(metrics)
    assert found.value("teola_time_to_first_token_seconds_sum", engine="llm") == 0.5
    assert found.value("teola_call_seconds_count", engine="llm") == 1
    assert found.value("teola_prompt_tokens_total", engine="llm") == result.usage.prompt_tokens
    completion = found.value("teola_completion_tokens_total", engine="llm")
    assert completion == result.usage.completion_tokens


@virtual
async def test_warm_ups_are_counted_by_what_became_of_them(bench):
    """Used ones, and the prompt tokens that calls found in the prefix cache."""
    metrics = watch(bench)
    await bench.run(asking(), **INPUTS)
    found = Scrape(metrics)
    outcomes = {
        name: found.value("teola_warm_ups_total", engine="llm", outcome=name)
        for name in ("sent", "used", "wasted", "dropped", "failed")
    }
    assert outcomes == {"sent": 1, "used": 1, "wasted": 0, "dropped": 0, "failed": 0}
    hits = found.value("teola_prefix_hit_tokens_total", engine="llm")
    assert 0 < hits < found.value("teola_prompt_tokens_total", engine="llm")
    assert found.value("teola_call_seconds_count", engine="llm") == 1


@virtual
async def test_a_warm_up_whose_query_ends_before_its_call_is_wasted(bench):
    """Its passages are still being scored when the query is cancelled."""
    metrics = watch(bench)
    async with bench.runner(asking()) as runner:
        running = asyncio.ensure_future(runner.run(**INPUTS))
        await pass_time(0.5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        found = Scrape(metrics)
    outcomes = {
        name: found.value("teola_warm_ups_total", engine="llm", outcome=name)
        for name in ("sent", "used", "wasted")
    }
    assert outcomes == {"sent": 1, "used": 0, "wasted": 1}


@virtual
async def test_errors_are_counted_by_code(bench):
    """A failed item and a cancelled query; the engine's failure has its kind."""
    bench.prepared.append(lambda spy: spy.spoil(0) if spy.kind == "llm" else None)
    metrics = watch(bench)
    async with bench.runner(both()) as runner:
        with pytest.raises(Exception, match="spoilt"):
            await runner.run(texts=["x"], q="y")
        running = asyncio.ensure_future(runner.run(texts=["x"], q="z"))
        await pass_time(0.25)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    found = Scrape(metrics)
    assert found.value("teola_errors_total", workflow="t", code="item") == 1
    assert found.value("teola_errors_total", workflow="t", code="cancelled") == 1
    assert found.value("teola_engine_failures_total", engine="llm", kind="item") == 1
    assert found.value("teola_query_seconds_count", workflow="t") == 0


@virtual
async def test_the_load_is_that_of_the_moment(bench):
    """Gauges are read from the pool when somebody asks."""
    metrics = watch(bench)
    async with bench.runner(both(llm={"latency_ms": 500, "max_requests": 1})) as runner:
        queries = [asyncio.ensure_future(runner.run(texts=[q], q=q)) for q in "12"]
        await pass_time(0.25)
        during = Scrape(metrics)
        await asyncio.gather(*queries)
    after = Scrape(metrics)
    for name, labels, count in (
        ("teola_queries_running", {}, 2),
        ("teola_tasks", {"engine": "emb", "state": "running"}, 2),
        ("teola_tasks", {"engine": "llm", "state": "running"}, 1),
        ("teola_tasks", {"engine": "llm", "state": "waiting"}, 1),
    ):
        found = (during.value(name, **labels), after.value(name, **labels))
        assert found == (count, 0), (name, labels)
    assert during.value("teola_kv_tokens", engine="llm") > 64
    assert after.value("teola_kv_tokens", engine="llm") == 0


@virtual
async def test_every_metric_says_what_it_is(bench):
    """Names begin with the program's and end with the unit; all have a description."""
    metrics = watch(bench)
    await bench.run(both(), texts=["x"], q="y")
    for family in Scrape(metrics).families.values():
        assert family.name.startswith("teola_")
        assert family.documentation, family.name
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_items")), family.name


@virtual
async def test_a_registry_of_ones_own_can_be_used(bench):
    """A server puts these metrics beside its others; two pools do not meet otherwise."""
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(bench.pool, registry)
    assert metrics.registry is registry
    assert PrometheusMetrics(bench.pool).registry is not PrometheusMetrics(bench.pool).registry


@virtual
async def test_a_missing_package_is_named_with_its_extra(bench, monkeypatch):
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ModelError, match=r"pip install 'teola\[telemetry\]'"):
        PrometheusMetrics(bench.pool)


@virtual(max_queries=1)
async def test_refused_queries_are_counted(bench):
    """As errors with a code of their own."""
    metrics = watch(bench)
    async with bench.runner(both()) as runner:
        first = asyncio.ensure_future(runner.run(texts=["x"], q="1"))
        await pass_time(0)
        with pytest.raises(Overloaded):
            await runner.run(texts=["x"], q="2")
        await first
    assert Scrape(metrics).value("teola_errors_total", workflow="t", code="overloaded") == 1
