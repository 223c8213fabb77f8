"""One query in a trace: a process with a thread for each module; further ones for what overlaps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

from teola.runtime.observing.lanes import lanes
from teola.runtime.observing.observations import PrimitiveEnded, PrimitiveKey, QueryEnded
from teola.runtime.observing.trace_events import (
    WHOLE,
    Json,
    Spot,
    arrow,
    micro,
    process,
    slice_at,
    thread,
)


@dataclass(slots=True)
class QueryTrack:
    """What is known of a query until it ends: its ``primitives`` that have ended, and the slices of
    the work that was done for them (``served``)."""

    pid: int
    name: str = ""
    primitives: list[PrimitiveEnded] = field(default_factory=list)
    served: list[tuple[PrimitiveKey, Spot]] = field(default_factory=list)

    def events(self, arrows: Iterator[int], ended: QueryEnded | None = None) -> Iterator[Json]:
        """All of it, and ``arrows`` (their numbers) from each primitive to what worked for it."""
        yield from process(self.pid, self.name)
        if ended is not None:
            yield thread(self.pid, WHOLE, "query")
            error = {"error": str(ended.error)} if ended.error else {}
            spot = (self.pid, WHOLE, micro(ended.began_s), micro(ended.ended_s))
            yield slice_at(spot, ended.workflow, {"run_id": ended.run_id, **error})
        spots: dict[PrimitiveKey, Spot] = {}
        yield from self._modules(spots)
        for key, spot in self.served:
            if key in spots:
                yield from arrow(next(arrows), spots[key], spot)

    def _modules(self, spots: dict[PrimitiveKey, Spot]) -> Iterator[Json]:
        modules: dict[str, list[tuple[int, int, PrimitiveEnded]]] = defaultdict(list)
        for one in self.primitives:
            began_s, entry = one.query_began_s, one.entry
            begin, end = micro(began_s + entry.queued_s), micro(began_s + entry.ended_s)
            modules[entry.module].append((begin, end, one))
        tids = count(WHOLE + 1)
        for module, found in sorted(modules.items(), key=lambda item: _begin(item[1])):
            threads: dict[int, int] = {}
            first, last = _begin(found), max(end for _, end, _ in found)
            for lane, begin, end, one in lanes(found):
                if lane not in threads:
                    threads[lane] = next(tids)
                    yield thread(self.pid, threads[lane], module)
                    if not lane:
                        yield slice_at((self.pid, threads[0], first, last), module, {})
                began = min(micro(one.query_began_s + one.entry.started_s), end)
                if began > begin:
                    waiting = (self.pid, threads[lane], begin, began)
                    yield slice_at(waiting, f"{one.entry.primitive} waits", {})
                spots[one.key] = spot = (self.pid, threads[lane], began, end)
                yield slice_at(spot, one.entry.primitive, _facts(one))


def _begin(found: Iterable[tuple[int, int, PrimitiveEnded]]) -> int:
    return min(begin for begin, _, _ in found)


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
