"""What a run does, for whoever asked to see it: a timeline, a trace file, spans for a collector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from teola.compiler.errors import CompileError
from teola.runtime.cli.ending import CommandError, say
from teola.runtime.cli.gantt import Paper, gantt
from teola.runtime.errors import ModelError
from teola.runtime.observing import otlp
from teola.runtime.observing.trace_file import TraceFile

if TYPE_CHECKING:
    from rich.console import Console

    from teola.compiler.explain.explanation import RunFact
    from teola.runtime.observing.timeline import Timeline
    from teola.runtime.pool import EnginePool
    from teola.runtime.result import RunResult

READING_WIDTH = 120
STYLES = {"█": "cyan", "▒": "yellow", "░": "dim", "·": "dim"}


def check_trace(path: Path | None) -> None:
    """See that a trace can be written, before a long run.

    Raises:
        CommandError: its folder is missing, or it is a folder.
    """
    if path is None:
        return
    if path.is_dir():
        raise CommandError(f"--trace {path}: that is a folder: name a file, as in run.json")
    if not path.parent.is_dir():
        raise CommandError(f"--trace {path}: there is no folder {path.parent}")


@contextmanager
def watched(pool: EnginePool, trace: Path | None) -> Iterator[None]:
    """Watch a pool. The trace is written meanwhile, and whole however the run ends; spans go to the
    collector that the environment names.

    Raises:
        CommandError: the trace cannot be written.
    """
    with ExitStack() as after:
        if trace is not None:
            after.callback(_end_trace, pool.observe(_begin_trace(trace)), trace)
        if otlp.wanted():
            _collect(pool, after)
        yield


def _begin_trace(path: Path) -> TraceFile:
    try:
        return TraceFile(path)
    except OSError as error:
        raise CommandError(f"--trace {path}: {error.strerror or error}") from error


def _end_trace(trace: TraceFile, path: Path) -> None:
    """Make a trace whole; the run is not worth less if that fails."""
    try:
        trace.close()
    except OSError as error:
        say(f"warning: --trace {path}: {error.strerror or error}: the end is missing")


def _collect(pool: EnginePool, after: ExitStack) -> None:
    """A collector is often named for all programs of a machine: no spans are no reason to fail."""
    try:
        spans, end = otlp.collected_spans()
    except ModelError as error:
        say(f"warning: no spans are sent: {error}")
        return
    pool.observe(spans)
    after.callback(end)


def show_timeline(
    console: Console,
    timeline: Timeline,
    result: RunResult,
    profile: Path | None,
    title: str = "Timeline",
) -> None:
    """Write the chart of a run to ``console``."""
    predicted = predicted_run(result, profile)
    ascii_only = console.options.ascii_only
    chart = gantt(timeline, predicted, Paper(min(console.width, READING_WIDTH), ascii_only))
    summary = f"{title}: {_summary(timeline, predicted)}"
    text = Text(f"\n{summary}\n\n{chart}", no_wrap=True, overflow="crop")
    for mark, style in STYLES.items():
        text.highlight_regex(f"{mark}+", style)
    console.print(text, soft_wrap=True, end="")
    if predicted is not None and profile is None:
        console.print(
            "Predicted from this run's sizes and shipped costs (`teola profile`: your own).",
            style="dim",
            highlight=False,
            soft_wrap=True,
        )


def predicted_run(result: RunResult, profile: Path | None) -> RunFact | None:
    """Predicted beside measured; None where the sizes are too large to predict."""
    if result.plan is None:
        return None
    try:
        return result.predicted(profile)
    except CompileError:
        return None  # what was measured can be shown all the same


def _summary(timeline: Timeline, predicted: RunFact | None) -> str:
    facts = [f"{timeline.total_s:.2f} s"]
    if predicted is not None:
        facts.append(f"predicted {predicted.total.predicted_ms / 1000:.2f} s")
    if timeline.ready_s > 0:
        facts.append(f"engines took {timeline.ready_s:.2f} s to start, not predicted")
    return "; ".join(facts)
