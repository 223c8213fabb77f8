"""What differs between two views, as marks in one: what a pass did, to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from teola.compiler.draw.view import Box, Line, Mark, View


class _Named(Protocol):
    @property
    def id(self) -> str: ...


Named = TypeVar("Named", bound=_Named)


def marked(before: View, after: View) -> View:
    """``after`` with what is new or changed marked, and with what is gone as it was in ``before``.

    A line that carries the same data in another way (whole, now item by item) is a new one, and the
    old one is not shown.
    """
    boxes = {box.id: box for box in before.boxes}
    lines = {_place(line): line for line in before.lines}
    there = {box.id for box in after.boxes}
    kept = [replace(box, mark=_box_mark(boxes.get(box.id), box)) for box in after.boxes]
    gone = [replace(box, mark="removed") for box in before.boxes if box.id not in there]
    frames = {frame.id for frame in after.frames}
    return View(
        after.title,
        tuple(_woven([box.id for box in before.boxes], kept, gone)),
        tuple(
            _woven(
                [frame.id for frame in before.frames],
                after.frames,
                [frame for frame in before.frames if frame.id not in frames],
            )
        ),
        tuple(replace(line, mark=_line_mark(lines.get(_place(line)), line)) for line in after.lines)
        + tuple(replace(line, mark="removed") for line in _gone(before, after)),
    )


def _place(line: Line) -> tuple[str, str, str]:
    return line.source, line.target, line.style


def _box_mark(old: Box | None, new: Box) -> Mark:
    if old is None:
        return "added"
    return "" if replace(new, lit=old.lit) == old else "changed"


def _line_mark(old: Line | None, new: Line) -> Mark:
    if old is None:
        return "added"
    return "" if old.group == new.group else "changed"


def _gone(before: View, after: View) -> list[Line]:
    carried = {"data", "stream"}
    there = {_place(line) for line in after.lines}
    feeding = {(line.source, line.target) for line in after.lines if line.style in carried}
    return [
        line
        for line in before.lines
        if _place(line) not in there
        and not (line.style in carried and (line.source, line.target) in feeding)
    ]


def _woven(order: Sequence[str], kept: Sequence[Named], gone: Sequence[Named]) -> list[Named]:
    """``kept`` with each of ``gone`` behind what stood before it."""
    found = list(kept)
    place = {one: number for number, one in enumerate(order)}
    for one in gone:
        earlier = [
            index
            for index, other in enumerate(found)
            if place.get(other.id, len(order)) < place[one.id]
        ]
        found.insert(max(earlier, default=-1) + 1, one)
    return found
