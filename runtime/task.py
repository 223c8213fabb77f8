"""A task: what one group of one primitive asks of an engine, with its clocks and retries."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Protocol

from teola.runtime.clocks import Clocks, Line
from teola.runtime.engines.protocol import Failure
from teola.runtime.errors import ModuleError, Place, TaskTimeout
from teola.runtime.limits import Limits
from teola.runtime.observing.engine_watch import Origin
from teola.runtime.rank import UNRANKED

TOKEN_BYTES = 4
"""Bytes of text that count as a token, as four characters do in estimates."""
PENDING = object()
"""Stands for a result that is not there yet."""


class Home(Protocol):
    """A queue, as its tasks see it."""

    clocks: Clocks

    def enter(self, task: Task) -> None:
        """Queue a task (again)."""
        ...


class Task:
    """Items of one operation; ends once, in ``on_done(results)`` or ``on_fail(error)``.

    ``todo`` holds the indices still to be sent, ``running`` counts those that were and have no end
    yet. ``generation`` counts attempts: results of an earlier one are ignored; ``lapsed``: a clock
    has run out. ``spent_s`` is what was spent on the first attempt before it was queued: its clock
    has so much less. ``queued_s`` is when it was queued last, ``origin`` whom it is for, ``rank``
    what policies know of it.
    """

    __slots__ = (
        "attempt",
        "check",
        "clock",
        "common",
        "counted",
        "failure",
        "finished",
        "generation",
        "items",
        "lapsed",
        "limits",
        "on_done",
        "on_fail",
        "on_progress",
        "on_start",
        "operation",
        "origin",
        "over",
        "place",
        "queue",
        "queued_s",
        "rank",
        "results",
        "running",
        "spent_s",
        "todo",
    )

    def __init__(
        self,
        operation: str,
        items: Sequence[Any],
        common: Mapping[str, Any],
        place: Place,
        limits: Limits,
        on_done: Callable[[list[Any]], None],
        on_fail: Callable[[ModuleError], None],
        on_progress: Callable[[int], None] | None = None,
        on_start: Callable[[], None] | None = None,
    ) -> None:
        self.operation, self.items, self.common = operation, items, common
        self.place, self.limits = place, limits
        self.on_done, self.on_fail = on_done, on_fail
        self.on_progress, self.on_start = on_progress, on_start
        self.todo: Sequence[int] = range(len(items))
        self.results: list[Any] = [PENDING] * len(items)
        self.spent_s = self.queued_s = 0.0
        self.rank = UNRANKED
        self.origin: Origin | None = None
        self.generation = 0
        self.finished = 0
        self.running = 0
        self.failure: Failure | None = None
        self.attempt = 0
        self.over = self.lapsed = False
        self.clock: Line | None = None
        self.queue: Home | None = None
        self.check: Callable[[], None] | None = None
        self.counted: Callable[[Sequence[int]], None] | None = None

    def size(self, index: int) -> int:
        """What an item takes of a budget of tokens: of a text, roughly what it has."""
        item = self.items[index]
        return max(1, -(-_bytes(item) // TOKEN_BYTES)) if isinstance(item, str) else 1

    def queued(self, queue: Home) -> None:
        """The task has a queue to come back to."""
        self.queue = queue

    def start_clock(self) -> None:
        """(Re)start the clock of an attempt; when it runs out the attempt has failed."""
        self.stop_clock()
        seconds = self.limits.timeout_s
        if seconds is not None and self.queue is not None:
            left = max(0.0, seconds - self.spent_s)
            self.clock = self.queue.clocks.start(left, Task._timed_out, self)

    def stop_clock(self) -> None:
        """No clock runs."""
        if self.clock is not None:
            self.clock.leave(self)
            self.clock = None

    def _timed_out(self) -> None:
        self.time_passed("timeout", self.limits.timeout_s or 0.0)

    def time_passed(self, name: str, seconds: float) -> None:
        """A clock ran out: what waits or runs of this attempt no longer counts."""
        waiting = "while queued" if not self.running else "while running"
        error = TaskTimeout(self.place, f"{name} of {seconds:g} s passed {waiting}")
        self.lapsed = True
        self.give_up_attempt()
        self.retry_or_fail(error)

    def give_up_attempt(self) -> None:
        """Forget what is running; subclasses abort it."""
        self.generation += 1
        self.running = 0
        self.todo = ()

    def still_valid(self) -> bool:
        """Whether what it works on is still there; if not, it fails (``check`` raises why)."""
        try:
            if self.check is not None:
                self.check()
        except ModuleError as error:
            self.fail(error)
        return not self.over

    def started(self) -> None:
        """Items of it went to the engine."""
        if self.on_start is not None:
            self.on_start()
            self.on_start = None

    def deliver(
        self,
        indices: Sequence[int],
        results: Sequence[Any] | Failure,
        tokens: Sequence[int] = (),
        again: Container[str] = (),
    ) -> dict[int, Failure]:
        """The results of a slice, one an index, or one failure for all; and the tokens of its
        items where the engine has counted them. Failures of the kinds ``again`` do not count: they
        are returned by index, for ``put_back``. The first lasting one ends the task."""
        if self.over:
            return {}
        if isinstance(results, Failure):
            left = self._take(indices, [results] * len(indices), again)
        else:
            left = self._take(indices, results, again)
            if self.counted is not None and tokens and not left:
                self.counted(tokens)
        self.running -= len(indices) - len(left)
        if self.on_progress is not None:
            self.on_progress(self.finished)
        lost = self.failure is not None and self._lasts(self.failure.kind)
        if lost or (self.running == 0 and not self.todo):
            self._settle()
        return left

    def _take(
        self, indices: Sequence[int], results: Sequence[Any], again: Container[str]
    ) -> dict[int, Failure]:
        left = {}
        for index, result in zip(indices, results, strict=True):
            if not isinstance(result, Failure):
                self.results[index] = result
                self.finished += 1
            elif result.kind in again:
                left[index] = result
            elif self.failure is None or not self._lasts(self.failure.kind):
                self.failure = result
        return left

    def put_back(self, indices: Sequence[int]) -> None:
        """Items that were sent have to be sent again, before the others."""
        self.running -= len(indices)
        self.todo = (*indices, *self.todo)

    def _settle(self) -> None:
        """Everything sent is back, or what is back suffices for an error."""
        if self.failure is not None:
            detail = f"\n{self.failure.detail}" if self.failure.detail else ""
            cause = f"{self.failure.message}{detail}"
            self.retry_or_fail(ModuleError(self.place, cause, self.failure.kind))
        else:
            self.end()
            self.on_done(self.results)

    def retry_or_fail(self, error: ModuleError) -> None:
        """Queue what is missing again, after the backoff, or fail for good."""
        self.stop_clock()
        if self._lasts(error.kind):
            self.fail(error)
            return
        self.attempt += 1
        self.failure = None
        if self.queue is not None:
            delay_s = self.limits.delay_s(self.attempt)
            self.clock = self.queue.clocks.start(delay_s, Task._again, self)

    def _lasts(self, kind: str) -> bool:
        """Whether an error of this class is not tried again."""
        return self.attempt >= self.limits.max_retries or kind not in self.limits.on

    def _again(self) -> None:
        self.clock = None
        if not self.over and self.queue is not None:
            self.spent_s = 0.0
            self.reset()
            self.queue.enter(self)

    def reset(self) -> None:
        """Prepare the next attempt: only what has no result yet."""
        self.todo = [i for i, result in enumerate(self.results) if result is PENDING]

    def fail(self, error: ModuleError) -> None:
        """End badly."""
        if not self.over:
            self.end()
            tries = f" (after {self.attempt + 1} attempts)" if self.attempt else ""
            if tries:
                error = type(error)(error.place, error.cause + tries, error.kind)
            self.on_fail(error)

    def end(self) -> None:
        """Over: no clock, no more items."""
        self.over = True
        self.stop_clock()
        self.todo = ()

    def cancel(self) -> None:
        """Nobody wants it: leave the queue; what runs is ignored when it comes back."""
        self.end()


def _bytes(text: str) -> int:
    """Its length in UTF-8: where a character is often a token of its own, it is of many bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
