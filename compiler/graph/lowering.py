"""``decompose``: every module of the module graph becomes its primitives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Literal

from teola.compiler.graph.effects import effect_edges
from teola.compiler.graph.module_graph import ModuleGraph, WorkflowOutput
from teola.compiler.graph.pgraph import (
    INPUTS,
    Edge,
    Node,
    OutputPort,
    PGraph,
    Primitive,
    Ref,
    Region,
)
from teola.compiler.modules.build import Build
from teola.compiler.modules.output import PROBABILITIES


def lower(graph: ModuleGraph) -> PGraph:
    """Lower every module, in chain order.

    The chain is kept as order edges from the last primitives of each module to the first ones of
    the next; ``needs`` and the table's read and write sets become effect edges.
    """
    nodes: list[Node] = []
    ports: dict[tuple[str, str], Ref] = {}
    ends: dict[str, tuple[list[str], list[str]]] = {}
    edges: set[Edge] = set()
    before: list[str] = []
    for module in graph.modules:
        start = len(nodes)
        for port, ref in module.definition.lower(
            Build(module, ports, nodes, graph.engines)
        ).items():
            ports[module.id, port] = ref
        heads, tails = ends[module.id] = _ends(nodes[start:])
        edges.update(_between("order", before, heads))
        for needed in module.needs:
            edges.update(_between("effect", ends[needed][1], heads))
        before = tails or before
    outputs = tuple(_output(output, ports) for output in graph.outputs)
    return PGraph(
        graph.name,
        graph.inputs,
        outputs,
        tuple(_telling(nodes, outputs)),
        frozenset(edges) | effect_edges(nodes, graph.engines),
        graph.engines,
        {module.id: module.definition.name for module in graph.modules},
    )


def _between(
    kind: Literal["order", "effect"], sources: Iterable[str], targets: Sequence[str]
) -> Iterable[Edge]:
    return (Edge(kind, source, target) for source in sources for target in targets)


def _ends(nodes: Sequence[Node]) -> tuple[list[str], list[str]]:
    """The top-level nodes that wait for none of the others, and those that none waits for."""
    place = {node.id: node.id for node in nodes if not node.region}
    for node in nodes:
        if node.region:
            place[node.id] = place[node.region]
    waiting: set[str] = set()
    awaited: set[str] = set()
    for node in nodes:
        here = place[node.id]
        for source in node.sources:
            there = place.get(source, here)
            if there != here:
                waiting.add(here)
                awaited.add(there)
    top = [node.id for node in nodes if not node.region]
    return [id_ for id_ in top if id_ not in waiting], [id_ for id_ in top if id_ not in awaited]


def _telling(nodes: Sequence[Node], outputs: Sequence[OutputPort]) -> Iterable[Node]:
    """The nodes; decodes whose probabilities something reads are to tell them."""
    results = (node.results.values() for node in nodes if isinstance(node, Region))
    read = chain(*(node.inputs.values() for node in nodes), *results, (out.ref for out in outputs))
    asked = {one.node for one in read if isinstance(one, Ref) and one.port == PROBABILITIES}
    for node in nodes:
        output = node.config.get("output")
        if node.id in asked and isinstance(node, Primitive) and isinstance(output, dict):
            told = {**node.config, "output": {**output, PROBABILITIES: True}}
            yield replace(node, config=told)
        else:
            yield node


def _output(output: WorkflowOutput, ports: dict[tuple[str, str], Ref]) -> OutputPort:
    ref = output.ref
    if ref.node != INPUTS:
        place = ports[ref.node, ref.port]
        ref = Ref(place.node, place.port, place.fields + ref.fields, False, ref.default)
    return OutputPort(output.name, str(output.type), ref)
