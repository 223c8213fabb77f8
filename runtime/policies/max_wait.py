"""A bound on waiting for any policy: what has waited for too long goes first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

from teola.runtime.policies.base import Budget, Policy, Room, Slice, waits

if TYPE_CHECKING:
    from teola.runtime.task import Task


BEFORE_ALL = -(1 << 62)
"""The priority of what has waited for too long."""


class MaxWait(Policy):
    """The order of ``policy``; but what was queued ``seconds`` ago, or earlier, goes before it, the
    oldest first. Where that does not fit it is waited for.

    Nothing is held back by it. What it takes, the policy passes over like all that is taken.
    """

    name: ClassVar[str] = "max-wait"

    def __init__(self, policy: Policy, seconds: float, now: Callable[[], float]) -> None:
        self.policy, self.seconds, self.now = policy, seconds, now
        self._arrived: deque[Task] = deque()

    def add(self, task: Task) -> None:
        self._arrived.append(task)
        self.policy.add(task)

    def put_back(self, task: Task) -> None:
        self._arrived.appendleft(task)
        self.policy.put_back(task)

    def _late(self) -> Task | None:
        """The oldest task, where it has waited for too long."""
        while self._arrived and not waits(self._arrived[0]):
            self._arrived.popleft()
        if not self._arrived or self.now() - self._arrived[0].queued_s < self.seconds:
            return None
        return self._arrived[0]

    def next_batch(self, budget: Budget) -> list[Slice] | None:
        room = Room(budget)
        batch: list[Slice] = []
        while room.items > 0 and (task := self._late()) is not None:
            if (part := room.take(task)) is None:
                return batch or None
            batch.append(part)
        return batch + (self.policy.next_batch(room.left) or []) or None

    def priority(self, task: Task) -> int:
        late = self.now() - task.queued_s >= self.seconds
        return BEFORE_ALL if late else self.policy.priority(task)

    def first(self) -> Task | None:
        return self._late() or self.policy.first()

    def clear(self) -> list[Task]:
        self._arrived.clear()
        return self.policy.clear()

    def __iter__(self) -> Iterator[Task]:
        return iter(self.policy)

    def __len__(self) -> int:
        return len(self.policy)
