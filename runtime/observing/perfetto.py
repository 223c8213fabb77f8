"""A trace that Perfetto and ``chrome://tracing`` open: queries, engines, and what served whom."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import count

from teola.runtime.observing.lanes import lanes
from teola.runtime.observing.observations import (
    BatchEnded,
    CallEnded,
    EngineReady,
    Load,
    Observation,
    PrimitiveEnded,
    PrimitiveKey,
    QueryBegan,
    QueryEnded,
)
from teola.runtime.observing.trace_events import Json, Spot, arrow, process, slice_at, thread

FIRST_ENGINE, FIRST_QUERY = 1, 1000
"""Process ids; engines stand above queries."""
WHOLE = 1
"""The thread of a whole query, and of an engine's start (0 would be the system's idle thread)."""


class PerfettoTrace:
    """Collects what a pool does; ``to_json`` is the trace (Chrome's Trace Event Format).

    A query is a process with a thread for each module; what overlaps in one has further threads.
    An engine is a process with its batches or calls, its warm-ups, and counters of its load. An
    arrow leads from a primitive to each batch and call that worked for it. Everything is kept until
    the trace is let go: about 1 KiB a primitive.
    """

    def __init__(self) -> None:
        self._queries: dict[str, QueryBegan | QueryEnded] = {}
        self._primitives: list[PrimitiveEnded] = []
        self._work: list[BatchEnded | CallEnded] = []
        self._loads: list[Load] = []
        self._starts: list[EngineReady] = []
        self._origin_s: float | None = None

    def see(self, event: Observation) -> None:
        """Keep what happened."""
        match event:
            case QueryBegan():
                self._since(event.at_s)
                self._queries[event.run_id] = event
            case QueryEnded():
                self._queries[event.run_id] = event
            case PrimitiveEnded():
                self._primitives.append(event)
            case BatchEnded() | CallEnded():
                self._work.append(event)
            case EngineReady():
                self._since(event.began_s)
                self._starts.append(event)
            case Load():
                self._loads.append(event)
            case _:
                pass

    def to_json(self) -> str:
        """The trace so far, as a file's text; open it on ui.perfetto.dev."""
        events = [*self._events()]
        return json.dumps({"displayTimeUnit": "ms", "traceEvents": events}, ensure_ascii=False)

    def _since(self, seconds: float) -> None:
        """The trace begins here at the latest."""
        self._origin_s = seconds if self._origin_s is None else min(self._origin_s, seconds)

    def _us(self, seconds: float) -> int:
        return max(0, round(1e6 * (seconds - (self._origin_s or 0.0))))

    def _events(self) -> Iterator[Json]:
        spots: dict[PrimitiveKey, Spot] = {}
        yield from self._query_events(spots)
        yield from self._engine_events(spots)

    def _query_events(self, spots: dict[PrimitiveKey, Spot]) -> Iterator[Json]:
        primitives: dict[str, list[PrimitiveEnded]] = defaultdict(list)
        for one in self._primitives:
            primitives[one.key.run_id].append(one)
        for pid, (run_id, query) in enumerate(self._queries.items(), FIRST_QUERY):
            yield from process(pid, f"{query.workflow} {run_id[:8]}")
            if isinstance(query, QueryEnded):
                yield thread(pid, WHOLE, "query")
                args = {"run_id": run_id, **({"error": str(query.error)} if query.error else {})}
                begin, end = self._us(query.began_s), self._us(query.ended_s)
                yield slice_at((pid, WHOLE, begin, end), query.workflow, args)
            yield from self._module_events(pid, primitives[run_id], spots)

    def _module_events(
        self, pid: int, primitives: Iterable[PrimitiveEnded], spots: dict[PrimitiveKey, Spot]
    ) -> Iterator[Json]:
        modules: dict[str, list[tuple[int, int, PrimitiveEnded]]] = defaultdict(list)
        for one in primitives:
            began_s, entry = one.query_began_s, one.entry
            begin, end = self._us(began_s + entry.queued_s), self._us(began_s + entry.ended_s)
            modules[entry.module].append((begin, end, one))
        tids = count(WHOLE + 1)
        for module, found in sorted(modules.items(), key=lambda item: _begin(item[1])):
            threads: dict[int, int] = {}
            first, last = _begin(found), max(end for _, end, _ in found)
            for lane, begin, end, one in lanes(found):
                if lane not in threads:
                    threads[lane] = next(tids)
                    yield thread(pid, threads[lane], module)
                    if not lane:
                        yield slice_at((pid, threads[0], first, last), module, {})
                began = min(self._us(one.query_began_s + one.entry.started_s), end)
                if began > begin:
                    waiting = (pid, threads[lane], begin, began)
                    yield slice_at(waiting, f"{one.entry.primitive} waits", {})
                spots[one.key] = spot = (pid, threads[lane], began, end)
                yield slice_at(spot, one.entry.primitive, _facts(one))

    def _engine_events(self, spots: dict[PrimitiveKey, Spot]) -> Iterator[Json]:
        pids: dict[str, int] = {}
        for one in (*self._starts, *self._work, *self._loads):
            if one.engine.name not in pids:
                pids[one.engine.name] = pid = FIRST_ENGINE + len(pids)
                facts = one.engine
                yield from process(pid, f"engine {facts.name} ({facts.model or facts.backend})")
        arrows = count(1)
        for name, pid in pids.items():
            work = [one for one in self._work if one.engine.name == name]
            yield from self._work_events(pid, work, spots, arrows)
        for start in self._starts:
            pid = pids[start.engine.name]
            spot = (pid, WHOLE, self._us(start.began_s), self._us(start.ready_s))
            yield thread(pid, WHOLE, "start")
            yield slice_at(spot, "start", {})
        for load in self._loads:
            yield from self._counters(pids[load.engine.name], load)

    def _work_events(
        self,
        pid: int,
        work: Iterable[BatchEnded | CallEnded],
        spots: dict[PrimitiveKey, Spot],
        arrows: Iterator[int],
    ) -> Iterator[Json]:
        kinds: dict[str, list[tuple[int, int, BatchEnded | CallEnded]]] = defaultdict(list)
        for one in work:
            began_s = one.began_s if isinstance(one, BatchEnded) else one.sent_s
            kinds[_kind(one)].append((self._us(began_s), self._us(one.ended_s), one))
        tids = count(WHOLE + 1)
        for kind, found in kinds.items():
            threads: dict[int, int] = {}
            for lane, begin, end, one in lanes(found):
                if lane not in threads:
                    threads[lane] = next(tids)
                    yield thread(pid, threads[lane], kind)
                spot = (pid, threads[lane], begin, end)
                yield slice_at(spot, _name(one), _work_facts(one))
                for key in _keys(one):
                    if key in spots:
                        yield from arrow(next(arrows), spots[key], spot)
                if isinstance(one, CallEnded) and one.first_token_s is not None:
                    at = {"pid": pid, "tid": threads[lane], "ts": self._us(one.first_token_s)}
                    yield {"ph": "i", "s": "t", "name": "first token", **at}

    def _counters(self, pid: int, load: Load) -> Iterator[Json]:
        found = {"tasks": {"waiting": load.waiting, "running": load.running}}
        if load.kv_tokens is not None:
            found["KV"] = {"tokens": load.kv_tokens}
        for name, values in found.items():
            yield {"ph": "C", "pid": pid, "ts": self._us(load.at_s), "name": name, "args": values}


def _begin(found: Iterable[tuple[int, int, PrimitiveEnded]]) -> int:
    return min(begin for begin, _, _ in found)


def _kind(one: BatchEnded | CallEnded) -> str:
    kind = "batches" if isinstance(one, BatchEnded) else "warm-ups" if one.warm else "calls"
    return kind if one.engine.replica == 1 else f"{kind} of replica {one.engine.replica}"


def _keys(one: BatchEnded | CallEnded) -> Iterable[PrimitiveKey]:
    if isinstance(one, CallEnded):
        return one.keys
    return dict.fromkeys(key for part in one.parts for key in part.keys)


def _name(one: BatchEnded | CallEnded) -> str:
    if isinstance(one, BatchEnded):
        return f"{one.operation} {one.items}"
    if one.warm or not one.keys:
        return "warm-up" if one.warm else "call"
    return one.keys[0].primitive


def _facts(one: PrimitiveEnded) -> Json:
    entry = one.entry
    return {
        "path": "/".join(entry.path) or None,
        "engine": entry.engine,
        "items": entry.items,
        "prompt_tokens": entry.prompt_tokens,
        "completion_tokens": entry.completion_tokens,
        "outcome": one.outcome,
    }


def _work_facts(one: BatchEnded | CallEnded) -> Json:
    if isinstance(one, BatchEnded):
        return {"items": one.items, "tasks": len(one.parts), "failure": one.failure}
    return {
        "prompt_tokens": one.prompt_tokens,
        "cached_tokens": one.cached_tokens,
        "completion_tokens": one.completion_tokens,
        "finish_reason": one.finish_reason,
        "failure": one.failure,
    }
