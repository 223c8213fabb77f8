"""What no longer waits for what, once edges are gone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from teola.compiler.graph.pgraph import Node, PGraph, Primitive
from teola.compiler.graph.readiness import Readiness, Work
from teola.compiler.passes.rewriting import is_hint

Takes = Callable[[Node], bool]
"""Whether a primitive takes time."""


def freed(before: PGraph, after: PGraph, takes_time: Takes) -> dict[str, str]:
    """What can begin sooner -> what it need not wait for any more, both as names of modules or,
    where only a part of a module is meant, of primitives. Only work counts: where a primitive takes
    no time, nobody sees when it runs."""
    was, now = Readiness(before, takes_time), Readiness(after, takes_time)
    found: dict[Work, list[str]] = {}
    for node in after.nodes:
        if not isinstance(node, Primitive) or is_hint(node) or not takes_time(node):
            continue
        if node.id in before.by_id:
            earlier = was.before(before.by_id[node.id])
            gone = frozenset(one for one in earlier - now.before(node) if one in after.by_id)
            if gone:
                found.setdefault(gone, []).append(node.id)
    merged: dict[str, list[str]] = {}
    for gone, names in found.items():
        merged.setdefault(", ".join(_short(after, gone, takes_time)), []).extend(names)
    return {", ".join(_short(after, names, takes_time)): gone for gone, names in merged.items()}


def _short(graph: PGraph, names: Collection[str], takes_time: Takes) -> Iterator[str]:
    """``names`` in the order of the graph; a module all of whose work is among them as one."""
    work = [n for n in graph.nodes if isinstance(n, Primitive) and takes_time(n) and not is_hint(n)]
    outside = {node.module for node in work if node.id not in names}
    told = set()
    for node in work:
        if node.id not in names:
            continue
        name = node.id if node.module in outside or not node.module else node.module
        if name not in told:
            told.add(name)
            yield name
