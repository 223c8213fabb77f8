"""What no longer waits for what, once edges are gone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from teola.compiler.graph.pgraph import Node, PGraph, Primitive
from teola.compiler.graph.readiness import Readiness
from teola.compiler.passes.rewriting import is_hint

Takes = Callable[[Node], bool]
"""Whether a primitive takes time."""


def freed(before: PGraph, after: PGraph, takes_time: Takes) -> dict[str, str]:
    """What can begin sooner -> what it need not wait for any more, both as names of modules or,
    where only a part of a module is meant, of primitives. Only work counts: where a primitive takes
    no time, nobody sees when it runs."""
    was, now = _waits(before, takes_time), _waits(after, takes_time)
    found: dict[frozenset[str], list[str]] = {}
    for name, waits in now.items():
        gone = (was.get(name, frozenset()) - waits).intersection(now)
        if gone:
            found.setdefault(gone, []).append(name)
    merged: dict[str, list[str]] = {}
    for gone, names in found.items():
        merged.setdefault(", ".join(_short(after, gone, takes_time)), []).extend(names)
    return {", ".join(_short(after, names, takes_time)): gone for gone, names in merged.items()}


def _waits(graph: PGraph, takes_time: Takes) -> dict[str, frozenset[str]]:
    """Each piece of work -> all that must have ended before it begins, in the graph's order."""
    readiness = Readiness(graph, takes_time)
    work = [n for n in graph.nodes if isinstance(n, Primitive) and takes_time(n) and not is_hint(n)]
    own = {node.id: readiness.after(node) & ~readiness.before(node) for node in work}
    return {
        node.id: frozenset(name for name, bit in own.items() if readiness.before(node) & bit)
        for node in work
    }


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
