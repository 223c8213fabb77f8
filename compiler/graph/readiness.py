"""What must have ended before a value is there: the work behind every reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from teola.compiler.graph.pgraph import INPUTS, Node, Operand, PGraph, Primitive, Ref, Region

Work = int
"""A set of primitives that take time, one bit each."""


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
        self._bits: dict[str, Work] = {}
        self._before: dict[str, Work] = {}
        self._after: dict[str, Work] = {}
        for node in graph.nodes:  # in chain order: nothing below goes deep
            self.before(node)

    def of(self, operand: Operand) -> Work:
        """The work that must have ended before the value is there."""
        if not isinstance(operand, Ref) or operand.node == INPUTS:
            return 0
        node = self.graph.by_id[operand.node]
        if isinstance(node, Region) and operand.port not in node.results:
            return self._bound(node, operand.port)
        return self.after(node)

    def names(self, work: Work) -> frozenset[str]:
        """The ids of the primitives in ``work``."""
        return frozenset(name for name, bit in self._bits.items() if work & bit)

    def of_all(self, operands: Iterable[Operand]) -> Work:
        """The work that must have ended before all of the values are there."""
        found = 0
        for operand in operands:
            found |= self.of(operand)
        return found

    def _bound(self, region: Region, port: str) -> Work:
        """What a body sees: a fold's state is there when the iteration before has ended, all else
        when the items are."""
        return self.after(region) if port == "state" else self._begins(region)

    def _begins(self, region: Region) -> Work:
        """The work before a region's first item: a fold need not wait for its initial state."""
        conditions = (guard.condition for guard in region.guard)
        items = self.of(region.inputs["items"])
        return self._around(region) | items | self.of_all(conditions)

    def _around(self, node: Node) -> Work:
        """What a node waits for, whatever its inputs are: its region, and what it is ordered
        behind."""
        around = self.graph.by_id.get(node.region)
        found = self._begins(around) if isinstance(around, Region) else 0
        for before in self.awaited.get(node.id, ()):
            found |= self.after(self.graph.by_id[before])
        return found

    def after(self, node: Node) -> Work:
        """The work that must have ended before ``node`` has."""
        if node.id not in self._after:
            self._after[node.id] = 0
            found = self.before(node)
            if isinstance(node, Region):
                for inner in self.bodies.get(node.id, ()):
                    found |= self.after(inner)
            elif self.takes_time(node):
                found |= self._bits.setdefault(node.id, 1 << len(self._bits))
            self._after[node.id] = found
        return self._after[node.id]

    def before(self, node: Node) -> Work:
        """The work that must have ended before ``node`` begins."""
        if node.id not in self._before:
            self._before[node.id] = 0
            found = self._around(node)
            for _, ref in node.references:
                found |= self.of(ref)
            self._before[node.id] = found
        return self._before[node.id]


def part_of(some: Work, whole: Work) -> bool:
    """Whether ``some`` is less than ``whole``, and nothing else."""
    return some != whole and some | whole == whole
