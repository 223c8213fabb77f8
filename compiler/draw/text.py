"""A picture for the terminal: what runs when, and what it waits for."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from teola.compiler.draw.view import Line, View

ARROWS = {"data": "", "stream": "~", "order": "after ", "effect": "after (effect) "}


def draw_text(view: View) -> str:
    """One line a box, under its frame: its step (0: can start at once) and what it waits for.

    Boxes of one step have no path between them: they can run side by side.
    """
    steps = _steps(view)
    labels = {box.id: box.label.split("\n") for box in view.boxes}
    frames = {frame.id: frame for frame in view.frames}
    width = max((len(" ".join(label)) for label in labels.values()), default=0)
    rows = [f"{view.title}   (step | node | waits for; ~ marks a stream)"]
    open_frame = ""
    for box in view.boxes:
        if box.frame != open_frame:
            rows += [f"  {frames[box.frame].label}"] if box.frame else []
            open_frame = box.frame
        mark = {"input": "input ", "output": "output "}.get(box.kind, "")
        name = mark + " ".join(labels[box.id])
        waiting = dict.fromkeys(_wait(line) for line in view.lines if line.target == box.id)
        waits = ", ".join(waiting)
        step = "   " if box.kind == "input" else f"{steps[box.id]:3d}"
        rows.append(f"{step}   {name:<{width + 7}}  {waits}".rstrip())
    return "\n".join(rows) + "\n"


def _wait(line: Line) -> str:
    return ARROWS[line.style] + line.source.removeprefix("in:")


def _steps(view: View) -> dict[str, int]:
    """Box id -> the longest path of boxes before it (inputs: 0, the first primitives: 1)."""
    before: dict[str, set[str]] = {box.id: set() for box in view.boxes}
    for line in view.lines:
        before[line.target].add(line.source)
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError:  # modules may wait for each other where their primitives do not
        order = list(before)
        place = {box_id: index for index, box_id in enumerate(order)}
        before = {box: {b for b in waits if place[b] < place[box]} for box, waits in before.items()}
    steps: dict[str, int] = {}
    for box_id in order:
        first = 0 if box_id.startswith("in:") else 1
        steps[box_id] = max((steps[b] + 1 for b in before[box_id]), default=first)
    return steps
