"""remove-dead: what writes nothing and feeds nothing goes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from teola.compiler.graph.effects import effects
from teola.compiler.graph.pgraph import Edge, Node, PGraph, Ref, Region, refs
from teola.compiler.passes.base import Pass


@dataclass(frozen=True)
class RemoveDead(Pass):
    """Keep what an output or a write needs, and all that those need."""

    name: ClassVar[str] = "remove-dead"

    def apply(self, graph: PGraph) -> PGraph:
        live = _live(graph)
        if len(live) == len(graph.nodes):
            return graph
        nodes = tuple(node for node in graph.nodes if node.id in live)
        return graph.with_(nodes=nodes, edges=_bridge(graph.edges, live))


def _live(graph: PGraph) -> set[str]:
    """Ids reached backwards from the outputs and from every primitive that writes."""
    waiting = [out.ref.node for out in graph.outputs]
    written = effects(graph.nodes, graph.engines)
    waiting += [effect.node.id for effect in written if effect.writes]
    live: set[str] = set()
    while waiting:
        node = graph.by_id.get(waiting.pop())
        if node is not None and node.id not in live:
            live.add(node.id)
            waiting += [ref.node for ref in _needs(node)]
            waiting += [node.region] if node.region else []
    return live


def _needs(node: Node) -> Iterable[Ref]:
    yield from (ref for _, ref in refs(node))
    if isinstance(node, Region):
        yield from node.results.values()


def _bridge(edges: frozenset[Edge], live: set[str]) -> frozenset[Edge]:
    """Drop the edges of removed nodes; what went through one now goes past it."""
    kept = set(edges)
    for removed in {end for edge in edges for end in (edge.source, edge.target)} - live:
        before = [edge for edge in kept if edge.target == removed]
        after = [edge for edge in kept if edge.source == removed]
        kept -= {*before, *after}
        kept |= {
            Edge("effect" if "effect" in (a.kind, b.kind) else "order", a.source, b.target)
            for a in before
            for b in after
            if a.source != b.target
        }
    return frozenset(kept)
