"""Places in points: how wide and high everything is, and where it begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from teola.compiler.draw.page.grid import Grid
from teola.compiler.draw.page.routing import Net, Routes, Way, route
from teola.compiler.draw.view import Box, Frame

BOX_HEIGHT, MARGIN, HEADER = 36.0, 30.0, 30.0
TRACK, GUTTER, GAP, TITLE = 6.0, 10.0, 17.0, 16.0
TITLE_LETTER, NOTE_LETTER, PADDING = 7.4, 6.0, 18.0
"""Widths of letters are those of a wide face: a box may be too wide, never too narrow."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Place:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


def note_of(box: Box) -> str:
    """The small line in a box: what it does, and on which engine. Groups stand at the lines."""
    notes = [note for note in box.note.split(", ") if not note.startswith("groups of ")]
    engines = ", ".join(engine.name for engine in box.engines)
    role = box.role if box.role != "work" else ""
    return " · ".join(filter(None, (*notes, engines, role)))


def heading_of(frame: Frame) -> str:
    """What stands above a region."""
    return f"{frame.title}: {frame.note.partition(': ')[2] or frame.note}"


def width_of(box: Box) -> float:
    """How wide a box has to be for its two lines."""
    return PADDING + max(TITLE_LETTER * len(box.title), NOTE_LETTER * len(note_of(box)))


class Measure:
    """The coordinates of one grid."""

    def __init__(self, grid: Grid, widths: Sequence[float], least: Sequence[float]) -> None:
        self.grid, self.routes = grid, route(grid)
        self.widths = widths
        self.boxes = {box.id: box for box in grid.view.boxes}
        self.gutters = [max(*pair) for pair in zip(self._gutters(), least, strict=True)]
        self.gaps = self._gaps()
        steps = [g + w for g, w in zip(self.gutters, (*widths, 0.0), strict=True)]
        self.gutter_x = [MARGIN + x for x in accumulate(steps[:-1], initial=0.0)]
        self.column_x = [x + g for x, g in zip(self.gutter_x, self.gutters, strict=True)]
        self.gap_y = [
            HEADER + y
            for y in accumulate((gap + BOX_HEIGHT for gap in self.gaps[:-1]), initial=0.0)
        ]
        self.row_y = [y + gap for y, gap in zip(self.gap_y, self.gaps, strict=True)]
        self.width = self.column_x[-1] + 6.0
        self.height = self.row_y[-1]

    def _gutters(self) -> list[float]:
        return gutters_of(self.grid, self.routes)

    def _gaps(self) -> list[float]:
        tracks = Counter(gap for gap, _ in self.routes.across)
        for gap in tracks:
            tracks[gap] = 1 + max(
                track for (where, _), track in self.routes.across.items() if where == gap
            )
        titles = Counter(block.top for block in self.grid.regions.values())
        ends = Counter(block.bottom + 1 for block in self.grid.regions.values())
        return [
            GAP + TRACK * tracks[row] + TITLE * titles[row] + 6.0 * ends[row]
            for row in range(self.grid.rows + 1)
        ]

    def box(self, box: Box) -> Place:
        """Where a box stands: in the middle of its column."""
        row, column = self.grid.at[box.id]
        width = width_of(box)
        left = self.column_x[column] + (self.widths[column] - width) / 2
        return Place(left, self.row_y[row], width, BOX_HEIGHT)

    def region(self, frame: str) -> Place:
        """Where a region's frame runs."""
        block = self.grid.regions[frame]
        inside = sum(
            other.top <= block.top
            and other.bottom >= block.bottom
            and other.left <= block.left
            and other.right >= block.right
            for other in self.grid.regions.values()
        )
        inset = 5.0 * max(0, 2 - inside)
        left = self.column_x[block.left] - 3.0 - inset
        top = self.row_y[block.top] - TITLE - 2.0 - inset
        right = self.column_x[block.right] + self.widths[block.right] + 3.0 + inset
        bottom = self.row_y[block.bottom] + BOX_HEIGHT + 4.0 + inset
        return Place(left, top, right - left, bottom - top)

    def lane(self, number: int) -> tuple[float, float]:
        """Where a lane begins, and how wide it is."""
        lane = self.grid.lanes[number]
        last = number == len(self.grid.lanes) - 1
        end = self.width if last else self._boundary(lane.right + 1)
        begin = self._boundary(lane.left) if number else MARGIN
        return begin, end - begin

    def _boundary(self, gutter: int) -> float:
        return self.gutter_x[gutter] + 4.0

    def _port(self, box_id: str, nets: Sequence[Net], net: Net) -> float:
        place = self.box(self.boxes[box_id])
        return place.x + place.width * (nets.index(net) + 1) / (len(nets) + 1)

    def _across(self, gap: int, net: Net) -> float:
        return self.gap_y[gap] + 7.0 + TRACK * self.routes.across[gap, net]

    def points(self, way: Way) -> list[Point]:
        """The corners of a way, from its source to its target."""
        line = way.line
        start = self._port(line.source, self.routes.exits[line.source], way.net)
        end = self._port(line.target, self.routes.entries[line.target], way.net)
        top = self.row_y[self.grid.at[line.source][0]] + BOX_HEIGHT
        bottom = self.row_y[self.grid.at[line.target][0]]
        if (way.last, way.net) not in self.routes.across:
            return [(start, top), (end, bottom)]
        last = self._across(way.last, way.net)
        if way.gutter is None:
            return _simple([(start, top), (start, last), (end, last), (end, bottom)])
        first = self._across(way.first, way.net)
        x = self.gutter_x[way.gutter] + 8.0 + TRACK * self.routes.down[way.gutter, way.net]
        return _simple(
            [(start, top), (start, first), (x, first), (x, last), (end, last), (end, bottom)]
        )


def gutters_of(grid: Grid, routes: Routes) -> list[float]:
    """How wide each gutter has to be."""
    tracks = dict.fromkeys(range(grid.columns + 1), 0)
    for (gutter, _), track in routes.down.items():
        tracks[gutter] = max(tracks[gutter], track + 1)
    edges = {lane.left for lane in grid.lanes}
    return [
        GUTTER + TRACK * count + (10.0 if gutter in edges else 0.0)
        for gutter, count in tracks.items()
    ]


def _simple(points: list[Point]) -> list[Point]:
    """Without corners that are none."""
    kept = points[:1]
    for number, point in enumerate(points[1:], 1):
        following = points[number + 1] if number + 1 < len(points) else None
        straight = following is not None and (
            abs(kept[-1][0] - point[0]) < 0.5 and abs(point[0] - following[0]) < 0.5
        )
        if not straight:
            kept.append(point)
    return kept


def measure_alike(grids: Sequence[Grid]) -> tuple[Measure, ...]:
    """Measure grids of equal lanes so that each column stands at one place in all of them."""
    columns = grids[0].columns
    widths = [40.0] * columns
    for grid in grids:
        for box in grid.view.boxes:
            column = grid.at[box.id][1]
            widths[column] = max(widths[column], width_of(box))
        for frame in grid.view.frames:
            block = grid.regions.get(frame.id)
            if block is not None and block.left == block.right:
                widths[block.left] = max(widths[block.left], NOTE_LETTER * len(heading_of(frame)))
    gutters = [gutters_of(grid, route(grid)) for grid in grids]
    least = [max(each) for each in zip(*gutters, strict=True)]
    return tuple(Measure(grid, widths, least) for grid in grids)
