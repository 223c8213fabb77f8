"""``bound``: what no schedule can beat (evaluation.md, "The measure").

    T_bound = max(C, max over engines e of (h_e + W_e / R_e + t_e))

C is the longest path over data and effect edges on which a map or scan costs its latency for one
item (perfect pipelining) and everything else its own; W_e is the engine's work at its best batch
size, R_e its replicas (one: no engine has more yet), h_e and t_e the shortest path before its first
and after its last work, in the costs of C. Order edges do not count. Costs are those of
``estimate``: an engine's best batch is its efficient one, or all there is to do where that is less;
an LLM's is all of its calls, or as many as it runs at once; its prompts are prefilled together.

A prefill costs its whole prompt, but where the graph has a warm-up for it, what is left after the
longest one, and a prefix that several calls share is prefilled once: so the bound of a graph is one
for every schedule of *that* graph, and the one to report is that of the optimised graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from teola.compiler.cost.costs import CPU, Costs, free
from teola.compiler.cost.profile import Profiles
from teola.compiler.cost.servers import efficient_batch, most_requests
from teola.compiler.cost.sizes import Sizes
from teola.compiler.graph.egraph import EGraph, Task
from teola.compiler.graph.expand import expand
from teola.compiler.graph.pgraph import PGraph


@dataclass(frozen=True, slots=True)
class EngineBound:
    """h_e, W_e and t_e of one engine, in milliseconds."""

    head_ms: float
    work_ms: float
    tail_ms: float

    @property
    def total_ms(self) -> float:
        """What this engine alone demands."""
        return self.head_ms + self.work_ms + self.tail_ms


@dataclass(frozen=True, slots=True)
class Bound:
    """The bound, C (``path_ms``) and each engine's part."""

    path_ms: float
    engines: Mapping[str, EngineBound] = field(default_factory=dict)

    @property
    def total_ms(self) -> float:
        """T_bound."""
        return max(self.path_ms, *(one.total_ms for one in self.engines.values()), 0.0)


def bound(graph: PGraph, sizes: Sizes | None = None, profiles: Profiles | None = None) -> Bound:
    """The least time that one query of ``graph`` can take on its engines.

    Raises:
        ExpansionError: too many tasks for these sizes.
    """
    needed = frozenset(edge for edge in graph.edges if edge.kind != "order")
    egraph = expand(graph.with_(edges=needed), sizes)
    costs = Costs(graph, profiles)
    own = {task.id: _least_ms(egraph, costs, task) for task in egraph.tasks}
    starts = _before(egraph, own)
    tails = _behind(egraph, own)
    path = max((starts[task.id] + own[task.id] for task in egraph.tasks), default=0.0)
    engines: dict[str, list[Task]] = {}
    for task in egraph.tasks:
        if task.engine is not None and task.items:
            engines.setdefault(costs.home(task), []).append(task)
    return Bound(
        path,
        {
            name: EngineBound(
                min(starts[task.id] for task in tasks),
                _work_ms(egraph, costs, tasks),
                min((tails[task.id] for task in tasks if task.form != "hint"), default=0.0),
            )
            for name, tasks in engines.items()
            if name != CPU and any(task.form != "hint" for task in tasks)
        },
    )


def _least_ms(egraph: EGraph, costs: Costs, task: Task) -> float:
    """What a task costs on a path."""
    entry = costs.entry(task)
    if entry is None or not task.items or task.form == "hint":
        return 0.0
    if task.form == "prefill":
        return entry.latency_ms(1, _rest(egraph, task))
    if task.form == "decode":
        return _steps(task) * entry.latency_ms(1)
    return entry.latency_ms(task.items if task.form == "whole" else 1, task.tokens)


def _steps(decode: Task) -> int:
    """The steps of a decode: the prefill gives the first token."""
    return max(0, decode.tokens - (decode.first == 0))


def _longest_hint(egraph: EGraph, call: Task) -> Task | None:
    hints = [egraph.by_id[name] for name in call.warmed_by]
    return max(hints, key=lambda hint: hint.tokens, default=None)


def _rest(egraph: EGraph, call: Task) -> int:
    """The tokens of a prompt that cannot be prefilled before the call."""
    hint = _longest_hint(egraph, call)
    return max(0, call.tokens - hint.tokens) if hint is not None else call.tokens


def _before(egraph: EGraph, own: Mapping[str, float]) -> dict[str, float]:
    """Task -> the longest path before it."""
    found: dict[str, float] = {}
    for task in egraph.tasks:
        found[task.id] = max((found[name] + own[name] for name in task.after), default=0.0)
    return found


def _behind(egraph: EGraph, own: Mapping[str, float]) -> dict[str, float]:
    """Task -> the longest path after it; hints delay nothing."""
    found = dict.fromkeys(own, 0.0)
    for task in reversed(egraph.tasks):
        for name in task.after if task.form != "hint" else ():
            found[name] = max(found[name], own[task.id] + found[task.id])
    return found


def _work_ms(egraph: EGraph, costs: Costs, tasks: Sequence[Task]) -> float:
    """All work of one engine at its best batch size."""
    settings = costs.settings(tasks[0].engine)
    calls = [task for task in tasks if task.form == "prefill"]
    total = _prompts_ms(egraph, costs, calls, tasks)
    together = min(len(calls), most_requests(settings) or len(calls))
    counts: dict[str, int] = {}
    for task in tasks:
        entry = costs.entry(task) or free(task.operation)
        if task.form == "decode":
            total += _steps(task) * entry.latency_ms(together) / together
        elif task.form not in ("prefill", "hint"):
            counts[task.operation] = counts.get(task.operation, 0) + task.items
            total += task.items * (entry.item_ms + task.tokens * entry.token_ms)
    for operation, items in counts.items():
        one = next(task for task in tasks if task.operation == operation)
        entry = costs.entry(one) or free(operation)
        total += entry.base_ms * items / min(items, efficient_batch(entry, settings))
    return total


def _prompts_ms(
    egraph: EGraph, costs: Costs, calls: Sequence[Task], tasks: Sequence[Task]
) -> float:
    """The prefills of an engine: all in one step, each shared prefix once."""
    together = sum(task.form in ("prefill", "hint") for task in tasks)
    prefixes: dict[str, float] = {}
    total = 0.0
    for call in calls:
        entry = costs.entry(call) or free(call.operation)
        total += entry.base_ms / together + entry.item_ms + _rest(egraph, call) * entry.token_ms
        hint = _longest_hint(egraph, call)
        if hint is not None:
            prefixes[hint.id] = min(hint.tokens, call.tokens) * entry.token_ms
    return total + sum(prefixes.values())
