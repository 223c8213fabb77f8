"""What a pass did, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from teola.compiler.graph.changes import Changes, changes
from teola.compiler.graph.pgraph import PGraph, Ref
from teola.compiler.graph.text import print_operand
from teola.compiler.passes.base import Pass


def purpose(step: Pass) -> str:
    """What a pass is for: the first sentence of its description."""
    text = " ".join((type(step).__doc__ or "").split())
    first = text.partition(". ")[0].partition(" (paper")[0].rstrip(".")
    return f"{first}." if first else ""


def told(before: PGraph, after: PGraph) -> list[tuple[str, tuple[str, ...]]]:
    """What differs, a sentence at a time, each with the boxes it speaks of."""
    return list(_told(before, changes(before, after), after))


def _told(
    before: PGraph, found: Changes, after: PGraph
) -> Iterator[tuple[str, tuple[str, ...]]]:
    merged = _merged(found)
    for gone, kept in merged.items():
        yield f"{gone} was the same as {kept}: computed once", (gone, kept)
    for name in found.removed:
        if name not in merged and name in before.by_id:
            yield f"{name} is gone: nothing used it", (name,)
    for kind, number in sorted(Counter(edge.kind for edge in found.edges_removed).items()):
        ends = tuple(
            dict.fromkeys(
                end
                for edge in found.edges_removed
                if edge.kind == kind
                for end in (edge.source, edge.target)
            )
        )
        what = "order of the file" if kind == "order" else "effect"
        yield f"{_counted(number, 'line')} removed ({what} only)", ends
    for edge in found.edges_added:
        yield f"{edge.target} now waits for {edge.source} ({edge.kind})", (edge.source, edge.target)
    for stream in found.streams:
        operand = after.by_id[stream.node].inputs[stream.input]
        source = operand.node if isinstance(operand, Ref) else ""
        each = "one item" if stream.group in (None, 1) else f"{stream.group} items"
        yield f"{stream.node} takes {stream.input} {each} at a time", (stream.node, source)
    for name in found.added:
        node = after.by_id[name]
        call = str(node.config.get("hint", ""))
        parts = ", ".join(node.inputs) or "the fixed beginning"
        yield (
            f"{name} warms up {call} with {parts}" if call else f"{name} is new",
            tuple(filter(None, (name, call))),
        )
    for changed in found.configured:
        yield f"{changed.node}: {changed.key} = {changed.value}", (changed.node,)
    for one in found.rewired:
        if not (isinstance(one.before, Ref) and one.before.node in merged):
            was, now = print_operand(one.before), print_operand(one.after)
            yield f"{one.node} takes {one.input} from {now}, no more from {was}", (one.node,)


def _merged(found: Changes) -> dict[str, str]:
    """What was removed because its equal is there: its readers read that one now."""
    return {
        one.before.node: one.after.node
        for one in found.rewired
        if isinstance(one.before, Ref)
        and isinstance(one.after, Ref)
        and one.before.node in found.removed
    }


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
