"""Policies: in which order an engine's waiting tasks are served."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from teola.runtime.task import Task


@dataclass(frozen=True, slots=True)
class Budget:
    """What an engine can take now: ``items``, and ``tokens`` of KV (None: not counted)."""

    items: int
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """Some items of one task: their indices in it."""

    task: Task
    indices: tuple[int, ...]


class Policy(Protocol):
    """Chooses the next batch; tasks whose items are all taken leave the queue."""

    def next_batch(self, queue: deque[Task], budget: Budget) -> list[Slice] | None:
        """The items to run now; None where nothing waits or fits."""
        ...


class Fifo:
    """Arrival order; tasks of many queries join in one batch."""

    def next_batch(self, queue: deque[Task], budget: Budget) -> list[Slice] | None:
        batch: list[Slice] = []
        items, tokens = budget.items, budget.tokens
        while queue and items > 0:
            task = queue[0]
            if task.over or not task.todo:
                queue.popleft()
                continue
            if tokens is not None and task.tokens > tokens:
                break
            indices = tuple(task.todo.popleft() for _ in range(min(items, len(task.todo))))
            items -= len(indices)
            tokens = None if tokens is None else tokens - task.tokens
            batch.append(Slice(task, indices))
            if not task.todo:
                queue.popleft()
        return batch or None
