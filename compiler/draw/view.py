"""What a picture shows, whatever its format: boxes in frames, and lines between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["input", "work", "output"]
Style: TypeAlias = Literal["data", "stream", "order", "effect", "again"]

MEANINGS: dict[Style, str] = {
    "data": "data, whole",
    "stream": "data, item by item",
    "order": "order of the file only",
    "effect": "comes first for its effect",
    "again": "comes back in the next round",
}
"""What each style of line says, for legends."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that a box works on: its name in the workflow, and its kind."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Box:
    """A node: ``title`` is its name inside ``frame``, ``note`` what else there is to know."""

    id: str
    title: str
    note: str = ""
    role: Role = "work"
    engines: tuple[Engine, ...] = ()
    frame: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """``ports`` names what the target takes; ``again`` leads back, from a round to the next."""

    source: str
    target: str
    style: Style
    ports: tuple[str, ...] = ()


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


def joined(lines: Iterable[Line]) -> tuple[Line, ...]:
    """One line for all of one style between two boxes; none for an order that whole data gives."""
    ports: dict[tuple[str, str, Style], dict[str, None]] = {}
    for line in lines:
        known = ports.setdefault((line.source, line.target, line.style), {})
        known.update(dict.fromkeys(line.ports))
    return tuple(
        Line(source, target, style, tuple(names))
        for (source, target, style), names in ports.items()
        if style not in ("order", "effect") or (source, target, "data") not in ports
    )
