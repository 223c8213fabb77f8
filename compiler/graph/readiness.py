"""What must have ended before a value is there: the work behind every reference."""

from __future__ import annotations

from collections.abc import Callable

from teola.compiler.graph.pgraph import INPUTS, Node, Operand, PGraph, Primitive, Ref, Region, refs

Work = frozenset[str]
"""Ids of primitives that take time."""


class Readiness:
    """The work behind a graph's values; ``takes_time`` says which primitives are work."""

    def __init__(self, graph: PGraph, takes_time: Callable[[Primitive], bool]) -> None:
        self.graph, self.takes_time = graph, takes_time
        self.awaited: dict[str, list[str]] = {}
        for edge in sorted(graph.edges):
            self.awaited.setdefault(edge.target, []).append(edge.source)
        self.bodies: dict[str, list[Node]] = {}
        for node in graph.nodes:
            self.bodies.setdefault(node.region, []).append(node)
        self._before: dict[str, Work] = {}
        self._after: dict[str, Work] = {}

    def of(self, operand: Operand) -> Work:
        """The work that must have ended before the value is there."""
        if not isinstance(operand, Ref) or operand.node == INPUTS:
            return frozenset()
        return self._port(operand)

    def _port(self, ref: Ref) -> Work:
        node = self.graph.by_id[ref.node]
        if isinstance(node, Region) and ref.port not in node.results:
            return self._bound(node, ref.port)
        return self.after(node)

    def _bound(self, region: Region, port: str) -> Work:
        """What a body sees: a fold's state is there when the iteration before has ended, all else
        when the items are."""
        return self.after(region) if port == "state" else self._begins(region)

    def _begins(self, region: Region) -> Work:
        """The work before a region's first item: a fold need not wait for its initial state."""
        found = self._around(region) | self.of(region.inputs["items"])
        return found.union(*(self.of(guard.condition) for guard in region.guard))

    def _around(self, node: Node) -> Work:
        """What a node waits for, whatever its inputs are: its region, and what it is ordered
        behind."""
        around = self.graph.by_id.get(node.region)
        found = self._begins(around) if isinstance(around, Region) else frozenset()
        before = (self.graph.by_id[one] for one in self.awaited.get(node.id, ()))
        return found.union(*(self.after(one) for one in before))

    def after(self, node: Node) -> Work:
        """The work that must have ended before ``node`` has."""
        if node.id not in self._after:
            self._after[node.id] = frozenset()
            found = self.before(node)
            if isinstance(node, Region):
                found = found.union(*(self.after(one) for one in self.bodies.get(node.id, ())))
            elif self.takes_time(node):
                found |= {node.id}
            self._after[node.id] = found
        return self._after[node.id]

    def before(self, node: Node) -> Work:
        """The work that must have ended before ``node`` begins."""
        if node.id not in self._before:
            self._before[node.id] = frozenset()
            needed = (self.of(ref) for _, ref in refs(node))
            self._before[node.id] = self._around(node).union(*needed)
        return self._before[node.id]
