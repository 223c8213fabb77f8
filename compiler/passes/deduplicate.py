"""deduplicate: equal work is done once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from teola.compiler.graph.effects import Effect, conflict, effects, homes_of
from teola.compiler.graph.operations import OPERATIONS
from teola.compiler.graph.pgraph import Edge, Node, Operand, PGraph, Primitive, Ref, Region
from teola.compiler.passes.base import Context, Pass
from teola.compiler.passes.rewriting import is_hint, with_refs, without


@dataclass(frozen=True)
class Deduplicate(Pass):
    """Of two pure, deterministic units that are equal in operation, engine, config, guard, inputs
    and the versions of what they read, keep the first. How their lists are cut does not count. A
    call of an LLM is one unit, its prefill with its decode; a region is one with its body.
    """

    name: ClassVar[str] = "deduplicate"
    woken_by: ClassVar[frozenset[str] | None] = frozenset()

    def apply(self, graph: PGraph, context: Context) -> PGraph:
        search = _Search(graph)
        twins = search.run()
        return _merged(graph, twins) if twins else graph


Twins = dict[str, str]
"""Id of a node that is not needed -> the id of the equal one that stays."""

Signature = tuple[object, ...]

Unit = tuple[Node, ...]
"""What is kept or dropped together."""


class _Search:
    """Finds twins in chain order, so that what uses twins can be found to be twins too."""

    def __init__(self, graph: PGraph) -> None:
        self.graph = graph
        self.twins: Twins = {}
        self.alone: dict[Signature, Unit] = {}
        self.seen: dict[Signature, list[Unit]] = {}
        self.effects = effects(graph.nodes, graph.engines)
        self.place = {node.id: number for number, node in enumerate(graph.nodes)}
        self.touched = {effect.node.id: effect for effect in self.effects}
        self.homes = homes_of(graph.engines)
        self.tails = {row.unit for row in OPERATIONS.values()}
        self.awaited: dict[str, list[str]] = {}
        for edge in sorted(graph.edges):
            if edge.kind == "effect":
                self.awaited.setdefault(edge.target, []).append(edge.source)
        self.bodies: dict[str, list[Node]] = {}
        for node in graph.nodes:
            self.bodies.setdefault(node.region, []).append(node)

    def run(self) -> Twins:
        for node in self.graph.nodes:
            if node.id not in self.twins and node.region not in self.twins:
                unit = self.unit(node)
                if unit and self.pure(unit):
                    self.compare(unit)
        return self.twins

    def unit(self, node: Node) -> Unit:
        """The unit that a node ends, or of a region begins; () where it is inside of one."""
        if isinstance(node, Region):
            return (node, *self.body(node))
        operation = OPERATIONS[node.operation]
        if operation.hint or operation.unit:
            return ()
        if node.operation not in self.tails:
            return (node,)
        heads = [self.graph.by_id.get(ref.node) for _, ref in node.references]
        return (*(head for head in heads if head is not None and _begins(head, node)), node)

    def body(self, region: Region) -> list[Node]:
        found: list[Node] = []
        for node in self.bodies.get(region.id, ()):
            if not is_hint(node):
                found += [node, *(self.body(node) if isinstance(node, Region) else ())]
        return found

    def pure(self, unit: Unit) -> bool:
        inside = isinstance(unit[0], Region)
        for node in unit:
            if isinstance(node, Region):
                continue
            operation = OPERATIONS[node.operation]
            if not (operation.pure and operation.deterministic(node)):
                return False
            effect = self.touched.get(node.id)
            if effect is not None and (effect.writes or inside):
                return False
        return True

    def compare(self, unit: Unit) -> None:
        """Look for an equal unit before this one; else remember this one."""
        beginning = self.beginning(unit)
        if beginning not in self.alone:
            self.alone[beginning] = unit
            return
        if first := self.alone[beginning]:
            self.seen[self.signature(first)] = [first]
            self.alone[beginning] = ()
        candidates = self.seen.setdefault(self.signature(unit), [])
        configs = [_config(node) for node in unit] if candidates else []
        for other in candidates:
            if [_config(node) for node in other] == configs:
                self.twins.update({b.id: a.id for a, b in zip(other, unit, strict=True)})
                return
        candidates.append(unit)

    def beginning(self, unit: Unit) -> Signature:
        """Equal for units of equal signatures, and quickly made: few units begin alike."""
        first = unit[0]
        kind = first.kind if isinstance(first, Region) else first.operation
        return kind, len(unit), frozenset([self.twins.get(one, one) for one in first.sources])

    def signature(self, unit: Unit) -> Signature:
        """Equal for units that may be equal: all but the configs, inner names made neutral."""
        names = {node.id: f"<{number}>" for number, node in enumerate(unit)}
        return tuple(self.part(node, names) for node in unit)

    def part(self, node: Node, names: dict[str, str]) -> Signature:
        shared: Signature = (
            tuple((name, self.operand(one, names)) for name, one in node.inputs.items()),
            tuple((self.operand(one.condition, names), one.polarity) for one in node.guard),
            names.get(node.region, node.region),
            tuple(self.twins.get(one, one) for one in self.awaited.get(node.id, ())),
        )
        if isinstance(node, Region):
            results = ((name, self.operand(ref, names)) for name, ref in node.results.items())
            return (node.kind, tuple(results), *shared)
        engine = self.homes.get(node.engine or "")
        return (node.operation, engine, self.versions(node), *shared)

    def operand(self, operand: Operand, names: dict[str, str]) -> object:
        if not isinstance(operand, Ref):
            return repr(operand.value)
        node = names.get(operand.node) or self.twins.get(operand.node, operand.node)
        default = "" if operand.default is None else repr(operand.default)
        return node, operand.port, operand.fields, default

    def versions(self, node: Primitive) -> tuple[str, ...]:
        """The writers before ``node`` of what it reads."""
        effect = self.touched.get(node.id)
        if effect is None:
            return ()
        before = (one for one in self.effects if self.place[one.node.id] < self.place[node.id])
        return tuple(one.node.id for one in before if _writes_for(one, effect))


def _config(node: Node) -> str:
    """The settings as text: 1 and true are equal to Python, but not to an operation."""
    return repr(sorted(node.config.items()))


def _begins(head: Node, tail: Primitive) -> bool:
    """Whether ``head`` is the first half of the unit that ends with ``tail``."""
    return isinstance(head, Primitive) and OPERATIONS[head.operation].unit == tail.operation


def _writes_for(one: Effect, reader: Effect) -> bool:
    return bool(one.writes) and conflict(one, reader)


def _merged(graph: PGraph, twins: Twins) -> PGraph:
    """The graph in which every use of a twin is one of the node that stays."""

    def stays(node_id: str) -> str:
        return twins.get(node_id, node_id)

    def change(ref: Ref) -> Ref:
        return replace(ref, node=stays(ref.node)) if ref.node in twins else ref

    nodes = tuple(node if node.id in twins else with_refs(node, change) for node in graph.nodes)
    outputs = tuple(replace(out, ref=change(out.ref)) for out in graph.outputs)
    after = {
        Edge(edge.kind, stays(edge.source), edge.target)
        for edge in graph.edges
        if edge.source in twins and edge.target not in twins
    }
    joined = graph.with_(nodes=nodes, outputs=outputs, edges=graph.edges | after)
    return without(joined, twins)
