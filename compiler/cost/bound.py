"""``bound``: what no schedule can beat (evaluation.md, "The measure").

    T_bound = max(C, max over engines e of (h_e + W_e / R_e + t_e))

C is the longest path over data and effect edges on which a map or scan costs its latency for one
item (perfect pipelining) and everything else its own; W_e is the engine's work at its best batch
size, R_e its replicas, h_e and t_e the least time before its first and after its last work. A
collection lives on one replica of its store: the work on each, undivided, is a bound of its own.
Order edges do not count. Costs are those of ``estimate``: an engine's best batch is the one that
takes least for an item, of those that are no bigger than its efficient one or than all there is to
do; an LLM's is one of its calls, as many as can run at once; its prompts are prefilled together.

The same holds for some of an engine's tasks alone: those that cannot begin before some time, and
those after which some time must pass. The time before a task, and after one, is at least the path,
and at a gate (``gates``: a collection that must be complete before it is searched, a sort) at least
what each engine has to do before it, or after it: these are the heads and tails of one-machine
relaxations (Carlier and Pinson, 1989).
``path_only`` leaves gates and such sets of tasks out, which is the plain formula.

A prefill costs its prompt without the fixed head, if that is cached, but where the graph has a
warm-up for it, what is left after the longest one, and a prefix that several calls share is
prefilled once: so the bound of a graph is one
for every schedule of *that* graph, and the one to report is that of the optimised graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TypeAlias

from teola.compiler.cost.collection import Collections
from teola.compiler.cost.costs import CPU, Costs
from teola.compiler.cost.gates import Gate, gates
from teola.compiler.cost.profile import Entry, Profiles
from teola.compiler.cost.servers import efficient_batch
from teola.compiler.cost.sizes import Sizes
from teola.compiler.cost.work import (
    Company,
    context_tokens,
    decode_steps,
    least_work_ms,
    prefill_of,
    rest_tokens,
)
from teola.compiler.graph.egraph import EGraph, Task
from teola.compiler.graph.expand import expand
from teola.compiler.graph.pgraph import PGraph

MOST_SETS = 16
"""Sets of one engine's tasks that are looked at for their heads, and for their tails."""

Times: TypeAlias = Mapping[str, float]
"""Task -> milliseconds before it, or after it."""

Part: TypeAlias = tuple[Sequence[Task], int]
"""Tasks of an engine, and how many of its replicas can do them."""


@dataclass(frozen=True, slots=True)
class EngineBound:
    """h_e, W_e and t_e of one engine, in milliseconds, and the replicas that divide the work."""

    head_ms: float
    work_ms: float
    tail_ms: float
    replicas: int = 1

    @property
    def total_ms(self) -> float:
        """What this engine alone demands."""
        return self.head_ms + self.work_ms / self.replicas + self.tail_ms


@dataclass(frozen=True, slots=True)
class Bound:
    """The bound, C (``path_ms``) and each engine's part."""

    path_ms: float
    engines: Mapping[str, EngineBound] = field(default_factory=dict)

    @property
    def total_ms(self) -> float:
        """T_bound."""
        return max(self.path_ms, *(one.total_ms for one in self.engines.values()), 0.0)


def bound(
    graph: PGraph,
    sizes: Sizes | None = None,
    profiles: Profiles | None = None,
    *,
    path_only: bool = False,
) -> Bound:
    """The least time that one query of ``graph`` can take on its engines.

    Raises:
        ExpansionError: too many tasks for these sizes.
    """
    needed = frozenset(edge for edge in graph.edges if edge.kind != "order")
    egraph = expand(graph.with_(edges=needed), sizes)
    return _Relaxation(egraph, Costs(graph, profiles), path_only).bound()


