"""split-prefill: the part of a prompt that is known early is prefilled early."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from teola.compiler.cost.profile import Entry
from teola.compiler.graph.operations import OPERATIONS
from teola.compiler.graph.pgraph import Guard, Node, Operand, PGraph, Primitive, Ref, Region
from teola.compiler.graph.readiness import Readiness, part_of
from teola.compiler.passes.base import Context, Pass
from teola.compiler.passes.rewriting import hinted
from teola.compiler.prompts import template

HINT = "partial_prefill"

MIN_NEW_TOKENS = 64
"""Where no profile says what a token costs."""


@dataclass(frozen=True)
class SplitPrefill(Pass):
    """Give a call whose prompt begins with parts that are ready before the others a warm-up: a
    ``partial_prefill`` of those parts, longer with each part that comes (paper, section 4.2,
    partial prefilling). Attention is causal: only a prefix can be prefilled.

    ``min_new_tokens``: a warm-up that would prefill fewer tokens is not worth its request; 0: the
    profile says how many take longer than a request does.
    ``ahead``: how many iterations of a fold may be prefilled before their turn.
    """

    name: ClassVar[str] = "split-prefill"
    woken_by: ClassVar[frozenset[str] | None] = frozenset(
        {"prune-order", "deduplicate", "remove-dead"}
    )

    min_new_tokens: int = 0
    ahead: int = 8

    def apply(self, graph: PGraph, context: Context) -> PGraph:
        warmed = {hinted(node) for node in graph.nodes}
        calls = [call for call in _calls(graph) if call.id not in warmed]
        if not calls:
            return graph
        ready = Readiness(graph, _works(graph, context))
        taken = set(graph.by_id)
        warm_ups = []
        for call in calls:
            if names := _early(ready, call):
                least = self.min_new_tokens or _least(context.entry(graph, call))
                warm_ups.append(_warm_up(graph, call, names, least, taken))
                taken.add(warm_ups[-1].id)
        return self._with(graph, warm_ups) if warm_ups else graph

    def _with(self, graph: PGraph, warm_ups: Iterable[Primitive]) -> PGraph:
        """Put each warm-up before its call, or before the region around that it stands outside."""
        before: dict[str, list[Primitive]] = {}
        ahead = set()
        for one in warm_ups:
            target = graph.by_id[str(hinted(one))]
            while target.region != one.region:
                target = graph.by_id[target.region]
            before.setdefault(target.id, []).append(one)
            ahead.add(one.region)
        nodes: list[Node] = []
        for node in graph.nodes:
            nodes += before.get(node.id, ())
            nodes.append(self._ahead(node) if node.id in ahead else node)
        return graph.with_(nodes=tuple(nodes))

    def _ahead(self, node: Node) -> Node:
        """A fold whose iterations are begun before their turn, as far as they can go."""
        if not isinstance(node, Region) or node.kind != "fold":
            return node
        return replace(node, config={**node.config, "ahead": self.ahead})


def _works(graph: PGraph, context: Context) -> Callable[[Primitive], bool]:
    """Says whether a primitive takes time: each operation is looked up once on each engine."""
    primitives = [node for node in graph.nodes if isinstance(node, Primitive)]
    kinds = {(node.operation, node.engine): node for node in primitives}
    work = {kind for kind, node in kinds.items() if context.entry(graph, node) is not None}
    return lambda node: (node.operation, node.engine) in work


def _calls(graph: PGraph) -> Iterator[Primitive]:
    for node in graph.nodes:
        if isinstance(node, Primitive) and OPERATIONS[node.operation].unit is not None:
            yield node


def _least(entry: Entry | None) -> int:
    """The fewest tokens whose prefill takes longer than a request."""
    if entry is None or not entry.token_ms:
        return MIN_NEW_TOKENS
    return int((entry.base_ms + entry.item_ms) / entry.token_ms) + 1


def _warm_up(
    graph: PGraph, call: Primitive, names: Iterable[str], least: int, taken: Collection[str]
) -> Primitive:
    inputs = {name: call.inputs[name] for name in names}
    stem = call.id.rpartition(".")[0] or call.id
    region, guard = _place(graph, call, inputs.values())
    return replace(
        call,
        id=_fresh(taken, f"{stem}.{HINT}"),
        operation=HINT,
        inputs=inputs,
        config={"hint": call.id, "min_new_tokens": least},
        guard=guard,
        region=region,
    )


def _early(ready: Readiness, call: Primitive) -> tuple[str, ...]:
    """The variables of the longest prefix of the prompt that is there before all of it is."""
    whole = ready.of_all(call.inputs.values())
    names: list[str] = []
    there = 0
    for needs in _parts(call.config):
        new = [name for name in sorted(needs) if name in call.inputs and name not in names]
        there |= ready.of_all(call.inputs[name] for name in new)
        if not part_of(there, whole):
            break
        names += new
    return tuple(names)


def _parts(config: Mapping[str, Any]) -> Iterator[frozenset[str]]:
    """What each part of a prompt needs, in order, over all its messages."""
    for entry in config.get("messages") or ():
        if "splice" in entry:
            yield frozenset({str(entry["splice"])})
        else:
            yield from (part.needs for part in template(entry["template"]).parts)


def _place(
    graph: PGraph, call: Primitive, operands: Iterable[Operand]
) -> tuple[str, tuple[Guard, ...]]:
    """The outermost region in which all operands can be seen, and the guards that a call inside
    has there: its own, and those of the regions between."""
    inside: list[Node] = [call]
    while inside[0].region:
        inside.insert(0, graph.by_id[inside[0].region])
    around = ["", *(node.id for node in inside[:-1])]
    deepest = 0
    conditions = [one.condition for node in inside for one in node.guard]
    for operand in (*operands, *conditions):
        if isinstance(operand, Ref):
            node = graph.by_id.get(operand.node)
            if operand.node in around:
                deepest = max(deepest, around.index(operand.node))
            elif node is not None and node.region in around:
                deepest = max(deepest, around.index(node.region))
    guards: list[Guard] = []
    for node in inside[deepest:]:
        guards += [one for one in node.guard if one not in guards]
    return around[deepest], tuple(guards)


def _fresh(taken: Collection[str], name: str) -> str:
    number = 1
    while (found := name if number == 1 else f"{name}_{number}") in taken:
        number += 1
    return found
