"""pipeline-decode: the items of a decoded list are used while decoding goes on."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import ClassVar

from teola.compiler.graph.operations import OPERATIONS, output_port
from teola.compiler.graph.pgraph import Node, PGraph, Primitive, Ref
from teola.compiler.passes.base import Context, Pass
from teola.compiler.passes.rewriting import list_inputs, streamed, takes_apart


@dataclass(frozen=True)
class PipelineDecode(Pass):
    """Make the edges from a list that leaves its operation item by item streams of single items,
    and so on through what keeps their pace: each item is worked on as soon as it is decoded
    (paper, section 4.2, decoding pipelining)."""

    name: ClassVar[str] = "pipeline-decode"
    woken_by: ClassVar[frozenset[str] | None] = frozenset({"deduplicate"})

    def apply(self, graph: PGraph, context: Context) -> PGraph:
        now = dict(graph.by_id)
        early = _decodes(graph)
        paced: set[str] = set()
        for node in graph.nodes:  # in chain order: what follows sees what came before
            if early.isdisjoint(node.sources) and paced.isdisjoint(node.sources):
                continue
            lists = list_inputs(graph, node)
            taken = {name for name, ref in lists.items() if _comes_early(now, paced, ref)}
            if taken:
                paced.add(node.id)
                now[node.id] = streamed(node, taken if takes_apart(node) else set(lists), 1)
        nodes = tuple(now[node.id] for node in graph.nodes)
        unchanged = all(new is old for new, old in zip(nodes, graph.nodes, strict=True))
        return graph if unchanged else graph.with_(nodes=nodes)


def _decodes(graph: PGraph) -> set[str]:
    """Ids of the nodes that have a list which leaves them item by item."""
    rows = OPERATIONS.values()
    names = {row.name for row in rows if any(out.early for out in row.outputs.values())}
    nodes = graph.nodes
    return {node.id for node in nodes if isinstance(node, Primitive) and node.operation in names}


def _comes_early(nodes: Mapping[str, Node], paced: AbstractSet[str], ref: Ref) -> bool:
    """Whether the items of a list come one by one, at the pace of a decode."""
    producer = nodes.get(ref.node)
    port = output_port(producer, ref.port) if producer is not None else None
    if port is None or ref.fields:
        return False
    return port.early or (ref.node in paced and port.is_list and port.length != "any")
