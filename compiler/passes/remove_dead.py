"""remove-dead: what writes nothing and feeds nothing goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from teola.compiler.graph.effects import effects
from teola.compiler.graph.pgraph import PGraph, Region
from teola.compiler.passes.base import Context, Pass
from teola.compiler.passes.rewriting import hinted, without


@dataclass(frozen=True)
class RemoveDead(Pass):
    """Keep what an output or a write needs, all that those need, and the hints for them."""

    name: ClassVar[str] = "remove-dead"
    woken_by: ClassVar[frozenset[str] | None] = frozenset({"deduplicate"})

    def apply(self, graph: PGraph, context: Context) -> PGraph:
        live = _live(graph)
        dead = {node.id for node in graph.nodes if (hinted(node) or node.id) not in live}
        return without(graph, dead) if dead else graph


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
            waiting += (*node.sources, node.region)
            if isinstance(node, Region):
                waiting += [ref.node for ref in node.results.values()]
    return live
