"""``estimate``: how long one query takes, by a small simulation of its e-graph on the engines.

Every engine serves one batch at a time; what waits is taken oldest first. With the profile's entry
of operation and engine (``Entry.latency_ms``), a batch of n items of t tokens takes

    base_ms + n * (item_ms + t * token_ms)

where n is at most the engine's ``batch_size``, or the entry's knee. LLMs batch continuously (see
``servers.LlmServer``): a prefill of t new tokens takes ``base_ms + item_ms + t * token_ms`` and
gives the first token; each further token is one decode step of the n sequences that run,
``base_ms + n * item_ms``; a warm-up that ended before its call makes that call's prefill cost only
its new tokens. Operations without an engine take no time, or their entry's, one after another.
Engines are up and nothing else uses them. The same e-graph and profiles give the same figures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from itertools import count

from teola.compiler.cost.profile import Entry, Profiles, load_profiles
from teola.compiler.cost.servers import (
    EPSILON,
    BatchServer,
    CpuServer,
    LlmServer,
    Server,
    efficient_batch,
)
from teola.compiler.graph.egraph import EGraph, Task
from teola.compiler.graph.pgraph import Json, PGraph, Primitive

CPU = "cpu"
"""Stands for an engine's name where there is none."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When a task was ready, began and ended, in milliseconds after the query's start.

    ``cause`` is the task that it followed on: the last of those it waited for, or, where it was
    ready but had to queue (``queued``), what its engine did before.
    """

    task: str
    ready_ms: float
    start_ms: float
    end_ms: float
    cause: str | None
    queued: bool


@dataclass(frozen=True)
class Estimate:
    """The predicted run of one query.

    ``first_token_ms`` is when the first token of the main output is there (None: no output).
    ``engines`` is how long each engine works, ``cpu`` among them. ``structural`` names the entries
    (``decode on llm``) that are rough figures, ``unknown`` the operations that have none and count
    as free.
    """

    timings: Mapping[str, Timing]
    total_ms: float
    first_token_ms: float | None
    engines: Mapping[str, float]
    modules: Mapping[str, float]
    structural: tuple[str, ...]
    unknown: tuple[str, ...]


class Costs:
    """The entries that a graph's operations have, engines of equal settings being one."""

    def __init__(self, graph: PGraph, profiles: Profiles | None = None) -> None:
        self.graph, self.profiles = graph, profiles or load_profiles()
        self._found: dict[tuple[str, str | None], Entry | None] = {}

    @cached_property
    def homes(self) -> Mapping[str, str]:
        """Engine -> the first engine with the same settings."""
        engines = self.graph.engines
        return {
            name: next(other for other, same in engines.items() if same == settings)
            for name, settings in engines.items()
        }

    def home(self, task: Task) -> str:
        """What serves a task."""
        return self.homes.get(task.engine, task.engine) if task.engine is not None else CPU

    def settings(self, engine: str | None) -> Mapping[str, Json]:
        """The settings of an engine."""
        return self.graph.engines.get(engine, {}) if engine is not None else {}

    def operation(self, task: Task) -> str:
        """The operation whose entry counts: a warm-up does what its call does."""
        node = self.graph.by_id.get(task.primitive)
        if task.form == "hint" and isinstance(node, Primitive):
            call = self.graph.by_id.get(str(node.config.get("hint")))
            return call.operation if isinstance(call, Primitive) else task.operation
        return task.operation

    def entry(self, task: Task) -> Entry | None:
        """What a task costs; None where it is free."""
        if task.form == "join":
            return None
        place = (self.operation(task), task.engine)
        if place not in self._found:
            engine = self.settings(task.engine) if task.engine is not None else None
            self._found[place] = self.profiles.entry(place[0], engine)
        return self._found[place]

    def used(self, tasks: Sequence[Task]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The entries that are structural, and the operations on engines that have none."""
        structural: dict[str, None] = {}
        unknown: dict[str, None] = {}
        for task in tasks:
            entry = self.entry(task)
            name = f"{self.operation(task)} on {task.engine or CPU}"
            if entry is None and task.engine is not None:
                unknown[name] = None
            elif entry is not None and entry.origin == "structural":
                structural[name] = None
        return tuple(structural), tuple(unknown)


def free(operation: str) -> Entry:
    """The entry of an operation that has none."""
    return Entry(operation=operation, knee=1, base_ms=0, item_ms=0)


def estimate(egraph: EGraph, profiles: Profiles | None = None) -> Estimate:
    """Predict one query's run on the engines of the e-graph's graph (no ``profiles``: those that
    are shipped)."""
    costs = Costs(egraph.graph, profiles)
    run = _Run(egraph.tasks, costs)
    run.simulate()
    structural, unknown = costs.used(egraph.tasks)
    timings = {task.id: run.timing(number) for number, task in enumerate(egraph.tasks)}
    work = [timings[task.id] for task in egraph.tasks if task.form != "hint"]
    return Estimate(
        timings,
        max((timing.end_ms for timing in work), default=0.0),
        _first_token(egraph, timings),
        {name: server.busy_ms for name, server in run.servers.items()},
        _modules(egraph, timings),
        structural,
        unknown,
    )


def _first_token(egraph: EGraph, timings: Mapping[str, Timing]) -> float | None:
    """When the prefill of the call that gives the main output ends."""
    if not egraph.graph.outputs:
        return None
    latest = 0.0
    for name in egraph.outputs[egraph.graph.outputs[0].name]:
        task = egraph.by_id[name]
        while task.form == "decode":
            task = egraph.by_id[task.after[0]]
        latest = max(latest, timings[task.id].end_ms)
    return latest


def _modules(egraph: EGraph, timings: Mapping[str, Timing]) -> dict[str, float]:
    """Module -> how long anything of it was being done, warm-ups left out."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for task in egraph.tasks:
        if task.form not in ("join", "hint"):
            timing = timings[task.id]
            spans.setdefault(task.module, []).append((timing.start_ms, timing.end_ms))
    return {module: _covered(found) for module, found in spans.items()}


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    total = reached = 0.0
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


class _Run:
    """One simulation: events in order of time, then of their making."""

    def __init__(self, tasks: Sequence[Task], costs: Costs) -> None:
        self.tasks, self.costs = tasks, costs
        self.now = 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = count()
        numbers = {task.id: number for number, task in enumerate(tasks)}
        self.after = [[numbers[name] for name in task.after] for task in tasks]
        self.dependants: list[list[int]] = [[] for _ in tasks]
        for number, waits in enumerate(self.after):
            for one in waits:
                self.dependants[one].append(number)
        self.missing = [len(waits) for waits in self.after]
        self.ready_ms = [0.0] * len(tasks)
        self.start_ms = [0.0] * len(tasks)
        self.end_ms = [0.0] * len(tasks)
        self.cause: list[int | None] = [None] * len(tasks)
        self.queued = [False] * len(tasks)
        self.ended: deque[int] = deque()
        self.servers: dict[str, Server] = {}
        self.server = self._servers()

    def _servers(self) -> list[Server | None]:
        """What serves each task; None: nothing, it takes no time."""
        homes: dict[tuple[str, bool], list[int]] = {}
        places: list[tuple[str, bool] | None] = []
        for number, task in enumerate(self.tasks):
            llm = task.form in ("prefill", "decode", "hint")
            free_of_cost = self.costs.entry(task) is None or not task.items
            place = None if free_of_cost and not llm else (self.costs.home(task), llm)
            places.append(place)
            if place is not None:
                homes.setdefault(place, []).append(number)
        made: dict[tuple[str, bool], Server] = {}
        for (name, llm), numbers in homes.items():
            server = self._llm(numbers) if llm else self._batching(name, numbers)
            made[name, llm] = server
            self.servers[name if name not in self.servers else f"{name} (items)"] = server
        return [made[place] if place is not None else None for place in places]

    def _batching(self, name: str, numbers: Sequence[int]) -> Server:
        entries: dict[str, Entry] = {}
        for number in numbers:
            task = self.tasks[number]
            entries[task.operation] = self.costs.entry(task) or free(task.operation)
        if name == CPU:
            return CpuServer(self, entries)
        settings = self.costs.settings(name)
        return BatchServer(
            self, {op: (entry, efficient_batch(entry, settings)) for op, entry in entries.items()}
        )

    def _llm(self, numbers: Sequence[int]) -> Server:
        entries: dict[str, Entry | None] = {"prefill": None, "decode": None}
        unit: dict[int, int] = {}
        calls: dict[int, tuple[int, int]] = {}
        for number in numbers:
            task = self.tasks[number]
            kind = "decode" if task.form == "decode" else "prefill"
            entries[kind] = entries[kind] or self.costs.entry(task)
            if task.form == "prefill":
                unit[number] = number
                calls[number] = (number, task.tokens)
            elif task.form == "decode":
                call = unit[number] = unit[self.after[number][0]]
                calls[call] = (number, calls[call][1] + task.tokens)
        return LlmServer(
            self,
            self.costs.settings(self.tasks[numbers[0]].engine),
            entries["prefill"] or free("prefill"),
            entries["decode"] or free("decode"),
            calls,
        )

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something at a time."""
        heappush(self.events, (time, next(self.order), action))

    def simulate(self) -> None:
        """Run to the end."""
        for number, left in enumerate(self.missing):
            if not left:
                self.ready(number, None)
        self._settle()
        while self.events:
            self.now = max(self.now, self.events[0][0])
            while self.events and self.events[0][0] <= self.now + EPSILON:
                heappop(self.events)[2]()
                self._deliver()
            self._settle()

    def _settle(self) -> None:
        """What is ready is delivered; then idle servers begin."""
        self._deliver()
        for server in self.servers.values():
            server.start()

    def _deliver(self) -> None:
        while self.ended:
            task = self.ended.popleft()
            for other in self.dependants[task]:
                self.missing[other] -= 1
                if not self.missing[other]:
                    self.ready(other, task)

    def ready(self, task: int, cause: int | None) -> None:
        """All that a task waits for has ended, ``cause`` as the last of it."""
        self.ready_ms[task], self.cause[task] = self.now, cause
        server = self.server[task]
        if server is not None:
            server.add(task)
            return
        self.begin(task, None)
        self.finish(task)

    def begin(self, task: int, behind: int | None) -> None:
        """A task begins now."""
        self.start_ms[task] = self.now
        if self.now > self.ready_ms[task] + EPSILON and behind is not None:
            self.queued[task], self.cause[task] = True, behind

    def finish(self, task: int) -> None:
        """A task ends now."""
        self.end_ms[task] = self.now
        self.ended.append(task)

    def timing(self, task: int) -> Timing:
        """When a task was what."""
        cause = self.cause[task]
        return Timing(
            self.tasks[task].id,
            self.ready_ms[task],
            self.start_ms[task],
            self.end_ms[task],
            self.tasks[cause].id if cause is not None else None,
            self.queued[task],
        )
