"""The e-graph on a time line: a bar for each task, a lane for each engine."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from teola.compiler.draw.page.bars import Bar, bars_of, rows_of
from teola.compiler.draw.page.facts import FactTable, Prediction, Rows, milliseconds
from teola.compiler.draw.page.picture import kind_of

WIDTH, LEFT, BAR, LANE_GAP, AXIS = 1080.0, 96.0, 17.0, 12.0, 24.0
STEPS = (1, 2, 5)


def timeline(prediction: Prediction, until_ms: float, table: FactTable, title: str) -> str:
    """SVG of a predicted run; ``until_ms`` is where the time line ends."""
    return "\n".join(_timeline(prediction, until_ms, table, title))


def _timeline(
    prediction: Prediction, until_ms: float, table: FactTable, title: str
) -> Iterator[str]:
    scale = (WIDTH - LEFT - 24) / max(until_ms, 0.001)
    lanes = bars_of(prediction, scale)
    rows = {name: rows_of(bars, scale) for name, bars in lanes.items()}
    height = AXIS + sum(BAR * len(each) + LANE_GAP for each in rows.values())
    yield (
        f'<svg class="picture tasks" viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="group" '
        f'aria-label="{escape(title)}">'
    )
    yield from _axis(until_ms, scale, height)
    numbers = _numbers(lanes)
    engines = prediction.egraph.graph.engines
    y = AXIS
    for number, (name, each) in enumerate(rows.items()):
        high = BAR * len(each) + LANE_GAP
        odd = " odd" if number % 2 else ""
        yield f'<rect class="lane{odd}" x="0" y="{y:.1f}" width="{WIDTH:.0f}" height="{high:.1f}"/>'
        yield (
            f'<text class="engine" x="{LEFT - 8:.0f}" y="{y + high / 2 + 4:.1f}">'
            f"{escape(name or 'no engine')}</text>"
        )
        kind = kind_of(str(engines[name].get("kind", "engine")) if name in engines else "")
        for row, bars in enumerate(each):
            for bar in bars:
                at = y + LANE_GAP / 2 + BAR * row
                yield _bar(prediction, bar, at, kind, numbers, table)
        y += high
    yield "</svg>"


def _numbers(lanes: dict[str, list[Bar]]) -> dict[str, int]:
    """Task -> the number of its bar."""
    bars = [bar for each in lanes.values() for bar in each]
    return {task.id: number for number, bar in enumerate(bars) for task in bar.tasks}


def _axis(until_ms: float, scale: float, height: float) -> Iterator[str]:
    """A line every so many milliseconds, some ten of them."""
    wished = max(until_ms, 0.001) / 10
    power = 10.0 ** len(str(int(wished))) / 10
    step = next((power * one for one in STEPS if power * one >= wished), power * 10)
    for number in range(int(until_ms / step) + 1):
        x = LEFT + number * step * scale
        yield f'<path class="tick" d="M{x:.1f} {AXIS - 4:.0f}V{height:.0f}"/>'
        yield (
            f'<text class="time" x="{x:.1f}" y="{AXIS - 9:.0f}">'
            f"{escape(milliseconds(number * step)) if number else '0'}</text>"
        )


def _bar(
    prediction: Prediction,
    bar: Bar,
    y: float,
    kind: str,
    numbers: dict[str, int],
    table: FactTable,
) -> str:
    x, width = LEFT + bar.left, bar.right - bar.left
    first = bar.tasks[0]
    own = numbers[first.id]
    waits = _behind(prediction, bar, numbers) - {own}
    lit = " lit" if any(task.id in prediction.path.tasks for task in bar.tasks) else ""
    hint = " hint" if first.form == "hint" else ""
    label = _fitting(bar, width)
    facts = table.number(_facts(prediction, bar))
    return (
        f'<g class="box task{lit}{hint}" data-box="{own}" data-facts="{facts}" '
        f'data-after="{" ".join(map(str, sorted(waits)))}" tabindex="-1" role="img" '
        f'aria-label="{escape(first.id)}">'
        f'<rect class="fill {kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{BAR - 2:.0f}" rx="2"/>'
        f'<rect class="edge" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{BAR - 2:.0f}" rx="2"/>'
        f'<text class="bar" x="{x + 4:.1f}" y="{y + 11:.1f}">{escape(label)}</text></g>'
    )


def _behind(prediction: Prediction, bar: Bar, numbers: dict[str, int]) -> set[int]:
    """The bars that a bar waits for, past the tasks that are not drawn."""
    found: set[int] = set()
    seen: set[str] = set()
    waiting = [name for task in bar.tasks for name in task.after]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            if name in numbers:
                found.add(numbers[name])
            else:
                waiting += prediction.egraph.by_id[name].after
    return found


def _fitting(bar: Bar, width: float) -> str:
    """As much of a name as a bar has room for."""
    room = int((width - 8) / 6.2)
    names = (name + _number(bar) for name in (bar.tasks[0].primitive, bar.tasks[0].operation))
    return next((name for name in names if room >= len(name)), "")


def _number(bar: Bar) -> str:
    """How many tasks a bar stands for, if several."""
    how = "at once" if bar.at_once else "tasks"
    return f", {len(bar.tasks)} {how}" if len(bar.tasks) > 1 else ""


def _facts(prediction: Prediction, bar: Bar) -> Rows:
    first, last = bar.tasks[0], bar.tasks[-1]
    rows = [("task" if first is last else "tasks", first.id if first is last else "")]
    if first is not last:
        rows = [("tasks", first.primitive + _number(bar)), ("first", first.id)]
        rows.append(("last", last.id))
    rows.append(("operation", first.operation))
    if first.path:
        rows.append(("inside", " / ".join(first.path)))
    items = sum(task.items for task in bar.tasks)
    rows.append(("work", f"{items} of {first.tokens} tokens" if first.tokens else f"{items} items"))
    timings = [prediction.estimate.timings[task.id] for task in bar.tasks]
    rows.append(("ready at", milliseconds(min(timing.ready_ms for timing in timings))))
    rows.append(("runs", f"{milliseconds(bar.start)} to {milliseconds(bar.end)}"))
    if any(timing.queued for timing in timings):
        rows.append(("waited", "for its engine to be free"))
    return tuple(rows)
