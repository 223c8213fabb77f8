"""The module graph as a picture: the lines of the p-graph, drawn between modules."""

from __future__ import annotations

from dataclasses import replace

from teola.compiler.draw.primitives import engines_of, primitive_view
from teola.compiler.draw.view import Box, Engine, View, joined
from teola.compiler.graph.pgraph import PGraph, Region


def module_view(graph: PGraph) -> View:
    """Draw every module; a primitive outside of all modules stands for itself."""
    engines: dict[str, dict[Engine, None]] = {}
    home: dict[str, str] = {}
    for node in graph.nodes:
        if node.module or not isinstance(node, Region):
            home[node.id] = node.module or node.id
            found = engines.setdefault(home[node.id], {})
            found.update(dict.fromkeys(engines_of(graph, node)))
    whole = primitive_view(graph)
    boxes = [box for box in whole.boxes if box.role == "input"]
    boxes += [
        Box(name, name, graph.modules.get(name, ""), engines=tuple(used))
        for name, used in engines.items()
    ]
    boxes += [box for box in whole.boxes if box.role == "output"]
    moved = (
        replace(
            line,
            source=home.get(line.source, line.source),
            target=home.get(line.target, line.target),
            ports=(),
        )
        for line in whole.lines
    )
    lines = joined(line for line in moved if line.source != line.target)
    return View(graph.name, tuple(boxes), (), lines)
