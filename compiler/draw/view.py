"""What a picture shows, whatever its format: boxes in frames, and lines between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["input", "work", "output"]
Style: TypeAlias = Literal["data", "stream", "order", "effect", "again", "hint"]
Mark: TypeAlias = Literal["", "added", "removed", "changed"]
"""What a pass did to something: see ``marks``."""

MEANINGS: dict[Style, str] = {
    "data": "data, whole",
    "stream": "data, item by item",
    "order": "order of the file only",
    "effect": "comes first for its effect",
    "again": "comes back in the next round",
    "hint": "warms up, never awaited",
}
"""What each style of line says, for legends."""

MARKS: dict[Mark, str] = {"added": "new", "changed": "changed", "removed": "gone"}
"""What each mark says, for legends."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that a box works on: its name in the workflow, and its kind."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Box:
    """A node: ``title`` is its name inside ``frame``, ``note`` what else there is to know; ``lit``:
    it is on the critical path."""

    id: str
    title: str
    note: str = ""
    role: Role = "work"
    engines: tuple[Engine, ...] = ()
    frame: str = ""
    mark: Mark = ""
    lit: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """``ports`` names what the target takes, ``group`` at how many items a time where it is a
    stream; ``again`` leads back, from a round to the next."""

    source: str
    target: str
    style: Style
    ports: tuple[str, ...] = ()
    group: int | None = None
    mark: Mark = ""
    lit: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """What is drawn around boxes: a module, or a region that repeats them."""

    id: str
    title: str
    note: str
    kind: Literal["module", "region"]
    parent: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """A whole picture; boxes and frames stand in chain order."""

    title: str
    boxes: tuple[Box, ...]
    frames: tuple[Frame, ...]
    lines: tuple[Line, ...]


def marks_of(view: View) -> set[Mark]:
    """The marks that a view has."""
    return {box.mark for box in view.boxes} | {line.mark for line in view.lines}


def joined(lines: Iterable[Line]) -> tuple[Line, ...]:
    """One line for all of one style between two boxes; none for an order that whole data gives."""
    found: dict[tuple[str, str, Style], Line] = {}
    for line in lines:
        key = line.source, line.target, line.style
        known = found.get(key, line)
        ports = dict.fromkeys(known.ports + line.ports)
        found[key] = replace(known, ports=tuple(ports), group=known.group or line.group)
    return tuple(
        line
        for (source, target, style), line in found.items()
        if style not in ("order", "effect") or (source, target, "data") not in found
    )


def lighted(view: View, path: Sequence[str]) -> View:
    """The view with a path of boxes lit, and the lines between those that follow each other."""
    on, along = set(path), set(pairwise(path))
    return replace(
        view,
        boxes=tuple(replace(box, lit=box.id in on) for box in view.boxes),
        lines=tuple(replace(line, lit=(line.source, line.target) in along) for line in view.lines),
    )
