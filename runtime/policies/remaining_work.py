"""``remaining-work``: the query that needs least to end goes first, older ones before newer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from teola.runtime.policies.ordered import Key, Ordered

if TYPE_CHECKING:
    from teola.runtime.task import Task

WEIGHT = 2.0
"""w of runtime.md: milliseconds of work that a millisecond of waiting outweighs."""


class RemainingWork(Ordered):
    """By ``work left of the query + w * arrival of the query``, in whole milliseconds; inside a
    query the longest remaining path first. A task waits only behind queries that arrived less than
    ``left / w`` after its own: nothing starves."""

    name: ClassVar[str] = "remaining-work"

    def __init__(self, weight: float = WEIGHT) -> None:
        super().__init__()
        self.weight = weight

    def key(self, task: Task) -> Key:
        rank = task.rank
        return (round(rank.left_ms + self.weight * rank.arrived_ms), -rank.path_ms)
