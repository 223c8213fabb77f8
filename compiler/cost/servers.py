"""What serves tasks in an estimate: engines that batch items, and the CPU (LLMs: ``llm_server``).

A server works on one batch, or one step, at a time and never rests while something waits. It is
driven by a ``Simulation``: ``add`` a ready task, ``start`` what can be, ``finish`` is called back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from teola.compiler.cost.profile import Entry
from teola.compiler.graph.egraph import Task
from teola.compiler.graph.pgraph import Json

EPSILON = 1e-9


class Simulation(Protocol):
    """What servers see of the estimate."""

    now: float
    tasks: Sequence[Task]

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something at a time."""
        ...

    def begin(self, task: int, behind: int | None) -> None:
        """A task begins now; ``behind`` is what the server did before."""
        ...

    def finish(self, task: int) -> None:
        """A task ends now."""
        ...


class Server(Protocol):
    """One engine, or the CPU."""

    busy_ms: float

    def add(self, task: int) -> None:
        """A task is ready."""
        ...

    def start(self) -> None:
        """Begin the next batch or step, if nothing runs and something waits."""
        ...


def efficient_batch(entry: Entry, settings: Mapping[str, Json]) -> int:
    """Items of one batch at most: the engine's ``batch_size``, or else its knee."""
    size = settings.get("batch_size")
    return size if isinstance(size, int) and size > 0 else entry.knee


def most_requests(settings: Mapping[str, Json]) -> int | None:
    """Calls that an LLM runs at once at most, where its settings say so."""
    most = settings.get("max_requests")
    return most if isinstance(most, int) and most > 0 else None


class BatchServer:
    """An engine whose work is items: the oldest waiting ones of one operation make a batch of at
    most the efficient size, which takes ``base_ms + sum of (item_ms + tokens * token_ms)``."""

    def __init__(self, simulation: Simulation, limits: Mapping[str, tuple[Entry, int]]) -> None:
        self.simulation, self.limits = simulation, limits
        self.queue: deque[int] = deque()
        self.waiting: dict[int, int] = {}
        self.left: dict[int, int] = {}
        self.working = False
        self.last: int | None = None
        self.busy_ms = 0.0

    def add(self, task: int) -> None:
        self.queue.append(task)
        self.waiting[task] = self.left[task] = self.simulation.tasks[task].items

    def start(self) -> None:
        if self.working or not self.queue:
            return
        operation = self.simulation.tasks[self.queue[0]].operation
        entry, room = self.limits[operation]
        batch: list[tuple[int, int]] = []
        cost = entry.base_ms
        for task in self.queue:
            about = self.simulation.tasks[task]
            if about.operation != operation:
                continue
            count = min(room, self.waiting[task])
            batch.append((task, count))
            cost += count * (entry.item_ms + about.tokens * entry.token_ms)
            room -= count
            if not room:
                break
        for task, count in batch:
            if self.waiting[task] == self.simulation.tasks[task].items:
                self.simulation.begin(task, self.last)
            self.waiting[task] -= count
        self.queue = deque(task for task in self.queue if self.waiting[task])
        self.working = True
        self.busy_ms += cost
        self.simulation.at(self.simulation.now + cost, lambda: self._end(batch))

    def _end(self, batch: Sequence[tuple[int, int]]) -> None:
        self.working = False
        self.last = batch[-1][0]
        for task, count in batch:
            self.left[task] -= count
            if not self.left[task]:
                self.simulation.finish(task)


class CpuServer:
    """Work beside the engines: one task after another, for Python runs one at a time."""

    def __init__(self, simulation: Simulation, entries: Mapping[str, Entry]) -> None:
        self.simulation, self.entries = simulation, entries
        self.queue: deque[int] = deque()
        self.working = False
        self.last: int | None = None
        self.busy_ms = 0.0

    def add(self, task: int) -> None:
        self.queue.append(task)

    def start(self) -> None:
        if self.working or not self.queue:
            return
        task = self.queue.popleft()
        about = self.simulation.tasks[task]
        cost = self.entries[about.operation].latency_ms(about.items, about.tokens)
        self.simulation.begin(task, self.last)
        self.working = True
        self.busy_ms += cost
        self.simulation.at(self.simulation.now + cost, lambda: self._end(task))

    def _end(self, task: int) -> None:
        self.working = False
        self.last = task
        self.simulation.finish(task)
