"""The verifier: what every p-graph must hold, checked against the table after each pass."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from teola.compiler.errors import GraphError
from teola.compiler.graph.dependencies import dependencies, region_paths
from teola.compiler.graph.effects import effect_edges
from teola.compiler.graph.operations import (
    OPERATIONS,
    Operation,
    input_kind,
    output_port,
)
from teola.compiler.graph.pgraph import (
    BOUND_PORTS,
    INPUTS,
    Node,
    PGraph,
    Primitive,
    Ref,
    Region,
)

REGION_INPUTS: Mapping[str, frozenset[str]] = {
    "each": frozenset({"items"}),
    "fold": frozenset({"items", "initial"}),
    "reduce": frozenset({"items"}),
}


def verify(graph: PGraph, known: PGraph | None = None) -> None:
    """Check ``graph`` against the operation table.

    ``known`` is a graph that was found valid: a node that is the very same object there, and refers
    only to such, is not looked at again.

    Raises:
        GraphError: naming every rule broken and the node that breaks it.
    """
    problems = _Verifier(graph, known).run()
    if problems:
        message = f"the graph {graph.name!r} is not valid:\n  " + "\n  ".join(problems)
        raise GraphError(message, problems=problems)


def _changed(graph: PGraph, known: PGraph | None) -> set[str] | None:
    """Ids of the nodes that only one of the graphs has as they are; None where all must be looked
    at."""
    if known is None or graph.inputs != known.inputs or graph.engines is not known.engines:
        return None
    new = {node.id for node in graph.nodes if known.by_id.get(node.id) is not node}
    return new | (known.by_id.keys() - graph.by_id.keys())


class _Verifier:
    """One verification: collects every problem of one graph."""

    def __init__(self, graph: PGraph, known: PGraph | None = None) -> None:
        self.graph = graph
        self.changed = _changed(graph, known)
        self.nodes = graph.by_id
        self.paths = region_paths(graph)
        self.input_types = {port.name: port.type for port in graph.inputs}
        self.problems: list[str] = []

    def run(self) -> list[str]:
        self.check_ids()
        if self.changed is None or self.changed:
            self.check_nodes()
            self.check_units()
        self.check_outputs()
        self.check_edges()
        if not self.problems:
            self.check_order()
        return self.problems

    def check_nodes(self) -> None:
        for node in self.graph.nodes:
            if self.is_known(node):
                continue
            if isinstance(node, Primitive):
                self.check_primitive(node)
            else:
                self.check_region(node)
            for name, ref in node.references:
                self.check_ref(node.id, name, ref, self.scope(node))

    def is_known(self, node: Node) -> bool:
        """Whether the node, all that it names and all that is around it is as it was when it was
        found valid."""
        changed = self.changed
        if changed is None or node.id in changed or "hint" in node.config:
            return False
        if not changed.isdisjoint(node.sources):
            return False
        if node.region and not changed.isdisjoint(self.paths[node.id]):
            return False
        return isinstance(node, Primitive) or changed.isdisjoint(
            ref.node for ref in node.results.values()
        )

    def say(self, node_id: str, what: str) -> None:
        self.problems.append(f"%{node_id}: {what}")

    def scope(self, node: Node) -> tuple[str, ...]:
        return self.paths[node.id]

    def check_ids(self) -> None:
        if len(self.nodes) != len(self.graph.nodes):
            seen: set[str] = set()
            for node in self.graph.nodes:
                if node.id in seen:
                    self.say(node.id, "the id is used twice")
                seen.add(node.id)
        above: list[str] = []
        for node in self.graph.nodes:
            while above and node.region != above[-1]:
                above.pop()
            if node.region and not above:
                self.say(node.id, f"stands outside its region %{node.region}")
            if isinstance(node, Region):
                above.append(node.id)

    def check_primitive(self, node: Primitive) -> None:
        operation = OPERATIONS.get(node.operation)
        if operation is None:
            self.say(node.id, f"there is no operation {node.operation!r}")
            return
        self.check_engine(node, operation)
        for name in node.inputs if operation.extra is None else ():
            if name not in operation.inputs:
                self.say(node.id, f"{node.operation} has no input {name!r}")
        for name, port in operation.inputs.items():
            if port.required and name not in node.inputs:
                self.say(node.id, f"{node.operation} needs the input {name!r}")
        self.check_streams(node)
        if operation.hint:
            self.check_hint(node)

    def check_engine(self, node: Primitive, operation: Operation) -> None:
        if operation.engine_kind is None:
            if node.engine is not None:
                self.say(node.id, f"{node.operation} runs on no engine, not on {node.engine!r}")
            return
        engine = self.graph.engines.get(node.engine or "")
        if engine is None:
            self.say(node.id, f"the engine {node.engine!r} is not declared")
        elif engine.get("kind") != operation.engine_kind:
            self.say(
                node.id,
                f"{node.operation} needs an engine of kind {operation.engine_kind}, "
                f"{node.engine!r} is of kind {engine.get('kind')}",
            )

    def check_streams(self, node: Primitive) -> None:
        inputs = node.inputs.items()
        streams = [name for name, one in inputs if isinstance(one, Ref) and one.stream]
        for name in streams:
            kind = input_kind(node, name)
            if kind not in ("map", "scan", None):
                self.say(node.id, f"a stream cannot enter {name!r}: it is a {kind} input")
        if streams and (node.group is None or node.group < 1):
            self.say(node.id, "a node with a stream input needs a group of at least 1")
        if not streams and node.group is not None:
            self.say(node.id, "a group needs a stream input")

    def check_hint(self, node: Primitive) -> None:
        """It names a call of its engine, in its region or inside, and takes what that takes."""
        target = self.nodes.get(str(node.config.get("hint")))
        if not isinstance(target, Primitive) or self.unit_of(target) is None:
            self.say(node.id, f"hint: there is no call {node.config.get('hint')!r}")
            return
        if target.engine != node.engine:
            self.say(node.id, f"runs on {node.engine!r}, but %{target.id} on {target.engine!r}")
        if node.region not in ("", *self.paths[target.id]):
            self.say(node.id, f"stands in a region that is not around %{target.id}")
        for name, operand in node.inputs.items():
            if target.inputs.get(name) != operand:
                self.say(node.id, f"the input {name!r} is not that of %{target.id}")

    def check_region(self, node: Region) -> None:
        missing = REGION_INPUTS[node.kind] - set(node.inputs)
        unknown = set(node.inputs) - REGION_INPUTS[node.kind]
        if missing:
            self.say(node.id, f"a {node.kind} region needs {', '.join(sorted(missing))}")
        if unknown:
            self.say(node.id, f"a {node.kind} region has no input {', '.join(sorted(unknown))}")
        if node.kind != "each" and len(node.results) != 1:
            self.say(node.id, f"a {node.kind} region has exactly one result")
        if any(name in BOUND_PORTS[node.kind] for name in node.results):
            self.say(node.id, "a result has the name of a bound port")
        for name, operand in node.inputs.items():
            kind = input_kind(node, name)
            if isinstance(operand, Ref) and operand.stream and kind not in ("map", "scan"):
                self.say(node.id, f"a stream cannot enter {name!r}: it is a {kind} input")
        for name, ref in node.results.items():
            self.check_ref(node.id, name, ref, (*self.paths[node.id], node.id))
            inside = self.nodes.get(ref.node)
            if ref.node != node.id and (inside is None or inside.region != node.id):
                self.say(node.id, f"{name}: %{ref.node}:{ref.port} is not in its body")

    def check_ref(self, node_id: str, name: str, ref: Ref, scope: tuple[str, ...]) -> None:
        found = self.port_type(ref, scope)
        if found is None:
            self.say(node_id, f"{name}: %{ref.node}:{ref.port} does not exist or is not in reach")
        elif ref.stream and not found.startswith("list<"):
            self.say(node_id, f"{name}: %{ref.node}:{ref.port} is no list, it cannot be a stream")
        elif ref.node == node_id and node_id not in scope:
            self.say(node_id, f"{name}: waits for itself")

    def port_type(self, ref: Ref, scope: tuple[str, ...]) -> str | None:
        """The type of the port as seen from ``scope``; None where it cannot be seen."""
        if ref.node == INPUTS:
            return self.input_types.get(ref.port)
        target = self.nodes.get(ref.node)
        if target is None:
            return None
        if isinstance(target, Region) and target.id in scope:
            return BOUND_PORTS[target.kind].get(ref.port)
        if target.region not in ("", *scope):
            return None
        out = output_port(target, ref.port)
        return out.type if out else None

    def check_units(self) -> None:
        """A prefill has exactly one decode, on its engine, under its guard, in its region."""
        units = {row.name: row.unit for row in OPERATIONS.values() if row.unit is not None}
        heads = {
            node.id: (node, units[node.operation])
            for node in self.graph.nodes
            if isinstance(node, Primitive) and node.operation in units
        }
        followers: dict[str, list[Primitive]] = {}
        for node in self.graph.nodes:
            if heads.keys().isdisjoint(node.sources):
                continue
            for _, ref in node.references:
                if ref.node not in heads:
                    continue
                head, unit = heads[ref.node]
                if isinstance(node, Primitive) and node.operation == unit:
                    followers.setdefault(head.id, []).append(node)
                else:
                    self.say(node.id, f"only a {unit} may use %{head.id}")
        for head, _ in heads.values():
            self.check_unit(head, followers.get(head.id, []))

    def unit_of(self, node: Primitive) -> str | None:
        operation = OPERATIONS.get(node.operation)
        return operation.unit if operation else None

    def check_unit(self, head: Primitive, tails: list[Primitive]) -> None:
        if len(tails) != 1:
            self.say(head.id, f"has {len(tails)} {self.unit_of(head)}s, it needs exactly one")
            return
        tail = tails[0]
        if (tail.engine, tail.guard, tail.region) != (head.engine, head.guard, head.region):
            self.say(tail.id, f"differs from %{head.id} in engine, guard or region")

    def check_outputs(self) -> None:
        for out in self.graph.outputs:
            if self.port_type(out.ref, ()) is None:
                self.problems.append(
                    f"output {out.name}: %{out.ref.node}:{out.ref.port} does not exist"
                )

    def check_edges(self) -> None:
        for edge in self.graph.edges:
            for end in (edge.source, edge.target):
                if end not in self.nodes:
                    self.say(end, f"an {edge.kind} edge names it, but there is no such node")
            if self.inside(edge.source, edge.target) or self.inside(edge.target, edge.source):
                self.say(
                    edge.target, f"the {edge.kind} edge from %{edge.source} joins it to itself"
                )
        for edge in effect_edges(self.graph.nodes, self.graph.engines) - self.graph.edges:
            self.say(edge.target, f"the effect edge from %{edge.source} is missing")

    def inside(self, node_id: str, region: str) -> bool:
        """Whether the node is ``region``, or stands in it."""
        return region in (node_id, *self.paths.get(node_id, ()))

    def check_order(self) -> None:
        """Nodes stand in chain order: each after what it waits for."""
        if self.is_in_order():
            return
        needs = dependencies(self.graph)
        place = {node.id: number for number, node in enumerate(self.graph.nodes)}
        late = [(a, b) for a, found in needs.items() for b in found if place[b] > place[a]]
        try:
            TopologicalSorter(needs).prepare()
        except CycleError as error:
            self.problems.append("a cycle: " + " -> ".join(f"%{id_}" for id_ in error.args[1]))
            return
        for target, source in sorted(late):
            self.say(target, f"stands before %{source}, which it waits for")

    def is_in_order(self) -> bool:
        """Whether each node stands after what it names. Regions stand together, so that this is
        enough: what holds for two nodes holds for the regions around them."""
        place: dict[str, int] = {INPUTS: 0}
        for node in self.graph.nodes:
            place[node.id] = len(place)
            if not place.keys() >= node.sources:
                return False
        return all(place[edge.source] < place[edge.target] for edge in self.graph.edges)
