"""Where boxes stand: a row is a step, a lane of columns is a module.

What needs nothing of each other stands in one row, so a shorter picture is a faster graph; and a
module keeps its place from left to right whatever the passes do, so two pictures can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from teola.compiler.draw.text import steps_of
from teola.compiler.draw.view import Box, Frame, View


@dataclass(frozen=True, slots=True)
class Block:
    """Rows and columns that something covers, both ends counted."""

    top: int
    left: int
    bottom: int
    right: int

    def cells(self) -> Iterator[tuple[int, int]]:
        """Every (row, column) in it."""
        for row in range(self.top, self.bottom + 1):
            for column in range(self.left, self.right + 1):
                yield row, column


@dataclass(frozen=True, slots=True)
class Lane:
    """The columns of one module, in all rows."""

    frame: Frame | None
    left: int
    right: int

    @property
    def width(self) -> int:
        """Its columns."""
        return self.right - self.left + 1


@dataclass(frozen=True, slots=True)
class Grid:
    """A view with a place for everything. ``at``: box -> (row, column); ``regions``: the blocks of
    frames inside the lanes."""

    view: View
    rows: int
    columns: int
    at: Mapping[str, tuple[int, int]]
    lanes: tuple[Lane, ...]
    regions: Mapping[str, Block]

    def free(self, column: int, above: int, below: int) -> bool:
        """Whether no box stands in ``column`` between two rows."""
        return not any(at == column and above < row < below for row, at in self.at.values())


def place(view: View, lanes: Mapping[str, Lane] | None = None) -> Grid:
    """Give every box a row and a column; ``lanes``: those that are there in any case, by the id of
    their frame, and as wide at least."""
    return _Placing(view, lanes or {}).grid()


@dataclass(slots=True)
class _Part:
    """What is packed as one: a box, or a region with what is in it."""

    rows: tuple[int, int]
    width: int
    at: dict[str, tuple[int, int]]
    regions: dict[str, Block] = field(default_factory=dict)


class _Placing:
    def __init__(self, view: View, lanes: Mapping[str, Lane]) -> None:
        self.view, self.given = view, lanes
        self.row = steps_of(view)
        self.frames = {frame.id: frame for frame in view.frames}
        self.sources: dict[str, list[str]] = {}
        for line in view.lines:
            self.sources.setdefault(line.target, []).append(line.source)
        self.home = {box.id: self._home(box) for box in view.boxes}

    def _home(self, box: Box) -> str:
        """The frame a box stands in: an input beside what reads it first, an output beside what
        gives it."""
        if box.frame or box.role == "work":
            return box.frame
        ends = [
            line.target if box.role == "input" else line.source
            for line in self.view.lines
            if box.id in (line.source, line.target)
        ]
        frames = {other.id: other.frame for other in self.view.boxes}
        return self._lane(next((frames[end] for end in ends if frames[end]), ""))

    def _lane(self, frame: str) -> str:
        while frame and self.frames[frame].parent:
            frame = self.frames[frame].parent
        return frame

    def grid(self) -> Grid:
        at: dict[str, tuple[int, int]] = {}
        regions: dict[str, Block] = {}
        lanes: list[Lane] = []
        left = 0
        for name in self._names():
            packed = self._pack(name)
            given = self.given.get(name)
            width = max(packed.width, given.width if given else 1)
            at |= {box: (row, column + left) for box, (row, column) in packed.at.items()}
            regions |= {
                one: Block(block.top, block.left + left, block.bottom, block.right + left)
                for one, block in packed.regions.items()
            }
            frame = given.frame if given else self.frames.get(name)
            lanes.append(Lane(frame, left, left + width - 1))
            left += width
        rows = max((row for row, _ in at.values()), default=0) + 1
        return Grid(self.view, rows, left, at, tuple(lanes), regions)

    def _names(self) -> list[str]:
        """The frames of all lanes; "" is that of what has none."""
        loose = [""] if "" in self.home.values() else []
        own = loose + [frame.id for frame in self.view.frames if not frame.parent]
        return list(dict.fromkeys([*self.given, *own]))

    def _pack(self, frame: str) -> _Part:
        """Put what is in a frame into columns, from the top down and each below what it needs where
        that can be."""
        parts = [
            _Part((self.row[box.id], self.row[box.id]), 1, {box.id: (self.row[box.id], 0)})
            for box in self.view.boxes
            if self.home[box.id] == frame
        ]
        if frame:
            parts += [self._region(inner.id) for inner in self.view.frames if inner.parent == frame]
        taken: set[tuple[int, int]] = set()
        packed = _Part((0, 0), 1, {})
        for part in sorted(parts, key=lambda one: one.rows[0]):
            left = self._left(part, packed.at, taken)
            block = Block(part.rows[0], left, part.rows[1], left + part.width - 1)
            taken |= set(block.cells())
            packed.at |= {box: (row, column + left) for box, (row, column) in part.at.items()}
            packed.regions |= {
                one: Block(b.top, b.left + left, b.bottom, b.right + left)
                for one, b in part.regions.items()
            }
            packed.width = max(packed.width, left + part.width)
        return packed

    def _region(self, frame: str) -> _Part:
        inner = self._pack(frame)
        rows = [row for row, _ in inner.at.values()]
        inner.rows = min(rows, default=0), max(rows, default=0)
        inner.regions[frame] = Block(inner.rows[0], 0, inner.rows[1], inner.width - 1)
        return inner

    def _left(
        self,
        part: _Part,
        at: Mapping[str, tuple[int, int]],
        taken: set[tuple[int, int]],
    ) -> int:
        """The column below what the part needs, or the first that is free."""
        sources = (one for box in part.at for one in self.sources.get(box, ()))
        wished = next((at[one][1] for one in sources if one in at), 0)
        columns: list[int] = [wished, *range(len(taken) + wished + 1)]
        for left in columns:
            block = Block(part.rows[0], left, part.rows[1], left + part.width - 1)
            if not taken & set(block.cells()):
                return left
        return 0  # cannot be: there are more columns to try than cells taken


def place_alike(views: Iterable[View]) -> tuple[Grid, ...]:
    """Place several views so that all have the same lanes, of as many columns."""
    grids: Sequence[Grid] = [place(view) for view in views]
    lanes: dict[str, Lane] = {}
    for grid in grids:
        for lane in grid.lanes:
            name = lane.frame.id if lane.frame else ""
            if name not in lanes or lanes[name].width < lane.width:
                lanes[name] = lane
    return tuple(place(grid.view, lanes) for grid in grids)
