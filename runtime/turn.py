"""Turns: what becomes ready while results are handed out waits until all of them are."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Turn:
    """Does actions one after another, in order; what an action makes ready comes after it, so that
    long chains of quick primitives do not nest. Within ``with turn:`` nothing is done before the
    end, not even where an action hands something out: what comes together, the results of a batch
    or the tokens of a step, is seen together."""

    __slots__ = ("actions", "depth")

    def __init__(self) -> None:
        self.actions: deque[Callable[[], None]] = deque()
        self.depth = 0

    def ready(self, action: Callable[[], None]) -> None:
        """Do ``action`` after what is being done now."""
        self.actions.append(action)
        if not self.depth:
            self.depth = 1
            self._run()

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        if self.depth == 1:
            self._run()
        else:
            self.depth -= 1

    def _run(self) -> None:
        try:
            while self.actions:
                try:
                    self.actions.popleft()()
                except Exception as error:  # noqa: BLE001 - told to the loop, which logs it
                    _escaped(error)
        finally:
            self.depth = 0


def _escaped(error: Exception) -> None:
    """Actions guard themselves; what still gets out of one must not stop the others."""
    asyncio.get_running_loop().call_exception_handler(
        {"message": "an action of the graph scheduler failed", "exception": error}
    )
