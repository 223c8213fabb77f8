"""What the queries of a plan still need of its engines: what ``remaining-work`` orders them by.

Estimated from profiles for assumed sizes, then corrected by what queries had to do (running
averages): a decode's length, the items of a list. Rough figures are enough where nothing better is
known: they tell a query that begins from one that ends. Work is what it is to an engine at its
best: in efficient batches, and decoded beside as many others as share a step well. How long a
query's own lists turn out to be is counted for each (``Standing``): among queries of one plan that
is what tells short from long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from teola.compiler.cost.costs import Costs
from teola.compiler.cost.profile import Entry, Profiles, load_profiles
from teola.compiler.cost.work import context_tokens, decode_steps
from teola.compiler.graph.egraph import EGraph, Task
from teola.compiler.graph.expand import ExpansionError, expand
from teola.compiler.graph.pgraph import PGraph

MOST_TASKS = 4096
"""A graph with more tasks, for the sizes that are assumed, is not looked at: a runner would take
tenths of a second to start."""
LEARNING = 0.05
"""What one query weighs in a running average."""


@dataclass(slots=True)
class Expected:
    """One instance of a node (an LLM call goes by its decode): ``work_ms`` of its engine,
    ``path_ms`` the longest path of work from its begin to the end of the query, ``depth`` the
    primitives on that path. ``entry`` is what its items cost, or its prefill, and ``goes_on`` its
    decode; ``tokens`` are those of one item, ``item_ms`` is its work; an LLM call is one item, and
    ``cached`` tokens of its prompt are there since an earlier query. ``knee`` is that of its items'
    batches."""

    work_ms: float = 0.0
    path_ms: float = 0.0
    depth: int = 0
    entry: Entry | None = None
    goes_on: Entry | None = None
    tokens: int = 0
    item_ms: float = 0.0
    cached: int = 0
    knee: int = 0

    def expect(self, work_ms: float) -> None:
        """So much work is expected from now on."""
        self.work_ms = work_ms
        if self.entry is None or self.goes_on is not None:
            self.item_ms = work_ms
        else:
            self.item_ms = _batched_ms(self.entry, 1, self.tokens)
            self.knee = self.entry.knee

    def did(self, items: int, tokens: int, new_tokens: int) -> float:
        """An instance has ended: it had so many items, or prompt ``tokens`` and ``new_tokens``.
        Returns the work that it was, in milliseconds."""
        if self.entry is None:
            return 0.0
        if self.goes_on is not None:
            work_ms = self.entry.latency_ms(1, max(1, tokens - self.cached))
            work_ms += max(0, new_tokens - 1) * _step_ms(self.goes_on, tokens + new_tokens / 2)
        else:
            work_ms = _batched_ms(self.entry, items, self.tokens)
        self.expect(self.work_ms + LEARNING * (work_ms - self.work_ms))
        return work_ms


UNKNOWN = Expected()


class Outlook:
    """The expectations of one plan; shared by its queries. ``total_ms`` is the engines' work for
    one query."""

    def __init__(self, graph: PGraph, profiles: Profiles | None = None) -> None:
        self.total_ms = 0.0
        self.nodes: dict[str, Expected] = {}
        try:
            egraph = expand(graph, most=MOST_TASKS)
        except ExpansionError:
            return  # every query is alike then
        self._read(egraph, Costs(graph, profiles or _own_profiles(graph)))

    def of(self, node_id: str) -> Expected:
        """What is known of a node."""
        return self.nodes.get(node_id, UNKNOWN)

    def ended(self, work_ms: float) -> None:
        """A query has ended well, having been so much work."""
        if self.nodes:
            self.total_ms += LEARNING * (work_ms - self.total_ms)

    def _read(self, egraph: EGraph, costs: Costs) -> None:
        units = _units(egraph)
        works = {task.id: _work_ms(egraph, costs, task) for task in egraph.tasks}
        alone = {task.id: _alone_ms(egraph, costs, task, works[task.id]) for task in egraph.tasks}
        paths = dict(alone)
        depths = dict.fromkeys(works, 0)
        for task in reversed(egraph.tasks):
            for before in task.after if task.form != "hint" else ():
                paths[before] = max(paths[before], alone[before] + paths[task.id])
                further = egraph.by_id[before].primitive != task.primitive
                depths[before] = max(depths[before], depths[task.id] + further)
        instances: dict[str, set[tuple[str, ...]]] = {}
        for task in egraph.tasks:
            if task.form in ("hint", "join"):
                continue
            unit = units[task.primitive]
            expected = self.nodes.setdefault(unit, Expected())
            expected.work_ms += works[task.id]
            expected.path_ms = max(expected.path_ms, paths[task.id])
            expected.depth = max(expected.depth, depths[task.id])
            if task.form == "decode":
                expected.goes_on = costs.entry(task)
            elif task.engine is not None:
                expected.entry, expected.tokens = costs.entry(task), task.tokens
                expected.cached = task.cached
            instances.setdefault(unit, set()).add(task.path)
            self.total_ms += works[task.id]
        for unit, paths_of in instances.items():
            expected = self.nodes[unit]
            expected.expect(expected.work_ms / len(paths_of))


def _own_profiles(graph: PGraph) -> Profiles | None:
    """What simulated engines go by, where the graph has such."""
    paths = (settings.get("profile") for settings in graph.engines.values())
    return next((load_profiles(Path(path)) for path in paths if isinstance(path, str)), None)


def _units(egraph: EGraph) -> Mapping[str, str]:
    """Node -> the id that its runs go by: a prefill's is its decode's."""
    units = {task.primitive: task.primitive for task in egraph.tasks}
    for task in egraph.tasks:
        if task.form == "decode" and task.after:
            before = egraph.by_id[task.after[0]]
            if before.form == "prefill":
                units[before.primitive] = task.primitive
    return units


def _work_ms(egraph: EGraph, costs: Costs, task: Task) -> float:
    """What a task is to its engine; what has none is free."""
    entry = costs.entry(task)
    if entry is None or task.engine is None or not task.items or task.form == "hint":
        return 0.0
    if task.form == "prefill":
        return entry.latency_ms(1, task.tokens - task.cached)
    if task.form == "decode":
        return decode_steps(task) * _step_ms(entry, context_tokens(egraph, task))
    return _batched_ms(entry, task.items, task.tokens)


def _alone_ms(egraph: EGraph, costs: Costs, task: Task, work_ms: float) -> float:
    """What a task takes where nobody else decodes beside it."""
    entry = costs.entry(task)
    if entry is None or task.engine is None or task.form != "decode":
        return work_ms
    return decode_steps(task) * entry.latency_ms(1, context_tokens(egraph, task))


def _step_ms(entry: Entry, tokens: float) -> float:
    """What one sequence is of a decode step that many share."""
    return entry.latency_ms(entry.knee, tokens) / entry.knee


def _batched_ms(entry: Entry, items: int, tokens: int) -> float:
    """Items in efficient batches, the last one only in part this query's."""
    batches = items / max(1, entry.knee)
    return batches * entry.base_ms + items * (entry.item_ms + tokens * entry.token_ms)
