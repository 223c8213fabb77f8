"""Measuring on the terminal: progress while it goes on, a table at the end."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from teola.runtime.cli.ending import say
from teola.runtime.cli.progress import open_progress
from teola.runtime.cli.state import RunState
from teola.runtime.cli.terminal import printable, write_now
from teola.runtime.profiling import FULL, QUICK, Measured, Profiling, measure_engines

if TYPE_CHECKING:
    from teola.compiler.plan import Plan
    from teola.runtime.events import Event

COLUMNS = ("operation", "engine", "tokens", "knee", "1 item", "at knee", "items/s", "fit")
SECOND_MS = 1000


def measure_plan(plan: Plan, engines: Sequence[str], *, quick: bool, quiet: bool) -> Profiling:
    """Measure a plan's engines and show how it goes on.

    Raises:
        InputError: there is nothing to measure.
    """
    state = RunState((), time.monotonic)
    progress = open_progress(state, Console(stderr=True), quiet=quiet)

    def tell(event: Event) -> None:
        state.feed(event)
        progress.feed(event)

    effort = QUICK if quick else FULL
    progress.start()
    try:
        return asyncio.run(
            measure_engines(plan.graph, engines=engines, effort=effort, on_event=tell)
        )
    finally:
        progress.stop()


def show(found: Profiling, *, as_json: bool) -> None:
    """Write the table, or everything as one JSON object; on standard error what is missing."""
    if as_json:
        write_now(json.dumps(_plain(found), ensure_ascii=False, indent=2) + "\n")
    elif found.measured:
        console = Console(file=sys.stdout)
        console.print(_table(found.measured))
        console.print(printable(found.machine), style="dim", markup=False, highlight=False)
    for one in found.measured:
        if one.note:
            say(f"{_title(one.operation, one.engine)}: {printable(one.note)}")
    for missing in found.unmeasured:
        title = _title(missing.operation, missing.engine)
        say(f"not measured: {title}: {printable(missing.cause)}")


def _title(operation: str, engine: str) -> str:
    return f"{operation} on {engine}" if operation and engine else operation or engine


def _table(measured: Sequence[Measured]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for name in COLUMNS:
        if name in ("operation", "engine"):
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    for one in measured:
        table.add_row(*(Text(printable(cell)) for cell in _cells(one)))
    return table


def _cells(one: Measured) -> tuple[str, ...]:
    first, at_knee = _ends(one)
    return (
        one.operation,
        one.engine,
        f"{first.tokens:.0f}" if first.tokens else "",
        str(one.entry.knee),
        _duration(first.ms),
        _duration(at_knee.ms),
        _short(at_knee.items * SECOND_MS / at_knee.ms),
        f"±{one.error:.0%}",
    )


def _ends(one: Measured) -> tuple[Any, Any]:
    """The points of one item and of the knee."""
    at_knee = next(point for point in one.curve if point.items == one.entry.knee)
    return one.curve[0], at_knee


def _duration(ms: float) -> str:
    return f"{_short(ms)} ms" if ms < SECOND_MS else f"{_short(ms / SECOND_MS)} s"


def _short(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _plain(found: Profiling) -> dict[str, Any]:
    return {
        "profile": found.file().model_dump(mode="json", by_alias=True),
        "fits": [
            {
                "operation": one.operation,
                "engine": one.engine or None,
                "error": round(one.error, 4),
                "note": one.note or None,
            }
            for one in found.measured
        ],
        "unmeasured": [
            {"operation": one.operation, "engine": one.engine or None, "cause": one.cause}
            for one in found.unmeasured
        ],
    }
