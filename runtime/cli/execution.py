"""Running a plan once and showing it, from the first engine that starts to the last output."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from teola.compiler.errors import CompileError
from teola.runtime.cli.answer import Answer
from teola.runtime.cli.display import RunDisplay
from teola.runtime.cli.ending import TERMINATED, say
from teola.runtime.cli.progress import open_progress
from teola.runtime.cli.report import report
from teola.runtime.cli.state import RunState
from teola.runtime.cli.terminal import is_terminal, write_now
from teola.runtime.cli.watching import predicted_run, show_timeline, watched
from teola.runtime.errors import RunError
from teola.runtime.events import RunFinished
from teola.runtime.observing.timeline import WorkLog
from teola.runtime.runner import Runner

if TYPE_CHECKING:
    from pathlib import Path

    from teola.compiler.graph.pgraph import Json
    from teola.compiler.plan import Plan
    from teola.runtime.result import RunResult


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a run is to be made and shown; ``profile`` is what it is predicted with."""

    share: bool = True
    seed: int = 0
    as_json: bool = False
    quiet: bool = False
    timeline: bool = False
    trace: Path | None = None
    profile: Path | None = None


def run_plan(plan: Plan, values: Mapping[str, Json], wishes: Wishes) -> None:
    """Run a plan once and write its outputs.

    Raises:
        RunError: the run failed.
        KeyboardInterrupt: Ctrl-C; the run is cancelled and its engines are closed.
        Exit: it was ended by a SIGTERM.
    """
    try:
        asyncio.run(_execute(plan, values, wishes))
    except asyncio.CancelledError:
        say("terminated")
        raise typer.Exit(TERMINATED) from None


async def _execute(plan: Plan, values: Mapping[str, Json], wishes: Wishes) -> None:
    cancel_on_terminate()
    with open_display(plan, wishes) as display:
        share, seed = wishes.share, wishes.seed
        async with Runner(plan, share=share, seed=seed, on_engine=display.feed) as runner:
            log = runner.pool.observe(WorkLog()) if wishes.timeline else None
            with watched(runner.pool, wishes.trace):
                result = await _run(runner, values, display)
                write_result(result, plan, wishes, display)
            if log is not None:
                show_timeline(display.console, log.timeline(result), result, wishes.profile)


def cancel_on_terminate() -> None:
    """Let a SIGTERM end the run as cleanly as Ctrl-C does."""
    task = asyncio.current_task()
    if task is not None:
        with suppress(NotImplementedError, RuntimeError):  # no signals here: other thread, system
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def _run(runner: Runner, values: Mapping[str, Json], display: RunDisplay) -> RunResult:
    result: RunResult | None = None
    async with aclosing(runner.stream(**values)) as events:
        async for event in events:
            display.feed(event)
            if isinstance(event, RunFinished):
                result = event.result
    if result is None:
        raise RunError("the run ended without a result")
    return result


def write_result(result: RunResult, plan: Plan, wishes: Wishes, display: RunDisplay) -> None:
    """Write the outputs to their streams, or everything as one JSON object."""
    display.progress.stop()
    if wishes.as_json:
        found = predicted_run(result, wishes.profile)
        data = {**result.to_json(), "predicted": found and found.to_json()}
        write_now(json.dumps(data, ensure_ascii=False, indent=2) + "\n")
    else:
        display.finish(result[display.answer.name])
    outputs = not (wishes.quiet or wishes.as_json)
    report(display, plan, result, outputs=outputs, summary=not wishes.quiet)


def open_display(plan: Plan, wishes: Wishes) -> RunDisplay:
    """The display that fits the terminal, the streams and what was asked for."""
    console = Console(stderr=True)
    modules = dict.fromkeys(node.module for node in plan.graph.nodes if node.module)
    state = RunState(tuple(modules), time.monotonic)
    progress = open_progress(state, console, quiet=wishes.quiet)
    grows = is_terminal(sys.stdout) and not wishes.as_json
    if not plan.graph.outputs:
        raise CompileError(f"{plan.name}: the graph has no output: end it with a line 'output …'")
    main = plan.graph.outputs[0]
    answer = Answer(main.name, main.type, write_now, grows=grows)
    return RunDisplay(state, progress, answer, console, shared=grows and is_terminal(sys.stderr))
