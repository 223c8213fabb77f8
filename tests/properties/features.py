"""What of the hard shapes a case has: the generators must reach each of them often enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from teola.compiler.api import Compilation
from teola.compiler.graph.effects import Effect, effects
from teola.compiler.graph.operations import input_kind
from teola.compiler.graph.pgraph import PGraph, Primitive, Ref, Region
from teola.compiler.modules.output import PROBABILITIES
from teola.compiler.passes.pipeline import PASSES, parse_pipeline
from tests.properties.cases import Case, Schedule

FEATURES = (
    "an empty list",
    "a list of one item",
    "an item twice",
    "two streams cut differently upstream",
    "a list taken whole and as a stream",
    "a reader before a writer",
    "two writers",
    "groups of one item",
    "groups of several items",
    "items that leave a call before its end",
    "a fold with calls ahead",
    "calls in a region of kind each",
    "calls in a region of kind fold",
    "calls in a region of kind reduce",
    "a collection for words alone",
    "a collection for words and embeddings",
    "rankings fused group by group",
    "a list of JSON",
    "a choice with probabilities",
    "passages that are cited",
    "a warm-up",
    "more than 15 modules",
    "more than 25 modules",
    "a pass left out",
    "passes in another order",
    "engines with other batches",
    "engines that take time",
)


def features(case: Case, compiled: Compilation) -> Iterator[str]:
    """The names of those that the case has."""
    graph = compiled.plan.graph
    yield from _of_lists(case, compiled.source)
    yield from _of_streams(graph)
    yield from _of_effects(effects(graph.nodes, graph.engines))
    yield from _of_regions(graph)
    for node in graph.nodes:
        if isinstance(node, Primitive):
            yield from _of_operations(node)
    for least in (15, 25):
        if len(case.workflow["modules"]) > least:
            yield f"more than {least} modules"
    yield from _of_passes([step.name for step in parse_pipeline(case.passes)])
    yield from _of_engines(case.schedule)


def _of_operations(node: Primitive) -> Iterator[str]:
    output = node.config.get("output")
    match node.operation:
        case "ingest" if node.config.get("mode") == "keyword":
            yield "a collection for words alone"
        case "ingest" if node.config.get("mode") == "hybrid":
            yield "a collection for words and embeddings"
        case "fuse" if sum(ref.stream for _, ref in node.references) == 2:
            yield "rankings fused group by group"
        case "decode" if isinstance(output, dict) and output["shape"] == "json_list":
            yield "a list of JSON"
        case "decode" if isinstance(output, dict) and output.get(PROBABILITIES):
            yield "a choice with probabilities"
        case "cited":
            yield "passages that are cited"
        case "partial_prefill":
            yield "a warm-up"


def _of_passes(names: Sequence[str]) -> Iterator[str]:
    usual = [name for name in PASSES if name in names]
    if len(usual) < len(PASSES):
        yield "a pass left out"
    if names != usual:
        yield "passes in another order"


def _of_engines(schedule: Schedule) -> Iterator[str]:
    settings = schedule.engines.values()
    if len({one["batch_size"] for one in settings if "batch_size" in one}) > 1:
        yield "engines with other batches"
    if any(one["latency_ms"] or one["per_item_ms"] for one in settings):
        yield "engines that take time"


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
        if isinstance(node, Primitive) and node.group is not None:
            yield "groups of one item" if node.group == 1 else "groups of several items"
        streams = [ref for _, ref in node.references if ref.stream]
        if any(_is_call(graph, ref) for ref in streams):
            yield "items that leave a call before its end"
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


def _is_call(graph: PGraph, ref: Ref) -> bool:
    return getattr(graph.by_id.get(ref.node), "operation", "") == "decode"


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
