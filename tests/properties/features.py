"""What of the hard shapes a case has: the generators must reach each of them often enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from teola.compiler.api import Compilation
from teola.compiler.graph.effects import Effect, effects
from teola.compiler.graph.operations import input_kind
from teola.compiler.graph.pgraph import PGraph, Primitive, Ref, Region
from tests.properties.cases import Case

FEATURES = (
    "an empty list",
    "a list of one item",
    "an item twice",
    "two streams cut differently upstream",
    "a list taken whole and as a stream",
    "a reader before a writer",
    "two writers",
    "a fold with calls ahead",
    "calls in a region of kind each",
    "calls in a region of kind reduce",
    "a warm-up",
    "more than 15 modules",
)


def features(case: Case, compiled: Compilation) -> Iterator[str]:
    """The names of those that the case has."""
    graph = compiled.plan.graph
    yield from _of_lists(case, compiled.source)
    yield from _of_streams(graph)
    yield from _of_effects(effects(graph.nodes, graph.engines))
    yield from _of_regions(graph)
    if any(
        isinstance(node, Primitive) and node.operation == "partial_prefill" for node in graph.nodes
    ):
        yield "a warm-up"
    if len(case.workflow["modules"]) > 15:
        yield "more than 15 modules"


def _of_lists(case: Case, source: PGraph) -> Iterator[str]:
    """By the lists that the caller gave and the workflow uses."""
    used = {ref.port for node in source.nodes for _, ref in node.references if ref.node == "inputs"}
    texts = {
        "documents": [document["text"] for document in case.inputs["documents"]],
        "names": case.inputs["names"],
    }
    lists = [texts[name] for name in texts if name in used]
    if [] in lists:
        yield "an empty list"
    if any(len(one) == 1 for one in lists):
        yield "a list of one item"
    if any(len(set(one)) < len(one) for one in lists):
        yield "an item twice"


def _of_streams(graph: PGraph) -> Iterator[str]:
    ways: dict[tuple[str, str], set[bool]] = {}
    differently = False
    for node in graph.nodes:
        streams = [ref for _, ref in node.references if ref.stream]
        differently |= len({_pace(graph, ref) for ref in streams}) > 1
        for name, ref in node.references:
            if ref.stream or input_kind(node, name) in ("gather", "map", "scan"):
                ways.setdefault((ref.node, ref.port), set()).add(ref.stream)
    if differently:
        yield "two streams cut differently upstream"
    if any(len(found) == 2 for found in ways.values()):
        yield "a list taken whole and as a stream"


def _pace(graph: PGraph, ref: Ref) -> int | None:
    producer = graph.by_id.get(ref.node)
    return producer.group if isinstance(producer, Primitive) else None


def _of_effects(found: Sequence[Effect]) -> Iterator[str]:
    for place, one in enumerate(found):
        for other in found[place + 1 :]:
            if one.reads & other.writes:
                yield "a reader before a writer"
            if one.writes & other.writes:
                yield "two writers"


def _of_regions(graph: PGraph) -> Iterator[str]:
    for node in graph.nodes:
        if isinstance(node, Region) and node.kind == "fold" and node.config.get("ahead"):
            yield "a fold with calls ahead"
        region = graph.by_id.get(node.region)
        if isinstance(region, Region) and getattr(node, "operation", "") == "prefill":
            yield f"calls in a region of kind {region.kind}"
