"""A batch: every row of the questions is run once, so many at a time, and its end recorded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from teola.compiler.plan import Plan
from teola.runtime.batch.answers import (
    Answer,
    as_data,
    origin_of,
    row_error,
    unreadable,
)
from teola.runtime.batch.errors import BatchInputError
from teola.runtime.batch.journal import Journal
from teola.runtime.batch.questions import Given, open_questions
from teola.runtime.batch.resume import Policy, hashes_of, resume
from teola.runtime.batch.row import Columns, Row
from teola.runtime.batch.shared import share_inputs
from teola.runtime.batch.sink import Sink
from teola.runtime.batch.tally import Tally
from teola.runtime.errors import InputError, Overloaded, QueryCancelled
from teola.runtime.observing.label import LABEL
from teola.runtime.result import RunResult
from teola.runtime.runner import Runner

CONCURRENCY = 64
"""Rows that run at once unless said otherwise."""

BREATH = 256
"""Rows that are passed over before the event loop may do something else."""


class Batch:
    """One batch, checked and ready to run; use as ``with Batch(…) as batch``.

    Args:
        plan: what is run for each row.
        questions: a file of JSON lines, ``-`` for standard input, or mappings. A row has the
            workflow's inputs, and an ``id`` if it likes.
        answers: a file that is made or gone on with, a sink for lines, or nothing.
        shared: inputs of all rows; those of a row come first.
        policy: what is kept of an earlier run.
        ignore_extra: leave out what rows have besides inputs and ``id``; else it is an error.

    Raises:
        InputError: an input of ``shared`` is wrong; BatchInputError: as ``resume``.
    """

    def __init__(
        self,
        plan: Plan,
        questions: Given,
        answers: str | Path | Sink | None = None,
        *,
        shared: Mapping[str, Any] | None = None,
        policy: Policy | None = None,
        ignore_extra: bool = False,
    ) -> None:
        self._shared = share_inputs(plan, shared or {})
        self._origin = origin_of(plan, self._shared)
        names = frozenset(port.name for port in plan.graph.inputs)
        self._questions = open_questions(questions, Columns(names, ignore_extra))
        self._sink: Sink | None = None
        try:
            self.tally, self._finished = self._begin(answers, policy or Policy())
        except BaseException:
            self.close()
            raise
        self.tally.warnings = self._shared.warnings

    def _begin(
        self, answers: str | Path | Sink | None, policy: Policy
    ) -> tuple[Tally, frozenset[str]]:
        hashes = hashes_of(self._questions)
        if not isinstance(answers, str | Path):
            self._sink = answers
            return Tally(len(hashes)), frozenset()
        self._sink = journal = Journal(answers)
        return resume(self._questions, hashes, journal, self._origin, policy)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the files go."""
        self._questions.close()
        if self._sink is not None:
            self._sink.close()

    async def run(
        self,
        runner: Runner,
        *,
        concurrency: int = CONCURRENCY,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> Tally:
        """Run the rows that are not finished; rows are read when there is room for them.

        Args:
            runner: of the batch's plan, started.
            concurrency: rows that run at once, at least 1.
            on_answer: is told of each row that has ended, after it is recorded.

        Raises:
            BatchInputError: no row may run.
            BatchError: the answers cannot be written.
            RunError: an engine cannot start, or is given up: no later row could be answered.
        """
        if concurrency < 1:
            raise BatchInputError(f"concurrency = {concurrency}: at least 1 row must run at once")
        began = time.monotonic()
        room = asyncio.Semaphore(concurrency)

        async def answer(row: Row) -> None:
            LABEL.set(row.label)
            try:
                done = await self._answer(runner, row)
            finally:
                room.release()
            self._record(done, on_answer)

        try:
            async with asyncio.TaskGroup() as running:
                for passed, row in enumerate(self._questions):
                    if row.key in self._finished:
                        if passed % BREATH == 0:
                            await asyncio.sleep(0)
                        continue
                    await room.acquire()
                    running.create_task(answer(row))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        finally:
            self.tally.seconds += time.monotonic() - began
        return self.tally

    def _record(self, done: Answer, on_answer: Callable[[Answer], None] | None) -> None:
        if self._sink is not None:
            self._sink.write(done.line(self._origin))
        self.tally.add(done)
        if on_answer is not None:
            on_answer(done)

    async def _answer(self, runner: Runner, row: Row) -> Answer:
        if row.problem is not None:
            return Answer(row, 0.0, error=unreadable(row, self._questions.name))
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            result = as_data(await self._run(runner, row))
        except QueryCancelled:
            raise
        except Exception as problem:
            if runner.lost and not isinstance(problem, InputError):
                raise
            error = row_error(problem, row, self._questions.name)
            return Answer(row, clock() - began, error=error)
        return Answer(row, clock() - began, result)

    async def _run(self, runner: Runner, row: Row) -> RunResult:
        """A row for which the pool has no room comes again: that is no error of the row."""
        while True:
            try:
                return await runner.run(**{**self._shared.values, **row.inputs})
            except Overloaded as full:
                await asyncio.sleep(full.retry_after_s)


async def run_batch(
    runner: Runner,
    questions: Given,
    answers: str | Path | Sink | None = None,
    *,
    shared: Mapping[str, Any] | None = None,
    policy: Policy | None = None,
    ignore_extra: bool = False,
    concurrency: int = CONCURRENCY,
    on_answer: Callable[[Answer], None] | None = None,
) -> Tally:
    """Check a batch and run it: see ``Batch`` and ``Batch.run``."""
    opened = Batch(
        runner.plan, questions, answers, shared=shared, policy=policy, ignore_extra=ignore_extra
    )
    with opened as batch:
        return await batch.run(runner, concurrency=concurrency, on_answer=on_answer)
