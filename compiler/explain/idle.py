"""Why a pass found nothing to do, where that is known."""

from __future__ import annotations

from collections.abc import Callable

from teola.compiler.graph.operations import OPERATIONS
from teola.compiler.graph.pgraph import PGraph, Primitive
from teola.compiler.passes.base import Pass
from teola.compiler.passes.decompose_stages import DecomposeStages
from teola.compiler.passes.deduplicate import Deduplicate
from teola.compiler.passes.pipeline_decode import PipelineDecode
from teola.compiler.passes.prune_order import PruneOrder
from teola.compiler.passes.remove_dead import RemoveDead
from teola.compiler.passes.rewriting import hinted, list_inputs
from teola.compiler.passes.split_prefill import SplitPrefill


def idle_reason(by: Pass, graph: PGraph) -> str | None:
    """Why ``by`` left ``graph`` as it is; None where nobody knows."""
    reason = REASONS.get(type(by))
    return reason(graph) if reason is not None else None


def _decode(graph: PGraph) -> str:
    early = {
        (node.id, name)
        for node in graph.nodes
        if isinstance(node, Primitive)
        for name, port in OPERATIONS[node.operation].outputs.items()
        if port.early
    }
    takers = [
        ref for node in graph.nodes for _, ref in node.references if (ref.node, ref.port) in early
    ]
    if not takers:
        return "No call's answer is used as a list of items."
    if all(ref.stream for ref in takers):
        return "What takes decoded items takes them one by one already."
    return "What takes the decoded items needs all of them at once."


def _stages(graph: PGraph) -> str:
    lists = [ref for node in graph.nodes for ref in list_inputs(graph, node).values()]
    if not lists:
        return "No list is worked on item by item."
    if all(ref.stream for ref in lists):
        return "Every list flows in groups already."
    return "The lists left whole fit in one efficient batch, or gain nothing by being cut."


def _prefill(graph: PGraph) -> str:
    calls = {
        node.id
        for node in graph.nodes
        if isinstance(node, Primitive) and OPERATIONS[node.operation].unit is not None
    }
    if not calls:
        return "There is no LLM call."
    if calls <= {hinted(node) for node in graph.nodes}:
        return "Every call has its warm-up already."
    return "No prompt begins with a part that is known before the rest of it."


REASONS: dict[type[Pass], Callable[[PGraph], str]] = {
    PruneOrder: lambda _: "Nothing waits only because of the order of the file.",
    Deduplicate: lambda _: "No two primitives do equal work.",
    RemoveDead: lambda _: "Everything feeds an output, or writes something.",
    PipelineDecode: _decode,
    DecomposeStages: _stages,
    SplitPrefill: _prefill,
}
"""Pass -> what can be said of a graph that it leaves alone. A pass need not be here."""
