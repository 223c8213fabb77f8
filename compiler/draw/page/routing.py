"""How lines run: down through the gaps between rows and columns, never through a box.

All lines of one style from one box are a net: they leave at one port and share their way as long as
they can. A line goes down from its source into the gap below, along it, and down to its target:
through the target's column or the source's own where nothing stands in it, else along a gutter
between columns. In gap and gutter every net has a track of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from teola.compiler.draw.page.grid import Grid
from teola.compiler.draw.view import Line

Net = tuple[str, str]
"""The box and the style of the lines that share their way."""


@dataclass(frozen=True, slots=True)
class Way:
    """A line's way: across gap ``first``, and where ``gutter`` or ``column`` is set, down there to
    gap ``last`` and across that."""

    line: Line
    net: Net
    first: int
    last: int
    gutter: int | None = None


@dataclass(frozen=True, slots=True)
class Routes:
    """Ways, and the tracks of their nets: by (gap, net) and (gutter, net); ``entries`` and
    ``exits``: box -> the nets that enter and leave it, from left to right."""

    ways: tuple[Way, ...]
    across: Mapping[tuple[int, Net], int]
    down: Mapping[tuple[int, Net], int]
    entries: Mapping[str, tuple[Net, ...]]
    exits: Mapping[str, tuple[Net, ...]]


Span = tuple[int, int]


@dataclass(slots=True)
class _Tracks:
    """The stretch that each net needs in each gap or gutter."""

    spans: dict[int, dict[Net, Span]] = field(default_factory=dict)

    def need(self, where: int, net: Net, one: int, other: int) -> None:
        low, high = min(one, other), max(one, other)
        spans = self.spans.setdefault(where, {})
        known = spans.get(net, (low, high))
        spans[net] = min(low, known[0]), max(high, known[1])

    def numbered(self) -> dict[tuple[int, Net], int]:
        """The first track that is free over the whole stretch, shorter ones first."""
        found: dict[tuple[int, Net], int] = {}
        for where, spans in self.spans.items():
            ends: list[int] = []
            for net, (low, high) in sorted(spans.items(), key=lambda item: (item[1], item[0])):
                track = next((n for n, end in enumerate(ends) if end < low), len(ends))
                ends[track : track + 1] = [high]
                found[where, net] = track
        return found


def column_spot(column: int) -> int:
    """Where a column is among gutters and columns, from left to right."""
    return 2 * column + 1


def route(grid: Grid) -> Routes:
    """Find the way of every line whose ends are not side by side in a drawing of what is gone."""
    ways = tuple(_way(grid, line) for line in grid.view.lines if line.mark != "removed")
    across, down = _Tracks(), _Tracks()
    entering: dict[str, dict[Net, int]] = {}
    leaving: dict[str, dict[Net, list[int]]] = {}
    for way in ways:
        source, target = grid.at[way.line.source], grid.at[way.line.target]
        start, end = column_spot(source[1]), column_spot(target[1])
        last = start if way.gutter is None else 2 * way.gutter
        entering.setdefault(way.line.target, {})[way.net] = last
        leaving.setdefault(way.line.source, {}).setdefault(way.net, []).append(
            end if way.gutter is None else 2 * way.gutter
        )
    for way in ways:
        start, end = (column_spot(grid.at[box][1]) for box in (way.line.source, way.line.target))
        if way.gutter is not None:
            last = 2 * way.gutter
            across.need(way.first, way.net, start, last)
            across.need(way.last, way.net, last, end)
            down.need(way.gutter, way.net, way.first, way.last)
        elif start != end or len(entering[way.line.target]) + len(leaving[way.line.source]) > 2:
            across.need(way.last, way.net, start, end)
    return Routes(
        ways,
        across.numbered(),
        down.numbered(),
        {box: _by_place(nets.items()) for box, nets in entering.items()},
        {
            box: _by_place((net, sum(ends) / len(ends)) for net, ends in nets.items())
            for box, nets in leaving.items()
        },
    )


def _by_place(nets: Iterable[tuple[Net, float]]) -> tuple[Net, ...]:
    return tuple(net for net, _ in sorted(nets, key=lambda item: (item[1], item[0])))


def _way(grid: Grid, line: Line) -> Way:
    """Gap r is above row r."""
    (above, source), (below, target) = grid.at[line.source], grid.at[line.target]
    net = line.source, line.style
    if below == above + 1 or (below > above and grid.free(target, above, below)):
        return Way(line, net, above + 1, above + 1)
    if below > above and grid.free(source, above, below):
        return Way(line, net, below, below)
    gutter = target if source <= target else target + 1
    return Way(line, net, above + 1, below, gutter)
