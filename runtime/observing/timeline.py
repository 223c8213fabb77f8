"""When each primitive of one query waited and worked, and what its engines did meanwhile."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal, TypeAlias

from teola.compiler.graph.pgraph import Node, Ref
from teola.compiler.passes.rewriting import is_hint
from teola.runtime.observing.observations import (
    BatchEnded,
    CallEnded,
    EngineReady,
    Observation,
    PrimitiveKey,
    QueryBegan,
)
from teola.runtime.operations import SCANS

if TYPE_CHECKING:
    from teola.runtime.result import RunResult, TimelineEntry

State: TypeAlias = Literal["starts", "waits", "warms", "works"]


@dataclass(frozen=True, slots=True)
class Interval:
    """So long something was in a state; seconds after the query's start."""

    begin_s: float
    end_s: float
    state: State

    def within(self, total_s: float) -> Interval:
        """What of it is in a query's time."""
        return Interval(max(0.0, self.begin_s), min(total_s, self.end_s), self.state)


@dataclass(frozen=True, slots=True)
class Row:
    """What is drawn in one line: ``count`` instances of a primitive, or an engine."""

    name: str
    intervals: tuple[Interval, ...]
    engine: str | None = None
    count: int = 1

    @property
    def ended_s(self) -> float:
        """Its last work; 0 where there was none."""
        return max((one.end_s for one in self.intervals if one.state == "works"), default=0.0)

    @property
    def begin_s(self) -> float:
        """Its first wait or work."""
        return min((one.begin_s for one in self.intervals), default=0.0)

    @property
    def busy_s(self) -> float:
        """The time in which there was work."""
        total, until = 0.0, 0.0
        worked = (one for one in self.intervals if one.state in ("works", "warms"))
        for one in sorted(worked, key=lambda one: one.begin_s):
            total += max(0.0, one.end_s - max(one.begin_s, until))
            until = max(until, one.end_s)
        return total


@dataclass(frozen=True, slots=True)
class Timeline:
    """A query's modules, each with its primitives, and its engines; ``ready_s`` is when the last of
    these took work (0: before the query came)."""

    total_s: float
    modules: Mapping[str, Sequence[Row]]
    engines: Sequence[Row]
    ready_s: float = 0.0


class WorkLog:
    """Keeps what a pool's engines did, for the timelines of its queries until these are
    forgotten."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.work: deque[BatchEnded | CallEnded] = deque()
        self.ready: list[EngineReady] = []

    def see(self, event: Observation) -> None:
        """Keep it."""
        match event:
            case QueryBegan():
                self.began[event.run_id] = event.at_s
            case BatchEnded() | CallEnded():
                self.work.append(event)
            case EngineReady():
                self.ready.append(event)
            case _:
                pass

    def forget(self, run_id: str) -> None:
        """A query's timeline is not needed any more, nor is work from before all others began."""
        self.began.pop(run_id, None)
        since_s = next(iter(self.began.values()), inf)
        while self.work and self.work[0].ended_s <= since_s:
            self.work.popleft()

    def timeline(self, result: RunResult) -> Timeline:
        """The timeline of a query that has ended."""
        since_s = self.began.get(result.run_id, 0.0)
        own: dict[PrimitiveKey, list[Interval]] = defaultdict(list)
        engines: dict[str, list[Interval]] = defaultdict(list)
        total_s = max((entry.ended_s for entry in result.timeline), default=0.0)
        for start in self.ready:
            engines[start.engine.name].append(
                Interval(start.began_s - since_s, start.ready_s - since_s, "starts")
            )
        for work in self.work:
            if _sent_s(work) - since_s < total_s and work.ended_s > since_s:
                engines[work.engine.name].append(_worked(work, since_s).within(total_s))
            for key, queued_s in _served(work):
                worked = _worked(work, since_s)
                own[key] += (Interval(queued_s - since_s, worked.begin_s, "waits"), worked)
        ready_s = max((start.ready_s - since_s for start in self.ready), default=0.0)
        return Timeline(
            total_s,
            _modules(result, lambda key: own.get(key, ())),
            [Row(name, tuple(found), name) for name, found in engines.items()],
            max(0.0, ready_s),
        )


def _sent_s(work: BatchEnded | CallEnded) -> float:
    return work.began_s if isinstance(work, BatchEnded) else work.sent_s


def _worked(work: BatchEnded | CallEnded, since_s: float) -> Interval:
    """A call that waits within its engine is not worked on yet."""
    begin_s = _sent_s(work)
    if isinstance(work, CallEnded):
        begin_s = min(begin_s + (work.waited_s or 0.0), work.ended_s)
    warm = isinstance(work, CallEnded) and work.warm
    return Interval(begin_s - since_s, work.ended_s - since_s, "warms" if warm else "works")


def _served(work: BatchEnded | CallEnded) -> Iterable[tuple[PrimitiveKey, float]]:
    if isinstance(work, CallEnded):
        return [(key, work.queued_s) for key in work.keys]
    return [(key, part.queued_s) for part in work.parts for key in part.keys]


def _modules(
    result: RunResult, work: Callable[[PrimitiveKey], Sequence[Interval]]
) -> Mapping[str, Sequence[Row]]:
    """Rows by module, in the order in which they began; regions stand in their bodies."""
    regions = {one.path[-1].rpartition("[")[0] for one in result.timeline if one.path}
    grouped: dict[tuple[str, str], list[TimelineEntry]] = defaultdict(list)
    for entry in result.timeline:
        if entry.primitive not in regions:
            grouped[entry.module, entry.primitive].append(entry)
    modules: dict[str, list[Row]] = defaultdict(list)
    for (module, primitive), entries in grouped.items():
        node = result.plan.graph.by_id.get(primitive) if result.plan is not None else None
        streams = _takes_streams(node) or getattr(node, "operation", None) in SCANS
        if entries[0].engine is None and streams:
            continue  # between its first item and its last it mostly waits
        found: list[Interval] = []
        for entry in entries:
            seen = work(PrimitiveKey(result.run_id, primitive, entry.path))
            found += seen or (_told(entry, node),)
            if entry.engine is not None and not streams:
                found.append(Interval(entry.queued_s, entry.started_s, "waits"))
        row = Row(primitive, tuple(found), entries[0].engine, len(entries))
        modules[module].append(row)
    for rows in modules.values():
        rows.sort(key=lambda row: row.begin_s)
    return dict(sorted(modules.items(), key=lambda item: item[1][0].begin_s))


def _takes_streams(node: Node | None) -> bool:
    """Whether it is queued with its first items, and then waits for the others."""
    refs = node.inputs.values() if node is not None else ()
    return any(isinstance(ref, Ref) and ref.stream for ref in refs)


def _told(entry: TimelineEntry, node: Node | None) -> Interval:
    """What the result alone says of work that no engine was seen to do."""
    state: State = "warms" if node is not None and is_hint(node) else "works"
    return Interval(entry.started_s, entry.ended_s, state)
