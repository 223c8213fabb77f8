"""What a picture shows, whatever its format: boxes in frames, and lines between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from teola.compiler.graph.pgraph import INPUTS, Node, PGraph, Primitive, Ref, Region, refs


@dataclass(frozen=True, slots=True)
class Box:
    """A node: ``frame`` is the module or region drawn around it, ``kind`` its engine's kind."""

    id: str
    label: str
    kind: str
    frame: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """``style`` is data, stream, order or effect."""

    source: str
    target: str
    label: str
    style: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A module, or a region with what it repeats over."""

    id: str
    label: str
    parent: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """A whole picture; boxes and frames stand in chain order."""

    title: str
    boxes: tuple[Box, ...]
    frames: tuple[Frame, ...]
    lines: tuple[Line, ...]


REPEATS = {"each": "for each item", "fold": "one after another", "reduce": "until one is left"}


def engine_kind(graph: PGraph, node: Primitive) -> str:
    """The kind of the node's engine; ``cpu`` where it needs none."""
    if node.engine is None:
        return "cpu"
    return str(graph.engines.get(node.engine, {}).get("kind", "cpu"))


def primitive_view(graph: PGraph) -> View:
    """The p-graph: a box a primitive, a frame a module and a region."""
    boxes = [Box(f"in:{p.name}", p.name, "input") for p in graph.inputs]
    frames: dict[str, Frame] = {}
    for node in graph.nodes:
        if node.module:
            frames.setdefault(f"module:{node.module}", Frame(f"module:{node.module}", node.module))
        frame = f"module:{node.module}" if node.module else ""
        if node.region:
            frame = f"region:{node.region}"
        if isinstance(node, Region):
            label = f"{node.id}: {node.kind} ({REPEATS[node.kind]})"
            frames[f"region:{node.id}"] = Frame(f"region:{node.id}", label, frame)
        else:
            boxes.append(Box(node.id, _label(node), engine_kind(graph, node), frame))
    boxes += [Box(f"out:{out.name}", out.name, "output") for out in graph.outputs]
    return View(graph.name, tuple(boxes), tuple(frames.values()), tuple(_lines(graph)))


def _label(node: Primitive) -> str:
    name = node.id.removeprefix(f"{node.module}.")
    shown = [name] if name.endswith(node.operation) else [name, node.operation]
    if node.engine:
        shown.append(f"on {node.engine}")
    if node.group is not None:
        shown.append(f"groups of {node.group}")
    return "\n".join(shown)


def _lines(graph: PGraph) -> Iterator[Line]:
    seen = set()
    for node in graph.nodes:
        target = _anchor(graph, node)
        for name, ref in refs(node):
            line = Line(_source(graph, ref, node), target, name, _style(ref))
            if line.source != line.target and line not in seen:
                seen.add(line)
                yield line
    for edge in sorted(graph.edges):
        before, after = graph.by_id[edge.source], graph.by_id[edge.target]
        yield Line(_tail(graph, before), _anchor(graph, after), "", edge.kind)
    for out in graph.outputs:
        yield Line(_source(graph, out.ref, None), f"out:{out.name}", "", "data")


def _style(ref: Ref) -> str:
    return "stream" if ref.stream else "data"


def _anchor(graph: PGraph, node: Node) -> str:
    """The box that stands for a node: a region's is the first of its body."""
    while isinstance(node, Region):
        node = next(inner for inner in graph.nodes if inner.region == node.id)
    return node.id


def _tail(graph: PGraph, node: Node) -> str:
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
        result = node.results[ref.port]
        return _source(graph, result, None) if result.node != INPUTS else f"in:{result.port}"
    bound = node.inputs.get("initial" if ref.port == "state" else "items")
    if isinstance(bound, Ref):
        return _source(graph, bound, node)
    return _anchor(graph, node)


def module_view(graph: PGraph) -> View:
    """The module graph: the p-graph's lines, drawn between modules."""
    modules = dict.fromkeys(
        node.module or node.id for node in graph.nodes if node.module or isinstance(node, Primitive)
    )
    whole = primitive_view(graph)
    home = {box.id: box.frame for box in whole.boxes}
    parents = {frame.id: frame.parent for frame in whole.frames}

    def module(box_id: str) -> str:
        frame = home.get(box_id, "")
        while parents.get(frame):
            frame = parents[frame]
        return frame.removeprefix("module:") if frame.startswith("module:") else box_id

    boxes = [box for box in whole.boxes if box.kind == "input"]
    boxes += [Box(name, name, _module_kind(graph, name)) for name in modules]
    boxes += [box for box in whole.boxes if box.kind == "output"]
    lines = dict.fromkeys(
        Line(module(line.source), module(line.target), "", line.style)
        for line in whole.lines
        if module(line.source) != module(line.target)
    )
    return View(graph.name, tuple(boxes), (), tuple(lines))


def _module_kind(graph: PGraph, module: str) -> str:
    kinds = [
        engine_kind(graph, node)
        for node in graph.nodes
        if isinstance(node, Primitive) and module in (node.module, node.id)
    ]
    return next((kind for kind in kinds if kind != "cpu"), "cpu")
