"""Lists that flow in groups: who takes how many items at a time, and why so many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import pairwise

from teola.compiler.explain.explanation import Deed
from teola.compiler.explain.words import shortened
from teola.compiler.graph.changes import Changes
from teola.compiler.graph.operations import output_port
from teola.compiler.graph.pgraph import Node, PGraph, Primitive
from teola.compiler.passes.base import Context, Pass

STAGES = (
    "Lists that are longer than one efficient batch, or of unknown length, are worked on in groups,"
    " each as soon as its items are there (knee: from this batch on a larger one is hardly faster):"
)


def told_groups(by: Pass, found: Changes, after: PGraph, context: Context) -> Iterator[Deed]:
    """What became a stream: first what a call decodes, then the stages."""
    taken: dict[str, list[str]] = {}
    for stream in found.streams:
        taken.setdefault(stream.node, []).append(stream.input)
    decoded = _decoded(after, taken)
    for source, nodes in decoded.items():
        yield Deed(
            f"{source} gives its items one by one; each goes on at once, while the next is "
            "still being decoded:",
            ((_chain(after, [source, *nodes]),),),
        )
    told = {name for nodes in decoded.values() for name in nodes}
    rows = [
        _row(by, after.by_id[name], inputs, after, context)
        for name, inputs in taken.items()
        if name not in told
    ]
    if rows:
        yield Deed(STAGES, shortened(rows, "stage"))


def _decoded(after: PGraph, taken: dict[str, list[str]]) -> dict[str, list[str]]:
    """What gives items early -> what takes them one at a time, at first or second hand."""
    origin: dict[str, str] = {}
    for node in after.nodes:
        group = node.group if isinstance(node, Primitive) else 1
        if node.id not in taken or group != 1:
            continue
        for _, ref in node.references:
            source = after.by_id.get(ref.node)
            port = output_port(source, ref.port) if source is not None and ref.stream else None
            if port is not None and port.early:
                origin.setdefault(node.id, ref.node)
            elif port is not None and ref.node in origin:
                origin.setdefault(node.id, origin[ref.node])
    found: dict[str, list[str]] = {}
    for name, giver in origin.items():
        found.setdefault(giver, []).append(name)
    return found


def _chain(graph: PGraph, names: Sequence[str]) -> str:
    """``a → b → c``; a comma where the next does not take from the one before."""
    text = names[0]
    for before, name in pairwise(names):
        follows = any(ref.node == before for _, ref in graph.by_id[name].references)
        text += f" → {name}" if follows else f", {name}"
    return text


def _row(
    by: Pass, node: Node, inputs: Sequence[str], graph: PGraph, context: Context
) -> tuple[str, ...]:
    group = node.group if isinstance(node, Primitive) and node.group is not None else 1
    return node.id, f"{', '.join(inputs)}: {group} at a time", _why(by, node, group, graph, context)


def _why(by: Pass, node: Node, group: int, graph: PGraph, context: Context) -> str:
    entry = context.entry(graph, node)
    if entry is None or not isinstance(node, Primitive):
        return "each item as soon as it is there" if _waits(node) else "it takes no time"
    what = f"{node.operation} on {node.engine}" if node.engine else node.operation
    rough = ", a rough figure" if entry.origin == "structural" else ""
    if group == entry.knee:
        return f"knee of {what}{rough}"
    bounds = {getattr(by, one.name): one.name.replace("_", "-") for one in fields(by)}
    if group in bounds:
        return f"{bounds[group]}; knee of {what}: {entry.knee}{rough}"
    return "at the pace of what feeds it"


def _waits(node: Node) -> bool:
    """Whether it has a body, or an engine: work that can begin with the first item."""
    return not isinstance(node, Primitive) or node.engine is not None
