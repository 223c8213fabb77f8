"""The critical path of an estimate: the chain of tasks that determines the total."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from teola.compiler.cost.estimate import Estimate
from teola.compiler.graph.egraph import EGraph


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the path: what the query waited for from ``from_ms`` to ``to_ms``.

    ``queued``: it had to wait for its engine, and the segment before is what the engine did.
    """

    task: str
    primitive: str
    module: str
    engine: str | None
    from_ms: float
    to_ms: float
    queued: bool

    @property
    def ms(self) -> float:
        """How long it is."""
        return self.to_ms - self.from_ms


@dataclass(frozen=True)
class CriticalPath:
    """Segments without gaps, from the query's start to its end."""

    segments: tuple[Segment, ...]

    @property
    def total_ms(self) -> float:
        """The whole time."""
        return self.segments[-1].to_ms if self.segments else 0.0

    @cached_property
    def tasks(self) -> frozenset[str]:
        """The tasks on the path."""
        return frozenset(segment.task for segment in self.segments)

    @cached_property
    def primitives(self) -> Mapping[str, float]:
        """Primitive -> its milliseconds on the path, in order of first appearance: two paths of one
        workflow are compared by these."""
        found: dict[str, float] = {}
        for segment in self.segments:
            found[segment.primitive] = found.get(segment.primitive, 0.0) + segment.ms
        return found


def critical_path(egraph: EGraph, estimate: Estimate) -> CriticalPath:
    """Walk back from the task that ended last: each began when its cause, a task it waited for or
    one that its engine did before, let it."""
    work = [task.id for task in egraph.tasks if task.form != "hint"]
    if not work:
        return CriticalPath(())
    at: str | None = max(work, key=lambda name: estimate.timings[name].end_ms)
    until = estimate.total_ms
    found: list[Segment] = []
    while at is not None:
        timing, task = estimate.timings[at], egraph.by_id[at]
        start = min(timing.start_ms, until)
        if task.form != "join":
            found.append(
                Segment(at, task.primitive, task.module, task.engine, start, until, timing.queued)
            )
            until = start
        at = timing.cause
    return CriticalPath(tuple(reversed(found)))


def compare(before: CriticalPath, after: CriticalPath) -> tuple[tuple[str, float, float], ...]:
    """Each primitive on either path with its milliseconds on both, in order of the first."""
    names = dict.fromkeys([*before.primitives, *after.primitives])
    return tuple(
        (name, before.primitives.get(name, 0.0), after.primitives.get(name, 0.0)) for name in names
    )
