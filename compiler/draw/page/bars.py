"""The bars of a time line: which tasks one stands for, and where it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from teola.compiler.draw.page.facts import Prediction
from teola.compiler.graph.egraph import Task

LEAST = 2.5
"""A bar is never narrower."""
SHIFT = 4.0
"""A bar may stand this much too far right, behind others that are drawn too wide."""
MOST_BARS = 1500
"""More tasks than this are drawn as one bar for all of a primitive."""


@dataclass(slots=True)
class Bar:
    """Tasks of one primitive from ``start`` to ``end`` (ms), drawn from ``left`` to ``right``
    (points behind the beginning of time)."""

    tasks: list[Task]
    start: float
    end: float
    left: float = 0.0
    right: float = 0.0
    at_once: bool = True


def bars_of(prediction: Prediction, scale: float) -> dict[str, list[Bar]]:
    """Engine -> its bars, engines as they are first used; ``scale``: points for a millisecond."""
    drawn = [task for task in prediction.egraph.tasks if _takes_time(prediction, task)]
    coarse = len({_moment(prediction, task, coarse=False) for task in drawn}) > MOST_BARS
    lanes: dict[str, dict[tuple[object, ...], Bar]] = {}
    for task in drawn:
        timing = prediction.estimate.timings[task.id]
        bars = lanes.setdefault(task.engine or "", {})
        key = _moment(prediction, task, coarse=coarse)
        bar = bars.setdefault(key, Bar([], timing.start_ms, timing.end_ms))
        bar.tasks.append(task)
        bar.at_once = bar.at_once and (bar.start, bar.end) == (timing.start_ms, timing.end_ms)
        bar.start, bar.end = min(bar.start, timing.start_ms), max(bar.end, timing.end_ms)
    return {name: _seen_apart(list(bars.values()), scale) for name, bars in lanes.items()}


def _takes_time(prediction: Prediction, task: Task) -> bool:
    """Whether a task is drawn: joins, and what is done between engines in no time, are not."""
    timing = prediction.estimate.timings[task.id]
    return task.engine is not None or timing.end_ms > timing.start_ms


def _moment(prediction: Prediction, task: Task, *, coarse: bool) -> tuple[object, ...]:
    timing = prediction.estimate.timings[task.id]
    return (task.primitive,) if coarse else (task.primitive, timing.start_ms, timing.end_ms)


def _in_order(bars: Sequence[Bar]) -> list[Bar]:
    return sorted(bars, key=lambda one: (one.start, one.end))


def _seen_apart(bars: Sequence[Bar], scale: float) -> list[Bar]:
    """Bars of one primitive that are too narrow and close to be told apart, as one bar."""
    found: list[Bar] = []
    narrow: dict[str, Bar] = {}
    for bar in _in_order(bars):
        name = bar.tasks[0].primitive
        if (bar.end - bar.start) * scale > LEAST:
            narrow.pop(name, None)
            found.append(bar)
        elif name in narrow and (bar.start - narrow[name].end) * scale < LEAST:
            before = narrow[name]
            before.tasks += bar.tasks
            before.end, before.at_once = max(before.end, bar.end), False
        else:
            narrow[name] = bar
            found.append(bar)
    return found


def rows_of(bars: Sequence[Bar], scale: float) -> list[list[Bar]]:
    """Bars side by side in as few rows as do without overlap: one, where one follows another."""
    rows: list[list[Bar]] = []
    for bar in _in_order(bars):
        bar.left = bar.start * scale
        for row in rows:
            if row[-1].end <= bar.start and row[-1].right <= bar.left + SHIFT:
                bar.left = max(bar.left, row[-1].right)
                row.append(bar)
                break
        else:
            rows.append([bar])
        bar.right = max(bar.end * scale, bar.left + LEAST)
    return rows
