"""decompose-stages: long lists are worked on in groups that flow through the graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from teola.compiler.graph.lengths import Lengths
from teola.compiler.graph.operations import output_port
from teola.compiler.graph.pgraph import Node, PGraph, Primitive, Ref, Region
from teola.compiler.passes.base import Context, Pass
from teola.compiler.passes.rewriting import list_inputs, streamed, takes_apart


@dataclass(frozen=True)
class DecomposeStages(Pass):
    """Cut a list that is longer than its engine's efficient batch, or of unknown length, into
    groups of that batch, and let the map and scan primitives after it work on each group as it
    comes (paper, section 4.2, stage decomposition). A list is cut where its groups come one after
    another, or where they can go on one after another: else cutting it gains nothing.

    ``max_group`` bounds the items of a group.
    """

    name: ClassVar[str] = "decompose-stages"
    woken_by: ClassVar[frozenset[str] | None] = frozenset(
        {"deduplicate", "remove-dead", "pipeline-decode"}
    )

    max_group: int = field(default=64, metadata={"least": 1})

    def apply(self, graph: PGraph, context: Context) -> PGraph:
        sweep = _Sweep(graph, context, self.max_group)
        nodes = tuple(sweep.visit(node) for node in graph.nodes)
        unchanged = all(new is old for new, old in zip(nodes, graph.nodes, strict=True))
        return graph if unchanged else graph.with_(nodes=nodes)


class _Sweep:
    """Visits the nodes in chain order: what follows sees what came before."""

    def __init__(self, graph: PGraph, context: Context, max_group: int) -> None:
        self.graph, self.context, self.max_group = graph, context, max_group
        self.lengths = Lengths(graph)
        self.now = dict(graph.by_id)
        self.lists = {node.id: list_inputs(graph, node) for node in graph.nodes}
        self.fed = {ref.node for lists in self.lists.values() for ref in lists.values()}

    def visit(self, node: Node) -> Node:
        lists = self.lists[node.id]
        if lists and not any(ref.stream for ref in lists.values()):
            self.now[node.id] = self._changed(node, lists)
        elif isinstance(node, Primitive) and node.group is not None and takes_apart(node):
            growing = {name for name, ref in lists.items() if self._grows(ref)}
            self.now[node.id] = streamed(node, growing, node.group)
        return self.now[node.id]

    def _changed(self, node: Node, lists: dict[str, Ref]) -> Node:
        growing = {name for name, ref in lists.items() if self._grows(ref)}
        entry = self.context.entry(self.graph, node)
        if isinstance(node, Region):
            return streamed(node, growing, 1)
        if entry is None:
            return (
                streamed(node, growing if takes_apart(node) else set(lists), 1) if growing else node
            )
        longest = [self.lengths.of(ref) for ref in lists.values()]
        efficient = all(length is not None and length <= entry.knee for length in longest)
        if efficient or not (growing or node.id in self.fed):
            return node
        return streamed(node, set(lists), min(entry.knee, self.max_group))

    def _grows(self, ref: Ref) -> bool:
        """Whether the items of a list come one after another, and not all at once."""
        producer = self.now.get(ref.node)
        port = output_port(producer, ref.port) if producer is not None else None
        if producer is None or port is None or ref.fields or port.combine != "concat":
            return False
        if isinstance(producer, Region):
            return True
        return any(ref.stream for _, ref in producer.references)
