"""The p-graph as a picture: a box a primitive, a frame a module and a region."""

from __future__ import annotations

import re
from collections.abc import Iterator

from teola.compiler.draw.view import Box, Engine, Frame, Line, Style, View, joined
from teola.compiler.graph.operations import OPERATIONS
from teola.compiler.graph.pgraph import INPUTS, Node, PGraph, Primitive, Ref, Region

REPEATS = {"each": "for each item", "fold": "one item after another", "reduce": "until one is left"}
CARRIED = {"fold": "state", "reduce": "items"}
"""Region kind -> the bound name under which a round's result comes back in the next."""
FED_BY = {"item": "items", "items": "items", "state": "initial"}
"""Bound name -> the region's input that feeds it."""


def primitive_view(graph: PGraph) -> View:
    """Draw every primitive."""
    boxes = [Box(f"in:{port.name}", port.name, role="input") for port in graph.inputs]
    frames: dict[str, Frame] = {}
    for node in graph.nodes:
        if node.module and f"module:{node.module}" not in frames:
            uses = graph.modules.get(node.module, "")
            frame = Frame(f"module:{node.module}", node.module, uses, "module")
            frames[frame.id] = frame
        if isinstance(node, Region):
            note = f"{node.kind}: {REPEATS[node.kind]}"
            frame = Frame(f"region:{node.id}", _name(node), note, "region", _frame(node))
            frames[frame.id] = frame
        else:
            boxes.append(_box(graph, node))
    boxes += [Box(f"out:{out.name}", out.name, role="output") for out in graph.outputs]
    return View(graph.name, tuple(boxes), tuple(frames.values()), joined(_lines(graph)))


def engines_of(graph: PGraph, node: Node) -> tuple[Engine, ...]:
    """The engine that a node works on, if it needs one."""
    if isinstance(node, Region) or node.engine is None:
        return ()
    return (Engine(node.engine, str(graph.engines.get(node.engine, {}).get("kind", "engine"))),)


def _frame(node: Node) -> str:
    """The innermost frame around a node."""
    if node.region:
        return f"region:{node.region}"
    return f"module:{node.module}" if node.module else ""


def _name(node: Node) -> str:
    """A node's name inside its frame."""
    return node.id.removeprefix(f"{node.region or node.module}.")


def _box(graph: PGraph, node: Primitive) -> Box:
    name = _name(node)
    numbered = re.fullmatch(rf"{re.escape(node.operation)}_\d+", name)
    title = node.operation if numbered else name
    notes = [] if title.endswith(node.operation) else [node.operation]
    if node.group is not None:
        notes.append(f"groups of {node.group}")
    return Box(node.id, title, ", ".join(notes), "work", engines_of(graph, node), _frame(node))


def _lines(graph: PGraph) -> Iterator[Line]:
    """Every reference and edge, between boxes: a region is drawn as what it repeats."""
    bound = {
        (ref.node, FED_BY.get(ref.port, "")) for node in graph.nodes for _, ref in node.references
    }
    for node in graph.nodes:
        target = _first(graph, node)
        for name, ref in node.references:
            style: Style = "stream" if ref.stream else "data"
            source = _source(graph, ref, node)
            through_body = isinstance(node, Region) and (node.id, name) in bound
            if source != target and not through_body:
                yield Line(source, target, style, (name,), _group(ref, node))
            yield from _again(graph, ref, target, name)
        if isinstance(node, Primitive) and OPERATIONS[node.operation].hint:
            yield Line(node.id, str(node.config["hint"]), "hint")
    for edge in sorted(graph.edges):
        before, after = graph.by_id[edge.source], graph.by_id[edge.target]
        yield Line(_last(graph, before), _first(graph, after), edge.kind)
    for out in graph.outputs:
        yield Line(_source(graph, out.ref, None), f"out:{out.name}", "data")


def _group(ref: Ref, node: Node) -> int | None:
    """How many items are taken at a time: a region takes single ones."""
    if not ref.stream:
        return None
    return node.group if isinstance(node, Primitive) else 1


def _again(graph: PGraph, ref: Ref, target: str, name: str) -> Iterator[Line]:
    """The line back from a round's result to what reads it in the next round."""
    region = graph.by_id.get(ref.node)
    if isinstance(region, Region) and CARRIED.get(region.kind) == ref.port:
        yield Line(_last(graph, region), target, "again", (name,))


def _first(graph: PGraph, node: Node) -> str:
    """The box that stands for a node: a region's is the first of its body."""
    while isinstance(node, Region):
        node = next(inner for inner in graph.nodes if inner.region == node.id)
    return node.id


def _last(graph: PGraph, node: Node) -> str:
    """The box where a node's result comes from: a region's is that of its first result."""
    while isinstance(node, Region):
        node = graph.by_id[next(iter(node.results.values())).node]
    return node.id


def _source(graph: PGraph, ref: Ref, reader: Node | None) -> str:
    """The box a reference comes from; what a region binds comes from the region's own input."""
    if ref.node == INPUTS:
        return f"in:{ref.port}"
    node = graph.by_id[ref.node]
    if not isinstance(node, Region):
        return node.id
    if ref.port in node.results and (reader is None or reader.region != node.id):
        return _source(graph, node.results[ref.port], None)
    fed = node.inputs.get(FED_BY.get(ref.port, "items"))
    return _source(graph, fed, node) if isinstance(fed, Ref) else _first(graph, node)
