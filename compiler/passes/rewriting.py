"""What several passes do to a graph: take nodes out, send references elsewhere, stream a list."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from teola.compiler.graph.operations import OPERATIONS, input_kinds, output_port
from teola.compiler.graph.pgraph import (
    BOUND_PORTS,
    INPUTS,
    Edge,
    Guard,
    Node,
    Operand,
    PGraph,
    Primitive,
    Ref,
    Region,
)


def is_hint(node: Node) -> bool:
    """Whether the node only prepares another one."""
    operation = OPERATIONS.get(node.operation) if isinstance(node, Primitive) else None
    return operation is not None and operation.hint


def hinted(node: Node) -> str | None:
    """The id of the node that a hint prepares; None where the node is no hint."""
    return str(node.config.get("hint")) if is_hint(node) else None


def list_inputs(graph: PGraph, node: Node) -> dict[str, Ref]:
    """The references that a node may take item by item: lists into its map and scan inputs. Where
    those of a map cannot all be cut alike, there is none."""
    found = {
        name: operand
        for name, kind in input_kinds(node).items()
        if kind in ("map", "scan") and isinstance(operand := node.inputs[name], Ref)
    }
    if not found:
        return {}
    lists = {name: ref for name, ref in found.items() if _is_list(graph, ref)}
    return lists if len(lists) == len(found) or takes_apart(node) else {}


def takes_apart(node: Node) -> bool:
    """Whether each list input may come at its own pace: those of a scan need not line up."""
    return "map" not in input_kinds(node).values()


def _is_list(graph: PGraph, ref: Ref) -> bool:
    """Whether the port that is referred to is known to give items: a field of a record, or what
    a region binds to one item, is only known to be a value."""
    if ref.fields:
        return False
    if ref.node == INPUTS:
        types = [port.type for port in graph.inputs if port.name == ref.port]
        return bool(types) and types[0].startswith("list<")
    producer = graph.by_id[ref.node]
    port = output_port(producer, ref.port)
    if port is None and isinstance(producer, Region):
        return BOUND_PORTS[producer.kind].get(ref.port, "").startswith("list<")
    return port is not None and port.is_list


def streamed(node: Node, names: Collection[str], group: int) -> Node:
    """The node with the inputs ``names`` as streams, ``group`` items at a time."""
    inputs: dict[str, Operand] = {
        name: operand.streamed() if name in names and isinstance(operand, Ref) else operand
        for name, operand in node.inputs.items()
    }
    if isinstance(node, Region):
        return node if inputs == node.inputs else replace(node, inputs=inputs)
    if inputs == node.inputs and node.group == group:
        return node
    return replace(node, inputs=inputs, group=group)


def with_refs(node: Node, change: Callable[[Ref], Ref]) -> Node:
    """The node with every reference changed."""
    inputs: dict[str, Operand] = {
        name: change(operand) if isinstance(operand, Ref) else operand
        for name, operand in node.inputs.items()
    }
    guard = tuple(Guard(change(one.condition), one.polarity) for one in node.guard)
    if isinstance(node, Region):
        results = {name: change(ref) for name, ref in node.results.items()}
        return replace(node, inputs=inputs, guard=guard, results=results)
    return replace(node, inputs=inputs, guard=guard)


def without(graph: PGraph, removed: Collection[str]) -> PGraph:
    """The graph without some nodes, and without the hints for them; what was ordered through one
    of them is still ordered."""
    gone = set(removed) | {node.id for node in graph.nodes if hinted(node) in removed}
    nodes = tuple(node for node in graph.nodes if node.id not in gone)
    return graph.with_(nodes=nodes, edges=_bridged(graph.edges, gone))


def _bridged(edges: Iterable[Edge], gone: Collection[str]) -> frozenset[Edge]:
    """The edges past removed nodes: what went through one now goes past it."""
    kept = set(edges)
    ends = {end for edge in kept for end in (edge.source, edge.target)}
    for removed in sorted(ends & set(gone)):
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
