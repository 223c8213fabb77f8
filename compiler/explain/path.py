"""The critical path before and after the passes, side by side, and why each part of it waits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from teola.compiler.cost.critical_path import CriticalPath, Segment, compare
from teola.compiler.explain.explanation import Step
from teola.compiler.explain.prediction import Prediction
from teola.compiler.graph.pgraph import Node, PGraph, Primitive, Region

LEAST = 0.001
"""The share of the longer path that a primitive must take to be worth a line."""


def path_steps(before: Prediction, after: Prediction) -> Iterator[Step]:
    """Each primitive that takes time on either path, in order of the first."""
    was, now = before.path, after.path
    least = LEAST * max(was.total_ms, now.total_ms)
    shown = [name for name, *both in compare(was, now) if max(both) > least]
    reasons = _reasons(now, after.graph, shown)
    for name in shown:
        node = after.graph.by_id.get(name) or before.graph.by_id[name]
        gone = "runs meanwhile" if name in after.graph.by_id else "is not done any more"
        yield Step(
            name,
            node.module,
            node.engine if isinstance(node, Primitive) else None,
            was.primitives.get(name),
            now.primitives.get(name),
            reasons.get(name, gone),
        )


def _reasons(path: CriticalPath, graph: PGraph, shown: Collection[str]) -> Mapping[str, str]:
    """Primitive -> why it began when it did, the first time."""
    found: dict[str, str] = {}
    before: Segment | None = None
    for segment in path.segments:
        if segment.primitive in shown:
            found.setdefault(segment.primitive, _why(before, segment, graph))
            before = segment
    return found


def _why(before: Segment | None, segment: Segment, graph: PGraph) -> str:
    if before is None:
        return "begins at once"
    if segment.queued and before.engine == segment.engine:
        return f"{segment.engine or 'the CPU'} is busy with {before.primitive}"
    kind = _edge(before.primitive, segment.primitive, graph)
    return f"{kind} {before.primitive}"


def _edge(source: str, target: str, graph: PGraph) -> str:
    """How a primitive hangs on what came before it: by order or effect alone, or by data."""
    ends = {source, *_around(graph, source)}
    held = {target, *_around(graph, target)}
    if any(ref.node in ends for name in held for _, ref in graph.by_id[name].references):
        return "needs"
    kinds = {edge.kind for edge in graph.edges if edge.source in ends and edge.target in held}
    if "effect" in kinds:
        return "must come after"
    return "stands in the file after" if kinds else "needs"


def _around(graph: PGraph, name: str) -> Iterator[str]:
    """The regions around a node."""
    node: Node = graph.by_id[name]
    while node.region:
        node = graph.by_id[node.region]
        if isinstance(node, Region):
            yield node.id
