"""OpenTelemetry spans: query > module > primitive > batch or call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from teola.compiler.version import VERSION
from teola.runtime.observing.error_code import error_code
from teola.runtime.observing.extra import require
from teola.runtime.observing.observations import (
    BatchEnded,
    CallEnded,
    EngineFacts,
    Observation,
    PrimitiveBegan,
    PrimitiveEnded,
    PrimitiveKey,
    QueryBegan,
    QueryEnded,
)

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

Attributes: TypeAlias = Mapping[str, str | int | float | bool | None]


@dataclass
class _OpenModule:
    span: Span
    ended_s: float


@dataclass
class _OpenQuery:
    span: Span
    modules: dict[str, _OpenModule] = field(default_factory=dict)
    primitives: dict[PrimitiveKey, Span] = field(default_factory=dict)


class OpenTelemetrySpans:
    """Makes spans of what a pool does, with the tracer provider that is given or set globally.

    A query's span is a child of the one that was current where it was begun. A batch works for
    primitives of many queries: it is a child of its first primitive and linked to the others; each
    of these has a child of its own, which is linked to the batch. Names of attributes follow the
    semantic conventions for generative AI, ``teola.*`` where there are none.

    Raises:
        ModelError: the package opentelemetry-api is not installed.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        require("opentelemetry.trace", "opentelemetry-api", "OpenTelemetry spans")
        from opentelemetry import trace

        self._trace = trace
        self._tracer = trace.get_tracer("teola", VERSION, provider)
        self._queries: dict[str, _OpenQuery] = {}
        self._epoch_ns: int | None = None

    def see(self, event: Observation) -> None:
        """Begin or end spans."""
        match event:
            case QueryBegan():
                self._query_began(event)
            case PrimitiveBegan():
                self._primitive_began(event)
            case BatchEnded():
                self._batch(event)
            case CallEnded():
                self._call(event)
            case PrimitiveEnded():
                self._primitive_ended(event)
            case QueryEnded():
                self._query_ended(event)
            case _:
                pass

    def _ns(self, seconds: float) -> int:
        """The loop's clock as time since 1970."""
        if self._epoch_ns is None:
            self._epoch_ns = time.time_ns() - round(1e9 * asyncio.get_running_loop().time())
        return self._epoch_ns + round(1e9 * seconds)

    def _start(
        self,
        name: str,
        parent: Span | None,
        began_s: float,
        attributes: Attributes,
        links: Iterable[Span] = (),
        *,
        client: bool = False,
    ) -> Span:
        trace = self._trace
        return self._tracer.start_span(
            name,
            context=None if parent is None else trace.set_span_in_context(parent),
            kind=trace.SpanKind.CLIENT if client else trace.SpanKind.INTERNAL,
            attributes={key: value for key, value in attributes.items() if value is not None},
            links=[trace.Link(one.get_span_context()) for one in links],
            start_time=self._ns(began_s),
        )

    def _end(self, span: Span, ended_s: float, error: str | None = None, message: str = "") -> None:
        if error is not None:
            span.set_attribute("error.type", error)
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, message or error))
        span.end(self._ns(ended_s))

    def _query_began(self, event: QueryBegan) -> None:
        facts = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": event.workflow,
            "teola.run_id": event.run_id,
        }
        span = self._start(f"invoke_workflow {event.workflow}", None, event.at_s, facts)
        self._queries[event.run_id] = _OpenQuery(span)

    def _primitive_began(self, event: PrimitiveBegan) -> None:
        if (query := self._queries.get(event.key.run_id)) is None:
            return
        module = query.modules.get(event.module)
        if module is None:
            facts = {"teola.module": event.module}
            span = self._start(f"module {event.module}", query.span, event.at_s, facts)
            module = query.modules[event.module] = _OpenModule(span, event.at_s)
        query.primitives[event.key] = self._start(
            event.key.primitive,
            module.span,
            event.at_s,
            {
                "teola.module": event.module,
                "teola.primitive": event.key.primitive,
                "teola.path": "/".join(event.key.path) or None,
                "teola.engine": event.engine,
            },
        )

    def _primitive_ended(self, event: PrimitiveEnded) -> None:
        query, entry = self._queries.get(event.key.run_id), event.entry
        if query is None:
            return
        if event.key not in query.primitives:  # begun for another query, before this one came
            queued_s = event.query_began_s + entry.queued_s
            self._primitive_began(PrimitiveBegan(event.key, entry.module, entry.engine, queued_s))
        span = query.primitives.pop(event.key)
        ended_s = event.query_began_s + entry.ended_s
        module = query.modules[entry.module]
        module.ended_s = max(module.ended_s, ended_s)
        span.set_attributes(
            {
                "teola.items": entry.items,
                "teola.queue_seconds": round(entry.started_s - entry.queued_s, 6),
                "teola.outcome": event.outcome,
            }
        )
        self._end(span, ended_s, "failed" if event.outcome == "failed" else None)

    def _query_ended(self, event: QueryEnded) -> None:
        if (query := self._queries.pop(event.run_id, None)) is None:
            return
        for span in query.primitives.values():
            self._end(span, event.ended_s)
        for module in query.modules.values():
            self._end(module.span, event.ended_s if query.primitives else module.ended_s)
        error = event.error
        code = None if error is None else error_code(error)
        self._end(query.span, event.ended_s, code, str(error))

    def _batch(self, event: BatchEnded) -> None:
        name = "embeddings" if event.operation == "embed" else None
        facts: Attributes = {
            **_engine(event.engine),
            "gen_ai.operation.name": name,
            "teola.operation": event.operation,
            "teola.batch.items": event.items,
            "teola.batch.tasks": len(event.parts),
        }
        keys = dict.fromkeys(key for part in event.parts for key in part.keys)
        self._shared(f"batch {event.operation}", keys, event, event.began_s, facts)

    def _call(self, event: CallEnded) -> None:
        first_s = event.first_token_s
        facts: Attributes = {
            **_engine(event.engine),
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": event.prompt_tokens,
            "gen_ai.usage.cache_read.input_tokens": event.cached_tokens,
            "gen_ai.usage.output_tokens": event.completion_tokens,
            "gen_ai.response.time_to_first_chunk": first_s and round(first_s - event.queued_s, 6),
            "teola.queue_seconds": round(event.sent_s - event.queued_s, 6),
            "teola.engine_queue_seconds": event.waited_s and round(event.waited_s, 6),
            "teola.finish_reason": event.finish_reason,
            "teola.warm_up": event.warm or None,
        }
        kind = "warm-up" if event.warm else "chat"
        name = f"{kind} {event.engine.model or event.engine.name}"
        self._shared(name, event.keys, event, event.sent_s, facts)

    def _shared(
        self,
        name: str,
        keys: Iterable[PrimitiveKey],
        event: BatchEnded | CallEnded,
        began_s: float,
        facts: Attributes,
    ) -> None:
        """A span below the first primitive, and one below each other that leads to it."""
        found = [span for key in keys if (span := self._find(key)) is not None]
        if not found:
            return
        owner, others = found[0], found[1:]
        client = isinstance(event, CallEnded)
        shared = self._start(name, owner, began_s, facts, others, client=client)
        self._end(shared, event.ended_s, event.failure)
        for other in others:
            also = self._start(name, other, began_s, {**facts, "teola.shared": True}, (shared,))
            self._end(also, event.ended_s, event.failure)

    def _find(self, key: PrimitiveKey) -> Span | None:
        query = self._queries.get(key.run_id)
        return None if query is None else query.primitives.get(key)


def _engine(facts: EngineFacts) -> Attributes:
    return {
        "teola.engine": facts.name,
        "gen_ai.provider.name": facts.backend,
        "gen_ai.request.model": facts.model,
    }
