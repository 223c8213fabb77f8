"""Gates of an e-graph: where a task waits for all of a list, however finely it is cut.

A task that takes a list item by item (map, scan, the items of a region) may begin with the first of
them in a finer schedule; one that waits for it by another port, by a guard or by an effect may not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from teola.compiler.graph.dependencies import region_paths
from teola.compiler.graph.egraph import EGraph, Task
from teola.compiler.graph.operations import input_kind
from teola.compiler.graph.pgraph import PGraph, Ref


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """``awaited`` are complete before any of ``waiting`` begins; ``before`` is all that is over by
    then and ``behind`` all that begins only then. Task ids."""

    awaited: tuple[str, ...]
    waiting: tuple[str, ...]
    before: frozenset[str]
    behind: frozenset[str]


MOST_GATES = 64


def gates(egraph: EGraph) -> Sequence[Gate]:
    """The gates where several tasks come together, or one that goes on from others of its kind: in
    order, and of more than ``MOST_GATES`` those where most come together."""
    itemwise = _Itemwise(egraph.graph)
    waiting: dict[tuple[str, ...], list[str]] = {}
    for task in egraph.tasks:
        awaited = tuple(name for name in task.after if not itemwise.takes(task, egraph.by_id[name]))
        if task.form != "hint" and _comes_together([egraph.by_id[name] for name in awaited]):
            waiting.setdefault(awaited, []).append(task.id)
    most = set(sorted(waiting, key=len, reverse=True)[:MOST_GATES])
    after = {task.id: task.after for task in egraph.tasks}
    followers: dict[str, list[str]] = {task.id: [] for task in egraph.tasks}
    for task in egraph.tasks:
        for name in task.after:
            followers[name].append(task.id)
    return [
        Gate(awaited, tuple(those), _reach(awaited, after), _reach(those, followers))
        for awaited, those in waiting.items()
        if awaited in most
    ]


def _comes_together(awaited: Sequence[Task]) -> bool:
    primitives = [task.primitive for task in awaited]
    return len(set(primitives)) < len(primitives) or any(
        task.form == "join"
        or (task.form in ("items", "scan") and task.items > 1)
        or (task.form == "scan" and task.group)
        for task in awaited
    )


def _reach(start: Iterable[str], edges: Mapping[str, Sequence[str]]) -> frozenset[str]:
    found = set(start)
    left = list(found)
    while left:
        for name in edges[left.pop()]:
            if name not in found:
                found.add(name)
                left.append(name)
    return frozenset(found)


class _Itemwise:
    """Which nodes take whose items one by one."""

    def __init__(self, graph: PGraph) -> None:
        self.paths = region_paths(graph)
        self.sources = {node.id: set[str]() for node in graph.nodes}
        for node in graph.nodes:
            for name, operand in node.inputs.items():
                if isinstance(operand, Ref) and input_kind(node, name) in ("map", "scan"):
                    self.sources[node.id].add(operand.node)

    def takes(self, task: Task, source: Task) -> bool:
        """Whether a task, or a region around it, takes the items of what ``source`` is part of."""
        around = (*self.paths[task.primitive], task.primitive)
        given = {*self.paths[source.primitive], source.primitive}
        return any(not self.sources[name].isdisjoint(given) for name in around)
