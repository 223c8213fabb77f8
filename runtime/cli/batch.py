"""``teola run --batch``: every row of a file, with a bar, a summary, and the way to go on."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from teola.runtime.batch import Answer, Batch, Policy, Stream
from teola.runtime.cli.batch_progress import BatchProgress, open_batch_progress
from teola.runtime.cli.batch_report import lines, recorded, summary
from teola.runtime.cli.batch_timeline import BatchTimeline
from teola.runtime.cli.ending import ROWS_FAILED, TERMINATED, CommandError, say
from teola.runtime.cli.execution import cancel_on_terminate
from teola.runtime.cli.terminal import is_terminal, printable, write_now
from teola.runtime.cli.watching import watched
from teola.runtime.collector import rare_collection
from teola.runtime.runner import Runner

if TYPE_CHECKING:
    from teola.compiler.graph.pgraph import Json
    from teola.compiler.plan import Plan

STANDARD = "-"
"""Standard input as questions, standard output as answers."""


@dataclass(frozen=True, slots=True)
class BatchWishes:
    """How a batch is to be made and shown; ``profile`` is what its timeline is predicted with."""

    questions: str
    answers: str
    concurrency: int
    policy: Policy
    ignore_extra: bool = False
    share: bool = True
    as_json: bool = False
    quiet: bool = False
    timeline: bool = False
    trace: Path | None = None
    profile: Path | None = None


def check_words(wishes: BatchWishes, inputs: Sequence[str]) -> None:
    """Refuse options that cannot go together.

    Raises:
        CommandError: says which, and what would do.
    """
    if not wishes.answers:
        raise CommandError("--batch needs --out FILE for the answers (--out - is standard output)")
    to_output = wishes.answers == STANDARD
    if wishes.as_json and to_output:
        raise CommandError(
            "--json writes the summary of a batch to standard output, and so does --out -: "
            "give a file"
        )
    if to_output and wishes.policy != Policy():
        raise CommandError(
            "--retry-errors and --accept-changes go on with a file of answers: give --out FILE"
        )
    if wishes.questions == STANDARD and any(word.endswith("=@-") for word in inputs):
        raise CommandError("--batch - and -i NAME=@- both read standard input: give one a file")
    questions, answers = Path(wishes.questions), Path(wishes.answers)
    if _one_file(questions, answers):
        raise CommandError(f"--out {wishes.answers}: these are the questions")
    for path, what in ((questions, "questions"), (answers, "answers")):
        if wishes.trace is not None and _one_file(path, wishes.trace):
            raise CommandError(f"--trace {wishes.trace}: these are the {what}")


def _one_file(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.samefile(other)


def run_rows(plan: Plan, values: Mapping[str, Json], wishes: BatchWishes) -> None:
    """Run a plan for every row and record what becomes of each.

    Raises:
        InputError: questions, answers or inputs cannot be used.
        BatchError: the batch could not go on.
        KeyboardInterrupt: Ctrl-C; what is finished is recorded.
        Exit: rows have failed, or the batch was ended by a SIGTERM.
    """
    to_output = wishes.answers == STANDARD
    answers = Stream(write_now) if to_output else wishes.answers
    console = Console(stderr=True)
    with Batch(
        plan,
        wishes.questions,
        answers,
        shared=values,
        policy=wishes.policy,
        ignore_extra=wishes.ignore_extra,
    ) as batch:
        tally = batch.tally
        for warning in tally.warnings:
            say(printable(f"warning: {warning}"))
        if 0 < tally.recorded < tally.total and not wishes.quiet:
            say(f"{recorded(tally, wishes.answers)}: going on with the rest")
        progress = open_batch_progress(
            tally,
            console,
            time.monotonic,
            quiet=wishes.quiet,
            shared=to_output and is_terminal(sys.stdout),
        )
        timeline = BatchTimeline() if wishes.timeline else None
        try:
            _run(plan, batch, wishes, progress, timeline)
        except BaseException as error:
            if not to_output and not isinstance(error, BrokenPipeError):
                say(
                    f"stopped: {recorded(tally, wishes.answers)}; "
                    "the same command goes on from there"
                )
            if isinstance(error, asyncio.CancelledError):
                say("terminated")
                raise typer.Exit(TERMINATED) from None
            raise
    if timeline is not None:
        timeline.show(console, tally, wishes.profile)
    if wishes.as_json:
        write_now(json.dumps(summary(tally), indent=2) + "\n")
    if not wishes.quiet:
        say("\n".join(lines(tally, retry=not to_output)))
    if tally.errors:
        raise typer.Exit(ROWS_FAILED)


def _run(
    plan: Plan,
    batch: Batch,
    wishes: BatchWishes,
    progress: BatchProgress,
    timeline: BatchTimeline | None,
) -> None:
    """Run what is left, if something is."""
    if batch.tally.recorded == batch.tally.total:
        return

    def ended(answer: Answer) -> None:
        progress.row()
        if timeline is not None:
            timeline.ended(answer)

    async def execute() -> None:
        cancel_on_terminate()
        async with Runner(plan, share=wishes.share, on_engine=progress.engine) as runner:
            if timeline is not None:
                runner.pool.observe(timeline)
            with watched(runner.pool, wishes.trace):
                await batch.run(runner, concurrency=wishes.concurrency, on_answer=ended)

    progress.start()
    try:
        with rare_collection():
            asyncio.run(execute())
    finally:
        progress.stop()
