"""Items that are with an engine, or on their way to it once more."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from teola.compiler.graph.operations import OPERATIONS
from teola.runtime.engines.protocol import Failure, Request
from teola.runtime.policies import Policy, Slice

if TYPE_CHECKING:
    from teola.runtime.task import Task


class Sent(NamedTuple):
    """A slice as it was sent: for one attempt of its task."""

    task: Task
    indices: tuple[int, ...]
    generation: int

    @staticmethod
    def of(part: Slice) -> Sent:
        """What a policy has chosen, from now on with an engine."""
        part.task.running += len(part.indices)
        part.task.started()
        return Sent(part.task, part.indices, part.task.generation)

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return not self.task.over and self.task.generation == self.generation

    @property
    def repeatable(self) -> bool:
        """Whether doing it twice is doing it once."""
        operation = OPERATIONS.get(self.task.operation)
        return operation is not None and (operation.pure or operation.idempotent)

    @property
    def request(self) -> Request:
        """What the engine is asked."""
        items = [self.task.items[index] for index in self.indices]
        return Request(self.task.operation, items, self.task.common)

    def only(self, indices: Sequence[int]) -> Sent:
        """Some of its items."""
        return self._replace(indices=tuple(indices))

    def deliver(
        self,
        results: Sequence[Any] | Failure,
        tokens: Sequence[int] = (),
        again: Container[str] = (),
    ) -> dict[int, Failure]:
        """See ``Task.deliver``."""
        if not self.wanted:
            return {}
        return self.task.deliver(self.indices, results, tokens, again)

    def put_back(self, queue: Policy) -> None:
        """Let it be sent again, before what waits."""
        if self.wanted:
            self.task.put_back(self.indices)
            queue.put_back(self.task)


def count(batch: Sequence[Sent]) -> int:
    """The items of a batch."""
    return sum(len(part.indices) for part in batch)


def put_back(batch: Sequence[Sent], queue: Policy) -> None:
    """Let a batch be sent again, in its order."""
    for part in reversed(batch):
        part.put_back(queue)
