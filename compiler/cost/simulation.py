"""The discrete-event simulation of one query: tasks become ready, servers serve them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import count

from teola.compiler.cost.collection import Collections
from teola.compiler.cost.costs import CPU, Costs, free
from teola.compiler.cost.llm_machine import LlmMachine
from teola.compiler.cost.llm_server import Call, LlmServer
from teola.compiler.cost.profile import Entry
from teola.compiler.cost.servers import (
    EPSILON,
    BatchServer,
    CpuServer,
    Limit,
    Server,
    StoreServer,
    batch_tokens,
    efficient_batch,
)
from teola.compiler.graph.egraph import Task


class Run:
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
            server = self._llm(name, numbers) if llm else self._batching(name, numbers)
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
        settings, replicas = self.costs.settings(name), self.costs.replicas(name)
        tokens = batch_tokens(settings)
        limits = {
            operation: Limit(entry, efficient_batch(entry, settings), tokens)
            for operation, entry in entries.items()
        }
        if replicas == 1 or not self.costs.stores(name):
            return BatchServer(self, limits, replicas)
        found = Collections(self.costs.graph)
        collections = {number: found.of(self.tasks[number]) for number in numbers}
        return StoreServer(self, limits, replicas, collections)

    def _llm(self, name: str, numbers: Sequence[int]) -> Server:
        entries: dict[str, Entry | None] = {"prefill": None, "decode": None}
        call_of: dict[int, int] = {}
        calls: dict[int, Call] = {}
        contexts: dict[int, float] = {}
        for number in numbers:
            task = self.tasks[number]
            kind = "decode" if task.form == "decode" else "prefill"
            entries[kind] = entries[kind] or self.costs.entry(task)
            if task.form == "prefill":
                call_of[number] = number
                calls[number] = Call(number, 0, task.tokens)
            elif task.form == "decode":
                call = call_of[number] = call_of[self.after[number][0]]
                before = calls[call]
                contexts[number] = before.tokens + task.tokens / 2
                calls[call] = Call(number, before.new + task.tokens, before.tokens + task.tokens)
        machine = partial(
            LlmMachine,
            self,
            self.costs.settings(self.tasks[numbers[0]].engine),
            entries["prefill"] or free("prefill"),
            entries["decode"] or free("decode"),
        )
        return LlmServer(self, calls, call_of, contexts, machine, self.costs.replicas(name))

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
