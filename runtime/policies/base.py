"""What a policy is: the order in which an engine's waiting tasks are served."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

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


class Policy(ABC):
    """The tasks that wait before one engine, and which of them go next.

    A task is in it until all its items are taken; one that is over is passed over.
    """

    name: ClassVar[str]

    @abstractmethod
    def add(self, task: Task) -> None:
        """A task has come (again)."""

    @abstractmethod
    def put_back(self, task: Task) -> None:
        """A task that was taken is looked at again, before all others."""

    @abstractmethod
    def next_batch(self, budget: Budget) -> list[Slice] | None:
        """The items to run now; None where nothing waits or fits."""

    @abstractmethod
    def first(self) -> Task | None:
        """What goes next."""

    @abstractmethod
    def clear(self) -> list[Task]:
        """Forget all tasks, and return them in order."""

    @abstractmethod
    def __iter__(self) -> Iterator[Task]:
        """The tasks that wait, in any order."""

    @abstractmethod
    def __len__(self) -> int:
        """How many tasks wait, those that are over perhaps among them."""

    def __bool__(self) -> bool:
        return self.first() is not None


def waits(task: Task) -> bool:
    """Whether a task has items that nobody has taken yet."""
    return bool(task.todo) and not task.over


def fill(policy: Policy, budget: Budget) -> Iterator[Slice]:
    """What goes next, and next, until the budget is used or something does not fit."""
    items, tokens = budget.items, budget.tokens
    while items > 0 and (task := policy.first()) is not None and fits(task, tokens):
        part = take(task, items)
        items -= len(part.indices)
        tokens = less(tokens, task)
        yield part


def take(task: Task, most: int) -> Slice:
    """At most so many items of a task."""
    part = Slice(task, tuple(task.todo[:most]))
    task.todo = task.todo[most:]
    return part


def fits(task: Task, tokens: int | None) -> bool:
    """Whether a task is within a token budget."""
    return tokens is None or task.tokens <= tokens


def less(tokens: int | None, task: Task) -> int | None:
    """What a task leaves of a token budget."""
    return None if tokens is None else tokens - task.tokens
