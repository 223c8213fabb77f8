"""A picture for the terminal: what runs when, and what it waits for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from teola.compiler.draw.view import MARKS, Box, Frame, Mark, Style, View, marks_of

ARROWS: dict[Style, str] = {
    "data": "",
    "stream": "~",
    "order": "after ",
    "effect": "after (effect) ",
    "again": "each round after ",
    "hint": "warmed by ",
}
SIGNS: dict[Mark, str] = {"": "", "added": "+", "removed": "-", "changed": "!"}


def draw_text(view: View) -> str:
    """One line a box, under its frame: its step (1: can start at once) and what it waits for.

    Boxes of one step have no path between them: they can run side by side. Where something is
    marked, + is before what is new, - before what is gone, and ! before what has changed; a star
    behind the step says that the box is on the critical path.
    """
    steps = steps_of(view)
    names = {box.id: box.id.partition(":")[2] or box.id for box in view.boxes}
    whats = {box.id: f"{_role(box)}{names[box.id]}{_facts(box)}" for box in view.boxes}
    width = max(map(len, whats.values()), default=0)
    rows = [f"{view.title}   (step | what | waits for; ~ item by item{_signs(view)})"]
    headings = {frame.id: f"     {_heading(frame)}" for frame in view.frames}
    parents = {frame.id: frame.parent for frame in view.frames}
    for box in view.boxes:
        around = list(_around(box.frame, parents))
        rows += [headings.pop(frame) for frame in reversed(around) if frame in headings]
        waiting = dict.fromkeys(
            SIGNS[line.mark] + ARROWS[line.style] + names[line.source]
            for line in view.lines
            if line.target == box.id
        )
        step = f"{steps[box.id]:3d}" if box.role == "work" else "   "
        sign = f"{'*' if box.lit else ' '}{SIGNS[box.mark]:1}"
        rows.append(f"{step}{sign} {whats[box.id]:<{width}}  {', '.join(waiting)}".rstrip())
    return "\n".join(rows) + "\n"


def _role(box: Box) -> str:
    return "" if box.role == "work" else f"{box.role} "


def _signs(view: View) -> str:
    """What the signs mean, where there are any."""
    used = marks_of(view)
    meanings = [f"{SIGNS[mark]} {meaning}" for mark, meaning in MARKS.items() if mark in used]
    lit = ["* on the critical path"] * any(box.lit for box in view.boxes)
    return "".join(f"; {meaning}" for meaning in (*meanings, *lit))


def _facts(box: Box) -> str:
    """Its note and its engines, in brackets."""
    facts = [box.note, *(f"on {engine.name}" for engine in box.engines)]
    return f" ({', '.join(filter(None, facts))})" if any(facts) else ""


def _heading(frame: Frame) -> str:
    return f"{frame.id.partition(':')[2]}: {frame.note}".rstrip(": ")


def _around(frame: str, parents: Mapping[str, str]) -> Iterator[str]:
    """The frame and those around it, outwards."""
    while frame:
        yield frame
        frame = parents[frame]


def steps_of(view: View) -> dict[str, int]:
    """Box id -> the longest path of boxes before it (inputs: 0, the first primitives: 1)."""
    before: dict[str, set[str]] = {box.id: set() for box in view.boxes}
    gone = {box.id for box in view.boxes if box.mark == "removed"}
    for line in view.lines:
        held = line.mark != "removed" or {line.source, line.target} & gone
        if held and line.style not in ("again", "hint"):
            before[line.target].add(line.source)
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError:  # modules may wait for each other where their primitives do not
        order = list(before)
        place = {box_id: index for index, box_id in enumerate(order)}
        before = {box: {b for b in waits if place[b] < place[box]} for box, waits in before.items()}
    roles = {box.id: box.role for box in view.boxes}
    steps: dict[str, int] = {}
    for box_id in order:
        first = 0 if roles[box_id] == "input" else 1
        steps[box_id] = max((steps[b] + 1 for b in before[box_id]), default=first)
    return steps
