"""What a pass did, told from what differs between the graph before and after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from teola.compiler.cost.prompt_tokens import PromptTokens
from teola.compiler.cost.shapes import Shapes
from teola.compiler.cost.sizes import Sizes
from teola.compiler.explain.cuts import told_cut
from teola.compiler.explain.explanation import Deed
from teola.compiler.explain.groups import told_groups
from teola.compiler.explain.independence import freed
from teola.compiler.explain.twins import twins
from teola.compiler.explain.words import counted, listed, shortened
from teola.compiler.graph.changes import Changes, Configured
from teola.compiler.graph.operations import OPERATIONS
from teola.compiler.graph.pgraph import Node, PGraph, Primitive, Ref, Region
from teola.compiler.graph.text import print_operand
from teola.compiler.passes.base import Context
from teola.compiler.passes.pipeline import Step
from teola.compiler.passes.rewriting import is_hint


def told(step: Step, found: Changes, context: Context, sizes: Sizes) -> tuple[Deed, ...]:
    """Every change as sentences, those of one kind together."""
    merged = twins(step.before, step.after)
    return (
        *_twins(step.before, merged),
        *_gone(found, merged),
        *_edges(step, found, context),
        *told_groups(step.by, found, step.after, context),
        *_added(step.after, found, sizes),
        *(_configured(one, step.after) for one in found.configured),
        *_rewired(found, merged),
    )


def _twins(before: PGraph, merged: Mapping[str, str]) -> Iterator[Deed]:
    """Pairs of equal nodes; of a call its end stands for both halves, of a region itself."""
    rows = [
        (gone, "is the same as", kept)
        for gone, kept in merged.items()
        if not _is_head(before.by_id[gone]) and before.by_id[gone].region not in merged
    ]
    if rows:
        yield Deed("What is gone had an equal that stays:", shortened(rows, "pair"))


def _is_head(node: Node) -> bool:
    return isinstance(node, Primitive) and OPERATIONS[node.operation].unit is not None


def _gone(found: Changes, merged: Mapping[str, str]) -> Iterator[Deed]:
    names = [name for name in found.removed if name not in merged]
    if names:
        it, writes = ("it", "it writes") if len(names) == 1 else ("them", "they write")
        yield Deed(f"{listed(names)}: no output needs {it}, and {writes} nothing.")


def _edges(step: Step, found: Changes, context: Context) -> Iterator[Deed]:
    removed = [edge for edge in found.edges_removed if _both(step.after, edge.source, edge.target)]
    if removed:
        kind = "order edge" if all(edge.kind == "order" for edge in removed) else "edge"
        rows = [
            (targets, "no longer after", sources)
            for targets, sources in freed(
                step.before, step.after, lambda node: context.entry(step.before, node) is not None
            ).items()
        ]
        what = "what the data does not ask for can run side by side:"
        same = "but the data asks for the same order, so nothing begins sooner."
        text = f"{counted(len(removed), kind)} removed; {what if rows else same}"
        yield Deed(text, shortened(rows, "row"))
    rows = [(edge.target, "waits for", edge.source) for edge in found.edges_added]
    if rows:
        text = f"{counted(len(rows), 'edge')} added, for what a removed one led past:"
        yield Deed(text, shortened(rows, "edge"))


def _both(graph: PGraph, *names: str) -> bool:
    return all(name in graph.by_id for name in names)


def _added(after: PGraph, found: Changes, sizes: Sizes) -> Iterator[Deed]:
    prompts = PromptTokens(Shapes(after, sizes))
    for name in found.added:
        node = after.by_id[name]
        if isinstance(node, Primitive) and is_hint(node):
            yield told_cut(node, after, prompts)
        else:
            yield Deed(f"{name} is new.")


def _configured(one: Configured, after: PGraph) -> Deed:
    node = after.by_id[one.node]
    if isinstance(node, Region) and one.key == "ahead":
        return Deed(f"{one.node}: up to {one.value} rounds are prepared before their turn.")
    return Deed(f"{one.node}: {one.key} is now {one.value}.")


def _rewired(found: Changes, merged: Mapping[str, str]) -> Sequence[Deed]:
    return [
        Deed(
            f"{one.node} takes {one.input} from {print_operand(one.after)} instead of "
            f"{print_operand(one.before)}."
        )
        for one in found.rewired
        if not (isinstance(one.before, Ref) and one.before.node in merged)
    ]
