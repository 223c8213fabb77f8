"""prune-order: independent branches become parallel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from teola.compiler.graph.pgraph import PGraph
from teola.compiler.passes.base import Context, Pass


@dataclass(frozen=True)
class PruneOrder(Pass):
    """Delete the order edges: what data and effects need has edges of its own (paper, section 4.2,
    dependency pruning)."""

    name: ClassVar[str] = "prune-order"
    woken_by: ClassVar[frozenset[str] | None] = frozenset({"deduplicate", "remove-dead"})

    def apply(self, graph: PGraph, context: Context) -> PGraph:
        kept = frozenset(edge for edge in graph.edges if edge.kind != "order")
        return graph if len(kept) == len(graph.edges) else graph.with_(edges=kept)
