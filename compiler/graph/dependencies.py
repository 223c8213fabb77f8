"""What each node of a graph waits for, and which regions stand around it."""

from __future__ import annotations

from collections.abc import Mapping

from teola.compiler.graph.pgraph import INPUTS, Node, PGraph, Ref, Region


def dependencies(graph: PGraph) -> dict[str, set[str]]:
    """Node id -> the ids of its own region's nodes that it waits for (data, order, effect).

    A dependency that crosses a region's border is lifted to the nodes that stand in one region.
    """
    paths = region_paths(graph)
    found: dict[str, set[str]] = {node.id: set() for node in graph.nodes}
    for node in graph.nodes:
        for _, ref in all_references(node):
            _depend(found, paths, node.id, ref.node)
    for edge in graph.edges:
        _depend(found, paths, edge.target, edge.source)
    return found


def _depend(
    found: dict[str, set[str]], paths: Mapping[str, tuple[str, ...]], target: str, source: str
) -> None:
    if source == INPUTS or source not in paths or target not in paths:
        return
    if paths[target] == paths[source]:
        if source != target:
            found[target].add(source)
        return
    for a, b in zip((*paths[target], target), (*paths[source], source), strict=False):
        if a != b:
            found[a].add(b)
            return


def region_paths(graph: PGraph) -> dict[str, tuple[str, ...]]:
    """Node id -> the regions around it, outermost first."""
    paths: dict[str, tuple[str, ...]] = {}
    for node in graph.nodes:
        inside = node.region
        paths[node.id] = (*paths.get(inside, ()), inside) if inside else ()
    return paths


def all_references(node: Node) -> list[tuple[str, Ref]]:
    """(name, reference) of a node's inputs and guards, and of a region's results."""
    found = list(node.references)
    if isinstance(node, Region):
        found += list(node.results.items())
    return found
