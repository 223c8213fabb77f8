"""Calls that wait for the first token of another one, which computes what they begin with."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from teola.runtime.llm.prefixes import Marks, Prefixes
from teola.runtime.llm.task import LLMTask
from teola.runtime.llm.warm_up import WarmUp

LEAST_TOKENS = 256
"""A call waits for another call only where so much of their common prefix is computed there."""


class Holds:
    """``leaders`` have been sent and have given no token yet, ``followers`` wait for them. One of
    the leaders at most is a ``warm_up``."""

    def __init__(self) -> None:
        self.leaders: dict[str, LLMTask | WarmUp] = {}
        self.followers: dict[str, list[LLMTask]] = {}
        self.warm_up: WarmUp | None = None

    def lead(self, task: LLMTask | WarmUp) -> None:
        """A call or a warm-up is sent."""
        self.leaders[task.id] = task
        if isinstance(task, WarmUp):
            self.warm_up = task

    def leader(self, marks: Marks, prefixes: Prefixes) -> str | None:
        """Who computes a prefix of a prompt right now; None where nobody does."""
        if not marks or not self.leaders:
            return None
        cached = prefixes.cached(marks)
        least = cached + -(-LEAST_TOKENS // prefixes.block_tokens)
        for name, one in self.leaders.items():
            whole = isinstance(one, WarmUp) and len(one.marks) > cached and one.begins(marks)
            if whole or _common(one.marks, marks, least):
                return name
        return None

    def coming(self, marks: Marks) -> int:
        """How many leading blocks of a prompt are being computed right now."""
        return max((_alike(one.marks, marks) for one in self.leaders.values()), default=0)

    def hold(self, task: LLMTask, leader: str) -> None:
        """Let a call wait."""
        self.followers.setdefault(leader, []).append(task)

    def release(self, leader: str) -> list[LLMTask]:
        """A leader has given its first token, or has ended: who waited for it."""
        if self.leaders.pop(leader, None) is self.warm_up:
            self.warm_up = None
        return self.followers.pop(leader, [])

    def waits_for(self, leader: str) -> bool:
        """Whether somebody waits for a leader."""
        return leader in self.followers

    def forget(self, task: LLMTask) -> None:
        """A call does not wait any more."""
        for leader, waiting in tuple(self.followers.items()):
            if task in waiting:
                waiting.remove(task)
                if not waiting:
                    del self.followers[leader]

    @property
    def busy(self) -> bool:
        """Whether somebody waits for a first token."""
        return bool(self.leaders or self.followers)

    def check_integrity(self) -> list[str]:
        """What should not be there when nothing runs."""
        left = len(self.leaders) + len(self.followers)
        return [f"{left} calls wait, or are waited for, on an idle engine"] if left else []

    def __iter__(self) -> Iterator[LLMTask]:
        """All who wait."""
        return (task for waiting in self.followers.values() for task in waiting)


def _alike(one: Marks, other: Marks) -> int:
    """How many leading blocks two prompts have in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _common(one: Marks, other: Marks, count: int) -> bool:
    """Whether two prompts have their first ``count`` blocks in common."""
    return min(len(one), len(other)) >= count and one[count - 1] == other[count - 1]
