"""Prometheus metrics of a pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from teola.runtime.observing.error_code import error_code
from teola.runtime.observing.extra import require
from teola.runtime.observing.observations import (
    BatchEnded,
    CallEnded,
    FiguresTold,
    Observation,
    QueryBegan,
    QueryEnded,
    QueryRefused,
)
from teola.runtime.observing.prometheus_figures import Figures

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from teola.runtime.pool_engine import PooledEngine

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""From a short batch to a long answer."""
ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Pool(Protocol):
    """The pool, as its metrics see it."""

    queries: int
    engines: dict[str, PooledEngine]


class PrometheusMetrics:
    """Metrics of a pool, in a registry of its own or in ``registry``.

    Labels have few values: engine, operation, workflow, error code. Counts of warm-ups and the load
    of engines are read when somebody asks; what engines tell of themselves is there as they told it
    last.

    Raises:
        ModelError: the package prometheus-client is not installed.
    """

    def __init__(self, pool: Pool, registry: CollectorRegistry | None = None) -> None:
        require("prometheus_client", "prometheus-client", "Prometheus metrics")
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.registry = registry = registry or CollectorRegistry()
        engine, batch = ("engine",), ("engine", "operation")

        def seconds(name: str, about: str, labels: tuple[str, ...]) -> Histogram:
            return Histogram(name, about, labels, buckets=SECONDS, registry=registry)

        def counter(name: str, about: str, labels: tuple[str, ...]) -> Counter:
            return Counter(name, about, labels, registry=registry)

        self._query = seconds("teola_query_seconds", "Queries that gave outputs", ("workflow",))
        self._errors = counter(
            "teola_errors", "Queries that ended with an error", ("workflow", "code")
        )
        self._queue = seconds("teola_queue_seconds", "From queued to sent to the engine", batch)
        self._items = Histogram(
            "teola_batch_items", "Items of a batch", batch, buckets=ITEMS, registry=registry
        )
        self._batch = seconds("teola_batch_seconds", "A batch on its engine", batch)
        self._call = seconds("teola_call_seconds", "An LLM call, from sent to its end", engine)
        self._first = seconds(
            "teola_time_to_first_token_seconds", "An LLM call, from queued to its token", engine
        )
        self._waited = seconds(
            "teola_engine_queue_seconds", "Of an LLM call, waiting within the engine", engine
        )
        self._prompt = counter("teola_prompt_tokens", "Prompt tokens of calls", engine)
        self._hits = counter(
            "teola_prefix_hit_tokens", "Of these, in the prefix cache when sent", engine
        )
        self._completion = counter("teola_completion_tokens", "Tokens that calls gave", engine)
        self._failures = counter(
            "teola_engine_failures", "Batches and calls with a failure", ("engine", "kind")
        )
        self._figures = Figures()
        registry.register(self._figures)
        registry.register(_State(pool))

    def see(self, event: Observation) -> None:
        """Count what happened."""
        match event:
            case QueryBegan():
                # A metric that is there from the start can be alerted on.
                self._query.labels(event.workflow)
            case QueryRefused():
                self._errors.labels(event.workflow, "overloaded").inc()
            case QueryEnded(error=None):
                self._query.labels(event.workflow).observe(event.ended_s - event.began_s)
            case QueryEnded(error=error) if error is not None:
                self._errors.labels(event.workflow, error_code(error)).inc()
            case BatchEnded():
                self._see_batch(event)
            case CallEnded(warm=False):
                self._see_call(event)
            case FiguresTold():
                self._figures.see(event)
            case _:
                pass

    def _see_batch(self, event: BatchEnded) -> None:
        labels = event.engine.name, event.operation
        queue = self._queue.labels(*labels)
        for part in event.parts:
            queue.observe(event.began_s - part.queued_s)
        self._items.labels(*labels).observe(event.items)
        self._batch.labels(*labels).observe(event.ended_s - event.began_s)
        if event.failure is not None:
            self._failures.labels(event.engine.name, event.failure).inc()

    def _see_call(self, event: CallEnded) -> None:
        name = event.engine.name
        self._queue.labels(name, "generate").observe(event.sent_s - event.queued_s)
        self._call.labels(name).observe(event.ended_s - event.sent_s)
        if event.first_token_s is not None:
            self._first.labels(name).observe(event.first_token_s - event.queued_s)
        if event.waited_s is not None:
            self._waited.labels(name).observe(event.waited_s)
        self._prompt.labels(name).inc(event.prompt_tokens)
        self._hits.labels(name).inc(event.cached_tokens)
        self._completion.labels(name).inc(event.completion_tokens)
        if event.failure is not None:
            self._failures.labels(name, event.failure).inc()

    def text(self) -> str:
        """All metrics in Prometheus' text format, as an endpoint ``/metrics`` would give them."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry).decode()


class _State:
    """What the pool counts anyway."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def collect(self) -> Iterable[Metric]:
        """The metrics of this moment."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        yield GaugeMetricFamily(
            "teola_queries_running", "Queries that run now", value=self.pool.queries
        )
        warm_ups = CounterMetricFamily(
            "teola_warm_ups", "Warm-ups by what became of them", labels=("engine", "outcome")
        )
        load = GaugeMetricFamily(
            "teola_tasks", "Tasks that wait or run now", labels=("engine", "state")
        )
        tokens = GaugeMetricFamily(
            "teola_kv_tokens", "KV tokens of the calls that run now", labels=("engine",)
        )
        for engine in self.pool.engines.values():
            name = engine.watch.facts.name
            for state, count in _load(engine).items():
                load.add_metric((name, state), count)
            if engine.kind == "llm":
                tokens.add_metric((name,), engine.calls.held)
                for outcome, count in _warm_ups(engine).items():
                    warm_ups.add_metric((name, outcome), count)
        yield from (warm_ups, load, tokens)


def _load(engine: PooledEngine) -> Mapping[str, int]:
    if engine.kind == "llm":
        return {"waiting": len(engine.calls.queue), "running": engine.calls.running}
    queues = engine.batches
    return {
        "waiting": sum(len(one.queue) for one in queues),
        "running": sum(one.running for one in queues),
    }


def _warm_ups(engine: PooledEngine) -> Mapping[str, int]:
    counts = engine.calls.warm_ups.counts
    return {
        "sent": counts.sent,
        "used": counts.used,
        "wasted": counts.wasted,
        "dropped": counts.dropped,
        "failed": counts.failed,
    }
