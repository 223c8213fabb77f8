"""A timeline as a Gantt chart of characters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from teola.runtime.observing.timeline import Interval, Row, State, Timeline

if TYPE_CHECKING:
    from teola.compiler.explain.explanation import Compared, RunFact

MARKS: Mapping[State, str] = {"starts": "░", "waits": "·", "warms": "▒", "works": "█"}
ASCII_MARKS: Mapping[State, str] = {"starts": "-", "waits": ".", "warms": "~", "works": "#"}
"""A state's mark; where several meet in a cell the last of these wins."""

MEANINGS: Mapping[State, str] = {
    "works": "works",
    "waits": "waits for its engine",
    "warms": "computes the beginning of a prompt early",
    "starts": "engine starts",
}
NUMBERS_WIDTH = 10
LEAST_BAR, MOST_NAME = 24, 30
TICK_WIDTH = 6
QUICK = 0.01
"""The share of the whole time below which work outside of engines is quick."""
SHARED = "shared"
"""Stands for the end of work that was there before the query came."""
STEPS = (1, 2, 2.5, 5)


@dataclass(frozen=True, slots=True)
class Paper:
    """``width`` columns; ``ascii_only`` where nothing else can be shown."""

    width: int = 80
    ascii_only: bool = False

    @property
    def marks(self) -> Mapping[State, str]:
        """What the states look like."""
        return ASCII_MARKS if self.ascii_only else MARKS


def gantt(timeline: Timeline, predicted: RunFact | None = None, paper: Paper | None = None) -> str:
    """The chart: a line for each module and each primitive of it, then one for each engine.

    Primitives that are quick and need no engine are told by their module, as is an only one.
    Numbers are seconds after the query's start.
    """
    return "\n".join(_Chart(timeline, predicted, paper or Paper()).lines()) + "\n"


class _Chart:
    def __init__(self, timeline: Timeline, predicted: RunFact | None, paper: Paper) -> None:
        self.timeline, self.predicted, self.paper = timeline, predicted, paper
        self.span_s = max(timeline.total_s, 1e-6)
        names = [label for label, _, _ in self._rows()] + ["engines"]
        names += [f"  {row.name}" for row in timeline.engines]
        self.name_width = min(max(map(len, names)), MOST_NAME)
        numbers = NUMBERS_WIDTH * (2 if predicted is not None else 1)
        self.bar_width = max(LEAST_BAR, paper.width - self.name_width - numbers - 2)

    def lines(self) -> Iterator[str]:
        columns = ("ended at", "predicted") if self.predicted is not None else ("ended at",)
        yield self._line("seconds", self._axis(), columns)
        for label, row, compared in self._rows():
            numbers = [_ended(row)]
            if compared is not None and numbers != [SHARED]:
                numbers.append(_seconds(compared.predicted_ms / 1000))
            yield self._line(label, self._bar(row.intervals), numbers)
        if self.timeline.engines:
            yield self._line("engines", "", ("busy",))
        for row in self.timeline.engines:
            share = f"{min(1.0, row.busy_s / self.span_s):.0%}"
            yield self._line(f"  {row.name}", self._bar(row.intervals), (share,))
        yield from self._legend()

    def _rows(self) -> Iterator[tuple[str, Row, Compared | None]]:
        modules = self.predicted.modules if self.predicted is not None else {}
        primitives = self.predicted.primitives if self.predicted is not None else {}
        for module, rows in self.timeline.modules.items():
            whole = Row(module, tuple(chain.from_iterable(row.intervals for row in rows)))
            yield module, whole, modules.get(module)
            shown = [row for row in rows if row.engine or row.busy_s > QUICK * self.span_s]
            if len(shown) > 1:
                for row in shown:
                    name = row.name.removeprefix(f"{module}.")
                    count = f" x{row.count}" if row.count > 1 else ""
                    yield f"  {name}{count}", row, primitives.get(row.name)

    def _line(self, label: str, bar: str, numbers: Sequence[str]) -> str:
        if len(label) > self.name_width:
            label = label[: self.name_width - 1] + ("~" if self.paper.ascii_only else "…")
        right = "".join(f"{number:>{NUMBERS_WIDTH}}" for number in numbers)
        return f"{label:<{self.name_width}}  {bar:<{self.bar_width}}{right}".rstrip()

    def _cell(self, seconds: float) -> int:
        return int(seconds / self.span_s * self.bar_width)

    def _bar(self, intervals: Sequence[Interval]) -> str:
        cells = [" "] * self.bar_width
        for state, mark in self.paper.marks.items():
            for one in intervals:
                if one.state != state or one.end_s <= 0 or (state == "waits" and self._short(one)):
                    continue
                first = min(max(0, self._cell(one.begin_s)), self.bar_width - 1)
                last = min(max(first, self._cell(one.end_s - 1e-9)), self.bar_width - 1)
                cells[first : last + 1] = mark * (last + 1 - first)
        return "".join(cells)

    def _short(self, one: Interval) -> bool:
        """Whether it would look longer than it was."""
        return one.end_s - one.begin_s < self.span_s / self.bar_width / 2

    def _axis(self) -> str:
        axis = [" "] * self.bar_width
        step = _step(self.span_s, max(1, self.bar_width // TICK_WIDTH))
        for number in range(int(self.span_s / step) + 1):
            label = f"|{number * step:g}"
            at = self._cell(number * step)
            if at + len(label) <= self.bar_width:
                axis[at : at + len(label)] = label
        return "".join(axis)

    def _legend(self) -> Iterator[str]:
        rows = chain(self.timeline.engines, *self.timeline.modules.values())
        seen = {one.state for row in rows for one in row.intervals if one.end_s > 0}
        words = [f"{self.paper.marks[s]} {text}" for s, text in MEANINGS.items() if s in seen]
        yield ""
        line = ""
        for word in words:
            if line and len(line) + len(word) + 3 > self.paper.width:
                yield line
                line = ""
            line += ("   " if line else "") + word
        yield line


def _step(span_s: float, most: int) -> float:
    """A round number of seconds that fits at most so many times."""
    size = 1e-6
    while True:
        for step in STEPS:
            if span_s / (step * size) <= most:
                return step * size
        size *= 10


def _ended(row: Row) -> str:
    """When its work was done; nothing where only warm-ups were."""
    if all(one.end_s <= 0 for one in row.intervals):
        return SHARED
    return _seconds(row.ended_s) if row.ended_s > 0 else ""


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}" if seconds < 1 else f"{seconds:.2f}"
