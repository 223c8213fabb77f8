"""What a policy is: the order in which an engine's waiting tasks are served."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    from teola.runtime.task import Task


class Budget(NamedTuple):
    """What an engine can take now: ``items``, and ``tokens`` of them (None: not counted). Where
    ``lone``, an item that has more tokens goes, too, but with no other."""

    items: int
    tokens: int | None = None
    lone: bool = False


class Slice(NamedTuple):
    """Some items of one task: their indices in it."""

    task: Task
    indices: tuple[int, ...]


class Room:
    """What is left of a budget while a batch is filled. ``lone``: nothing was taken yet, and what
    is too large for the budget may be."""

    __slots__ = ("items", "lone", "tokens")

    def __init__(self, budget: Budget) -> None:
        self.items, self.tokens, self.lone = budget.items, budget.tokens, budget.lone

    @property
    def left(self) -> Budget:
        """What may still be taken."""
        return Budget(self.items, self.tokens, self.lone)

    def take(self, task: Task) -> Slice | None:
        """As many items of a task as fit; None where not one does."""
        todo = task.todo
        most = self.items if self.tokens is None else self._fitting(task, self.tokens)
        if most < 1:
            return None
        part = Slice(task, tuple(todo[:most]))
        task.todo = todo[most:]
        self.items -= len(part.indices)
        self.lone = False
        return part

    def _fitting(self, task: Task, tokens: int) -> int:
        """How many items of a task are within the tokens, which they take."""
        count = 0
        for index in task.todo[: max(0, self.items)]:
            size = task.size(index)
            if size > tokens and not (self.lone and not count):
                break
            tokens -= size
            count += 1
        self.tokens = tokens
        return count


class Policy(ABC):
    """The tasks that wait before one engine, and which of them go next.

    A task is in it until all its items are taken; one that is over is passed over. ``in_order``:
    what has waited longest always goes next.
    """

    name: ClassVar[str]
    in_order: ClassVar[bool] = False

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

    def priority(self, task: Task) -> int:
        """Where a task stands in an engine that orders what waits in it: the least comes first, and
        of equals the one that was sent first."""
        return 0

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
    room = Room(budget)
    while room.items > 0 and (task := policy.first()) is not None:
        if (part := room.take(task)) is None:
            return
        yield part
