"""A trace that Perfetto and ``chrome://tracing`` open: queries, engines, and what served whom."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import count

from teola.runtime.observing.engine_track import EngineTrack
from teola.runtime.observing.observations import (
    BatchEnded,
    CallEnded,
    EngineFacts,
    EngineReady,
    FiguresTold,
    Load,
    Observation,
    PrimitiveEnded,
    PrimitiveKey,
    QueryBegan,
    QueryEnded,
)
from teola.runtime.observing.query_track import QueryTrack
from teola.runtime.observing.trace_events import Json

FIRST_ENGINE, FIRST_QUERY = 1, 1000
"""Process ids; engines stand above queries."""


class PerfettoTrace:
    """Makes a trace of what a pool does (Chrome's Trace Event Format).

    A query is a process with a thread for each module; what overlaps in one has further threads.
    An engine is a process with its batches or calls, its warm-ups, and counters of its load and of
    what it tells of itself. An arrow leads from a primitive to each batch and call that worked for
    it.

    Each event goes to ``emit`` when it is known, those of a query when it ends; of these nothing is
    kept. Without ``emit`` all is kept for ``to_json``: about 1 KiB a primitive.
    """

    def __init__(self, emit: Callable[[Json], None] | None = None) -> None:
        self._events: list[Json] = []
        self._emit = emit or self._events.append
        self._queries: dict[str, QueryTrack] = {}
        self._engines: dict[str, EngineTrack] = {}
        self._pids, self._arrows = count(FIRST_QUERY), count(1)

    def see(self, event: Observation) -> None:
        """Tell what happened."""
        match event:
            case QueryBegan():
                self._query(event.run_id).name = _name(event, event.label)
            case PrimitiveEnded():
                self._query(event.key.run_id).primitives.append(event)
            case QueryEnded():
                query = self._query(event.run_id)
                query.name = query.name or _name(event)
                del self._queries[event.run_id]
                self._tell(query.events(self._arrows, event))
            case BatchEnded() | CallEnded():
                self._work(event)
            case EngineReady():
                self._tell(self._engine(event.engine).started(event))
            case FiguresTold():
                self._tell(self._engine(event.engine).figures(event))
            case Load():
                self._tell(self._engine(event.engine).load(event))
            case _:
                pass

    def unfinished(self) -> Iterator[Json]:
        """The events of the queries that run, as far as these have come."""
        for query in self._queries.values():
            yield from query.events(self._arrows)

    def to_json(self) -> str:
        """The trace so far, as a file's text; open it on ui.perfetto.dev."""
        events = [*self._events, *self.unfinished()]
        return json.dumps({"displayTimeUnit": "ms", "traceEvents": events}, ensure_ascii=False)

    def _tell(self, events: Iterable[Json]) -> None:
        for event in events:
            self._emit(event)

    def _query(self, run_id: str) -> QueryTrack:
        if run_id not in self._queries:
            self._queries[run_id] = QueryTrack(next(self._pids))
        return self._queries[run_id]

    def _engine(self, facts: EngineFacts) -> EngineTrack:
        if facts.name not in self._engines:
            self._engines[facts.name] = EngineTrack(FIRST_ENGINE + len(self._engines))
            self._tell(self._engines[facts.name].begin(facts))
        return self._engines[facts.name]

    def _work(self, work: BatchEnded | CallEnded) -> None:
        spot, events = self._engine(work.engine).worked(work)
        self._tell(events)
        for key in _keys(work):
            if (query := self._queries.get(key.run_id)) is not None:
                query.served.append((key, spot))


def _name(event: QueryBegan | QueryEnded, label: str = "") -> str:
    return f"{event.workflow} {label or event.run_id[:8]}"


def _keys(work: BatchEnded | CallEnded) -> Iterable[PrimitiveKey]:
    if isinstance(work, CallEnded):
        return work.keys
    return dict.fromkeys(key for part in work.parts for key in part.keys)