class _Relaxation:
    """Heads and tails of the tasks: the least time before and after each."""

    def __init__(self, egraph: EGraph, costs: Costs, path_only: bool) -> None:
        self.egraph, self.costs, self.path_only = egraph, costs, path_only
        found = () if path_only else gates(egraph)
        self.collections = Collections(egraph.graph)
        self.company = Company(egraph, costs)
        self.own = {task.id: _least_ms(egraph, costs, self.company, task) for task in egraph.tasks}
        self.heads: dict[str, float] = {}
        self.tails: dict[str, float] = {}
        self._find_heads(found)
        self._find_tails(found)

    def bound(self) -> Bound:
        path = max(
            (self.heads[name] + own + self.tails[name] for name, own in self.own.items()),
            default=0.0,
        )
        engines = self._engines(self.egraph.tasks).items()
        return Bound(path, {name: self._demand(name, tasks) for name, tasks in engines})

    def _demand(self, name: str, tasks: Sequence[Task]) -> EngineBound:
        """The part of an engine's work that demands most."""
        demands = (
            EngineBound(self._head(those), self._work(those), self._tail(those), replicas)
            for those, replicas in self._parts(name, tasks, self.heads, self.tails)
        )
        return max(demands, key=lambda one: one.total_ms)

    def _find_heads(self, found: Sequence[Gate]) -> None:
        gate_of = {name: gate for gate in found for name in gate.waiting}
        least: dict[Gate, float] = {}
        for task in self.egraph.tasks:
            head = max((self.heads[name] + self.own[name] for name in task.after), default=0.0)
            gate = gate_of.get(task.id)
            if gate is not None:
                if gate not in least:
                    least[gate] = self._before(gate)
                head = max(head, least[gate])
            self.heads[task.id] = head

    def _find_tails(self, found: Sequence[Gate]) -> None:
        """Hints delay nothing."""
        gates_of: dict[str, list[Gate]] = {}
        for gate in found:
            for name in gate.awaited:
                gates_of.setdefault(name, []).append(gate)
        least: dict[Gate, float] = {}
        self.tails = dict.fromkeys(self.own, 0.0)
        for task in reversed(self.egraph.tasks):
            tail = self.tails[task.id]
            for gate in gates_of.get(task.id, ()):
                if gate not in least:
                    least[gate] = self._behind(gate)
                tail = max(tail, least[gate])
            self.tails[task.id] = tail
            for name in task.after if task.form != "hint" else ():
                self.tails[name] = max(self.tails[name], self.own[task.id] + tail)

    def _before(self, gate: Gate) -> float:
        """The least time in which the engines do all that is over before a gate."""
        tasks = self._tasks(gate.before)
        hints = {name for task in tasks for name in task.warmed_by} & self.heads.keys()
        parts = self._all_parts([*tasks, *self._tasks(hints - gate.before)], self.heads)
        return max(
            (self._head(those) + self._work(those) / replicas for those, replicas in parts),
            default=0.0,
        )

    def _behind(self, gate: Gate) -> float:
        """The least time in which the engines do all that begins only after a gate."""
        parts = self._all_parts(self._tasks(gate.behind), self.tails)
        return max(
            (self._work(those) / replicas + self._tail(those) for those, replicas in parts),
            default=0.0,
        )

    def _all_parts(self, tasks: Iterable[Task], *times: Times) -> Iterator[Part]:
        for name, those in self._engines(tasks).items():
            yield from self._parts(name, those, *times)

    def _parts(self, name: str, tasks: Sequence[Task], *times: Times) -> Iterator[Part]:
        """Sets of an engine's tasks that each demand their time: all of them, those of each
        collection, and of these the ones with at least so much time before them, or after them."""
        replicas = self.costs.replicas(name)
        for those, machines in ((tasks, replicas), *self._undivided(name, tasks, replicas)):
            yield those, machines
            if not self.path_only:
                yield from ((some, machines) for some in _late(self.egraph, those, *times))

    def _undivided(self, name: str, tasks: Sequence[Task], replicas: int) -> Iterator[Part]:
        """The tasks of each collection."""
        if replicas == 1 or not self.costs.stores(name):
            return
        homes: dict[str, list[Task]] = {}
        for task in tasks:
            homes.setdefault(self.collections.of(task), []).append(task)
        yield from ((those, 1) for those in homes.values())

    def _tasks(self, names: Iterable[str]) -> list[Task]:
        return [self.egraph.by_id[name] for name in sorted(names)]

    def _engines(self, tasks: Iterable[Task]) -> dict[str, list[Task]]:
        """Engine -> its tasks, where it has more than warm-ups."""
        found: dict[str, list[Task]] = {}
        for task in tasks:
            if task.engine is not None and task.items:
                found.setdefault(self.costs.home(task), []).append(task)
        return {
            name: those
            for name, those in found.items()
            if name != CPU and any(task.form != "hint" for task in those)
        }

    def _head(self, tasks: Sequence[Task]) -> float:
        return min(self.heads[task.id] for task in tasks)

    def _work(self, tasks: Sequence[Task]) -> float:
        return least_work_ms(self.egraph, self.costs, tasks, self.company)

    def _tail(self, tasks: Sequence[Task]) -> float:
        return min(self.tails[task.id] for task in tasks if task.form != "hint")


def _late(egraph: EGraph, tasks: Sequence[Task], *times: Times) -> Iterator[Sequence[Task]]:
    """The tasks with at least some time, a call's together; warm-ups aside, for which there is
    always time."""
    units: dict[str, list[Task]] = {}
    for task in tasks:
        if task.form != "hint":
            call = prefill_of(egraph, task) if task.form == "decode" else task
            units.setdefault(call.id, []).append(task)
    for time in times:
        of_unit = {name: min(time[one.id] for one in unit) for name, unit in units.items()}
        found = sorted(set(of_unit.values()))
        for least in found[:: ceil(len(found) / MOST_SETS) or 1]:
            yield [one for name, unit in units.items() if of_unit[name] >= least for one in unit]


def _least_ms(egraph: EGraph, costs: Costs, company: Company, task: Task) -> float:
    """What a task costs on a path."""
    entry = costs.entry(task)
    if entry is None or not task.items or task.form == "hint":
        return 0.0
    home = costs.home(task)
    if task.form == "prefill":
        return _in_company_ms(entry, 1, rest_tokens(egraph, task), company.prompts[home])
    if task.form == "decode":
        context, most = context_tokens(egraph, task), company.sequences[home]
        return decode_steps(task) * _in_company_ms(entry, 1, context, most)
    most = task.items if home == CPU else efficient_batch(entry, costs.settings(task.engine))
    if task.form != "whole":
        return _in_company_ms(entry, 1, task.tokens, most)
    machines = 1 if costs.stores(home) else costs.replicas(home)
    return _in_company_ms(entry, ceil(task.items / machines), task.tokens, most)


def _in_company_ms(entry: Entry, items: int, tokens: float, most: int) -> float:
    """The least that a batch takes which has such items among its ``most``."""
    return entry.least_scale(most) * (entry.base_ms + items * entry.added_ms(tokens))
