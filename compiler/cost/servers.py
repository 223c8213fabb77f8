"""What serves tasks in an estimate: engines that batch items, and the CPU (LLMs: ``llm_server``).

Each machine of a server (replica of an engine) works on one batch, or one step, at a time and never
rests while something waits that it may do. A server is driven by a ``Simulation``: ``add`` a ready
task, ``start`` what can be, ``finish`` is called back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from math import ceil
from typing import NamedTuple, Protocol, TypeAlias

from teola.compiler.cost.profile import Entry
from teola.compiler.graph.egraph import Task
from teola.compiler.graph.pgraph import Json

EPSILON = 1e-9


class Limit(NamedTuple):
    """What an operation costs, and what is in one batch at most: so many ``items``, and ``tokens``
    of them (None: any number; an item that has more goes alone)."""

    entry: Entry
    items: int
    tokens: int | None = None


Limits: TypeAlias = Mapping[str, Limit]
"""Operation -> what bounds its batches."""


class Simulation(Protocol):
    """What servers see of the estimate."""

    now: float
    tasks: Sequence[Task]

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something at a time."""
        ...

    def begin(self, task: int, behind: int | None) -> None:
        """A task begins now; ``behind`` is what the machine did before."""
        ...

    def finish(self, task: int) -> None:
        """A task ends now."""
        ...


class Server(Protocol):
    """One engine, or the CPU."""

    @property
    def busy_ms(self) -> float:
        """How long its machines have worked, together."""
        ...

    def add(self, task: int) -> None:
        """A task is ready."""
        ...

    def start(self) -> None:
        """Begin the next batches or steps, where a machine is free and something waits."""
        ...


def efficient_batch(entry: Entry, settings: Mapping[str, Json]) -> int:
    """Items of one batch at most: the engine's ``batch_size``, or else its knee."""
    size = settings.get("batch_size")
    return size if isinstance(size, int) and size > 0 else entry.knee


def batch_tokens(settings: Mapping[str, Json]) -> int | None:
    """Tokens of one batch at most, where the engine's settings say so."""
    most = settings.get("batch_tokens")
    return most if isinstance(most, int) and most > 0 else None


def most_requests(settings: Mapping[str, Json]) -> int | None:
    """Calls that an LLM runs at once at most, where its settings say so."""
    most = settings.get("max_requests") or settings.get("max_num_seqs")
    return most if isinstance(most, int) and most > 0 else None


class BatchServer:
    """An engine whose work is items: the oldest waiting ones of one operation make a batch of at
    most the efficient size, which takes its ``Entry.batch_ms`` of a machine. ``left`` are the items
    of tasks that wait or run, ``last`` what machines did before."""

    def __init__(self, simulation: Simulation, limits: Limits, machines: int = 1) -> None:
        self.simulation, self.limits = simulation, limits
        self.queue: deque[int] = deque()
        self.waiting: dict[int, int] = {}
        self.left: dict[int, int] = {}
        self.free = list(range(machines))
        self.last: list[int | None] = [None] * machines
        self.busy_ms = 0.0

    def add(self, task: int) -> None:
        self.queue.append(task)
        self.waiting[task] = self.left[task] = self.simulation.tasks[task].items

    def start(self) -> None:
        while self.free and self.queue:
            self._begin(heappop(self.free))

    def _begin(self, machine: int) -> None:
        operation = self.simulation.tasks[self.queue[0]].operation
        entry, room, tokens = self.limits[operation]
        room = min(room, self._share(operation))
        batch: list[tuple[int, int]] = []
        added = 0.0
        for task in self.queue:
            about = self.simulation.tasks[task]
            if about.operation != operation:
                continue
            count = min(room, self.waiting[task])
            if tokens is not None and about.tokens:
                count = min(count, max(tokens // about.tokens, not batch))
                tokens -= count * about.tokens
            if not count:
                break
            batch.append((task, count))
            added += count * entry.added_ms(about.tokens)
            room -= count
            if not room:
                break
        for task, count in batch:
            if self.waiting[task] == self.simulation.tasks[task].items:
                self.simulation.begin(task, self.last[machine])
            self.waiting[task] -= count
        self.queue = deque(task for task in self.queue if self.waiting[task])
        cost = entry.batch_ms(sum(count for _, count in batch), added)
        self.busy_ms += cost
        self.simulation.at(self.simulation.now + cost, lambda: self._end(machine, batch))

    def _share(self, operation: str) -> int:
        """What one machine takes of what waits, where others have nothing to do."""
        tasks = self.simulation.tasks
        waiting = sum(self.waiting[one] for one in self.queue if tasks[one].operation == operation)
        return ceil(waiting / (len(self.free) + 1))

    def _end(self, machine: int, batch: Sequence[tuple[int, int]]) -> None:
        heappush(self.free, machine)
        self.last[machine] = batch[-1][0]
        for task, count in batch:
            self.left[task] -= count
            if not self.left[task]:
                del self.left[task]
                self.simulation.finish(task)


class StoreServer:
    """A store with replicas: all work on a collection is done by the one that had the least to do
    when it was begun, of equals by the one with the fewest collections."""

    def __init__(
        self,
        simulation: Simulation,
        limits: Limits,
        replicas: int,
        collections: Mapping[int, str],
    ) -> None:
        self.collections = collections
        self.replicas = [BatchServer(simulation, limits) for _ in range(replicas)]
        self.homes: dict[str, BatchServer] = {}

    @property
    def busy_ms(self) -> float:
        return sum(replica.busy_ms for replica in self.replicas)

    def add(self, task: int) -> None:
        name = self.collections[task]
        if name not in self.homes:
            held = list(self.homes.values())
            self.homes[name] = min(self.replicas, key=lambda one: (len(one.left), held.count(one)))
        self.homes[name].add(task)

    def start(self) -> None:
        for replica in self.replicas:
            replica.start()


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
