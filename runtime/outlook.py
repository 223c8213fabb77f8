"""What the queries of a plan still need of its engines: what ``remaining-work`` orders them by.

Estimated from profiles for assumed sizes, then corrected by what queries had to do (running
averages): a decode's length, the items of a list. Rough figures are enough (runtime.md: log-normal
errors in them change nothing), they only have to tell a query that begins from one that ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from teola.compiler.cost.costs import Costs
from teola.compiler.cost.profile import Entry, Profiles
from teola.compiler.graph.egraph import EGraph, Task
from teola.compiler.graph.expand import ExpansionError, expand
from teola.compiler.graph.pgraph import PGraph

LEARNING = 0.05
"""What one query weighs in a running average."""


@dataclass(slots=True)
class Expected:
    """One instance of a node (an LLM call goes by its decode): ``work_ms`` of its engine,
    ``path_ms`` the longest path of work from its begin to the end of the query, ``depth`` the
    primitives on that path. ``entry`` is what its items cost, or its prefill, and ``goes_on`` its
    decode; ``tokens`` are those of one item."""

    work_ms: float = 0.0
    path_ms: float = 0.0
    depth: int = 0
    entry: Entry | None = None
    goes_on: Entry | None = None
    tokens: int = 0


UNKNOWN = Expected()


class Outlook:
    """The expectations of one plan; shared by its queries. ``total_ms`` is the engines' work for
    one query."""

    def __init__(self, graph: PGraph, profiles: Profiles | None = None) -> None:
        self.total_ms = 0.0
        self.nodes: dict[str, Expected] = {}
        try:
            egraph = expand(graph)
        except ExpansionError:
            return  # every query is alike then
        self._read(egraph, Costs(graph, profiles))

    def of(self, node_id: str) -> Expected:
        """What is known of a node."""
        return self.nodes.get(node_id, UNKNOWN)

    def did(self, node_id: str, items: int, tokens: int, new_tokens: int) -> float:
        """One instance has ended: it had so many items, or prompt ``tokens`` and ``new_tokens``.
        Returns the work that it was, in milliseconds."""
        expected = self.of(node_id)
        if expected.entry is None:
            return 0.0
        if expected.goes_on is not None:
            work_ms = expected.entry.latency_ms(1, tokens)
            work_ms += max(0, new_tokens - 1) * expected.goes_on.latency_ms(1)
        else:
            work_ms = _batched_ms(expected.entry, items, expected.tokens)
        expected.work_ms += LEARNING * (work_ms - expected.work_ms)
        return work_ms

    def ended(self, work_ms: float) -> None:
        """A query has ended well, having been so much work."""
        if self.nodes:
            self.total_ms += LEARNING * (work_ms - self.total_ms)

    def _read(self, egraph: EGraph, costs: Costs) -> None:
        units = _units(egraph)
        own = {task.id: _work_ms(costs, task) for task in egraph.tasks}
        paths = dict(own)
        depths = dict.fromkeys(own, 0)
        for task in reversed(egraph.tasks):
            for before in task.after if task.form != "hint" else ():
                paths[before] = max(paths[before], own[before] + paths[task.id])
                further = egraph.by_id[before].primitive != task.primitive
                depths[before] = max(depths[before], depths[task.id] + further)
        instances: dict[str, set[tuple[str, ...]]] = {}
        for task in egraph.tasks:
            if task.form in ("hint", "join"):
                continue
            unit = units[task.primitive]
            expected = self.nodes.setdefault(unit, Expected())
            expected.work_ms += own[task.id]
            expected.path_ms = max(expected.path_ms, paths[task.id])
            expected.depth = max(expected.depth, depths[task.id])
            if task.form == "decode":
                expected.goes_on = costs.entry(task)
            else:
                expected.entry, expected.tokens = costs.entry(task), task.tokens
            instances.setdefault(unit, set()).add(task.path)
            self.total_ms += own[task.id]
        for unit, paths_of in instances.items():
            self.nodes[unit].work_ms /= len(paths_of)


def _units(egraph: EGraph) -> Mapping[str, str]:
    """Node -> the id that its runs go by: a prefill's is its decode's."""
    units = {task.primitive: task.primitive for task in egraph.tasks}
    for task in egraph.tasks:
        if task.form == "decode" and task.after:
            before = egraph.by_id[task.after[0]]
            if before.form == "prefill":
                units[before.primitive] = task.primitive
    return units


def _work_ms(costs: Costs, task: Task) -> float:
    """What a task is to its engine, alone; what has none is free."""
    entry = costs.entry(task)
    if entry is None or task.engine is None or not task.items or task.form == "hint":
        return 0.0
    if task.form == "prefill":
        return entry.latency_ms(1, task.tokens)
    if task.form == "decode":
        return max(0, task.tokens - (task.first == 0)) * entry.latency_ms(1)
    return _batched_ms(entry, task.items, task.tokens)


def _batched_ms(entry: Entry, items: int, tokens: int) -> float:
    """Items in efficient batches, the last one only in part this query's."""
    batches = items / max(1, entry.knee)
    return batches * entry.base_ms + items * (entry.item_ms + tokens * entry.token_ms)
