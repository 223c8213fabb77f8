"""What a pass did, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from teola.compiler.graph.changes import Changes, Rewired, Stream, changes
from teola.compiler.graph.pgraph import Edge, Node, PGraph, Ref
from teola.compiler.graph.text import print_operand
from teola.compiler.passes.base import Pass

Said = tuple[str, tuple[str, ...]]
"""A sentence, and the boxes it speaks of."""


def purpose(step: Pass) -> str:
    """What a pass is for: the first sentence of its description."""
    text = " ".join((type(step).__doc__ or "").split())
    first = text.partition(". ")[0].partition(" (paper")[0].rstrip(".").replace("``", "")
    return f"{first}." if first else ""


def told(before: PGraph, after: PGraph) -> list[Said]:
    """What differs, a sentence at a time, each with the boxes it speaks of."""
    found = changes(before, after)
    merged = _merged(found)
    return [
        *(
            (f"{gone} was the same as {kept}: computed once", (gone, kept))
            for gone, kept in merged.items()
        ),
        *(
            (f"{name} is gone: nothing used it", (name,))
            for name in found.removed
            if name not in merged
        ),
        *_edges(found, after),
        *(_stream(stream, after) for stream in found.streams),
        *(_added(after.by_id[name]) for name in found.added),
        *((f"{one.node}: {one.key} = {one.value}", (one.node,)) for one in found.configured),
        *(
            (_rewired(one), (one.node,))
            for one in found.rewired
            if not (isinstance(one.before, Ref) and one.before.node in merged)
        ),
    ]


def _edges(found: Changes, after: PGraph) -> Iterator[Said]:
    for kind, what in (("order", "order of the file only"), ("effect", "for an effect")):
        removed = [edge for edge in found.edges_removed if edge.kind == kind]
        if removed:
            ends = dict.fromkeys(end for edge in removed for end in (edge.source, edge.target))
            lines = "1 line" if len(removed) == 1 else f"{len(removed)} lines"
            fed = sum(_is_fed(edge, after) for edge in removed)
            beside = f"; {fed} of them beside a line of data, not drawn" if fed else ""
            yield f"{lines} removed ({what}{beside})", tuple(ends)
    for edge in found.edges_added:
        yield f"{edge.target} now waits for {edge.source} ({edge.kind})", (edge.source, edge.target)


def _is_fed(edge: Edge, after: PGraph) -> bool:
    """Whether the target takes data of the source, so that it has to wait for it anyway."""
    target = after.by_id.get(edge.target)
    return target is not None and any(ref.node == edge.source for _, ref in target.references)


def _stream(stream: Stream, after: PGraph) -> Said:
    operand = after.by_id[stream.node].inputs[stream.input]
    each = "one item" if stream.group in (None, 1) else f"{stream.group} items"
    boxes = (stream.node, operand.node) if isinstance(operand, Ref) else (stream.node,)
    return f"{stream.node} takes {stream.input} {each} at a time", boxes


def _added(node: Node) -> Said:
    call = node.config.get("hint")
    if call is None:
        return f"{node.id} is new", (node.id,)
    parts = ", ".join(node.inputs) or "the fixed beginning"
    return f"{node.id} warms up {call} with {parts}", (node.id, str(call))


def _rewired(one: Rewired) -> str:
    was, now = print_operand(one.before), print_operand(one.after)
    return f"{one.node} takes {one.input} from {now}, no more from {was}"


def _merged(found: Changes) -> dict[str, str]:
    """What was removed because its equal is there: its readers read that one now."""
    return {
        one.before.node: one.after.node
        for one in found.rewired
        if isinstance(one.before, Ref)
        and isinstance(one.after, Ref)
        and one.before.node in found.removed
    }
