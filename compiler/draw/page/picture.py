"""A view as SVG, drawn by ourselves: no Graphviz, and the same place for the same module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from teola.compiler.draw.page.grid import place_alike
from teola.compiler.draw.page.measure import (
    BOX_HEIGHT,
    MARGIN,
    Measure,
    Place,
    Point,
    heading_of,
    measure_alike,
    note_of,
)
from teola.compiler.draw.text import SIGNS
from teola.compiler.draw.view import MEANINGS, Box, Line, View

CORNER = 5.0
CROSS = "\N{MULTIPLICATION SIGN}"
"""Stands on a line that is no more."""
KINDS = ("llm", "embedder", "reranker", "store")
"""Engine kinds that have a colour of their own."""


def pictures(
    views: Sequence[View], numbers: Sequence[Mapping[str, int]], titles: Sequence[str]
) -> list[str]:
    """SVG of views that are to be compared; ``numbers``: box -> its facts (see ``facts``)."""
    measures = measure_alike(place_alike(views))
    return [
        "\n".join(_picture(measure, facts, title))
        for measure, facts, title in zip(measures, numbers, titles, strict=True)
    ]


def kind_of(kind: str) -> str:
    """The colour class of an engine's kind; "" is no engine."""
    return (kind if kind in KINDS else "other") if kind else "cpu"


def _picture(measure: Measure, facts: Mapping[str, int], title: str) -> Iterator[str]:
    view = measure.grid.view
    size = f"{measure.width:.0f} {measure.height:.0f}"
    yield f'<svg class="picture" viewBox="0 0 {size}" role="group" aria-label="{escape(title)}">'
    yield from _lanes(measure)
    yield from _steps(measure)
    regions = [frame for frame in view.frames if frame.id in measure.grid.regions]
    for frame in regions:
        yield _region(measure.region(frame.id))
    for line in view.lines:
        if line.mark == "removed":
            yield _gone(measure, line)
    ways = sorted(measure.routes.ways, key=lambda way: (way.line.lit, way.line.mark != ""))
    for way in ways:
        entries = measure.routes.entries[way.line.target]
        first = len(entries) > 1 and entries[0] == way.net
        yield _way(way.line, measure.points(way), first=first)
    for frame in regions:
        at = measure.region(frame.id)
        yield _text("repeats", at.x + 6, at.y + 12, heading_of(frame))
    for box in view.boxes:
        yield _box(measure, box, facts.get(box.id))
    yield "</svg>"


def _lanes(measure: Measure) -> Iterator[str]:
    for number, lane in enumerate(measure.grid.lanes):
        if lane.frame is None:
            continue
        x, width = measure.lane(number)
        odd = " odd" if number % 2 else ""
        yield (
            f'<rect class="lane{odd}" x="{x:.1f}" y="0" width="{width:.1f}" '
            f'height="{measure.height:.1f}"/>'
        )
        middle = x + width / 2
        yield _text("module", middle, 14, lane.frame.title)
        yield _text("uses", middle, 27, lane.frame.note)


def _steps(measure: Measure) -> Iterator[str]:
    """The number of each row that has work, at the left."""
    grid = measure.grid
    rows = sorted({grid.at[box.id][0] for box in grid.view.boxes if box.role == "work"})
    yield _text("row", MARGIN / 2, 14, "step") if rows else ""
    for row in rows:
        yield _text("row", MARGIN / 2, measure.row_y[row] + BOX_HEIGHT / 2 + 4, str(row))


def _region(at: Place) -> str:
    return (
        f'<rect class="region" x="{at.x:.1f}" y="{at.y:.1f}" width="{at.width:.1f}" '
        f'height="{at.height:.1f}" rx="8"/>'
    )


def _text(name: str, x: float, y: float, words: str) -> str:
    return f'<text class="{name}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _way(line: Line, points: Sequence[Point], *, first: bool) -> str:
    """A line, its arrow, and at its end how many items it brings at a time: at the left, where it
    is the ``first`` of several."""
    path = _rounded(points)
    x, y = points[-1]
    side = f'class="by first" x="{x - 5:.1f}"' if first else f'class="by" x="{x + 5:.1f}"'
    group = f'<text {side} y="{y - 5:.1f}">by {line.group}</text>' if line.group else ""
    glow = f'<path class="glow" d="{path}"/>' if line.mark or line.lit else ""
    inner = f'<path class="inner" d="{path}"/>' if line.style == "stream" else ""
    carried = f" ({', '.join(line.ports)})" if line.ports else ""
    says = f"{line.source} → {line.target}: {MEANINGS[line.style]}{carried}"
    return (
        f'<g class="{_classes("line", line.style, line.mark, line.lit)}" {_ends(line)}>'
        f"<title>{escape(says)}</title>{glow}"
        f'<path class="way" d="{path}" marker-end="url(#to-{line.style})"/>{inner}{group}</g>'
    )


def _gone(measure: Measure, line: Line) -> str:
    """A line that is no more, straight from box to box, behind everything."""
    ends = {box.id: measure.box(box) for box in measure.grid.view.boxes}
    one, other = ends[line.source], ends[line.target]
    (x1, y1), (x2, y2) = ((at.x + at.width / 2, at.y + at.height / 2) for at in (one, other))
    says = f"gone: {line.source} → {line.target} ({MEANINGS[line.style]})"
    return (
        f'<g class="line gone" {_ends(line)}><title>{escape(says)}</title>'
        f'<path class="way" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>'
        f"{_text('cross', (x1 + x2) / 2, (y1 + y2) / 2 + 6, CROSS)}</g>"
    )


def _ends(line: Line) -> str:
    return f'data-from="{escape(line.source)}" data-to="{escape(line.target)}"'


def _box(measure: Measure, box: Box, facts: int | None) -> str:
    at = measure.box(box)
    radius = 8 if box.role == "work" else BOX_HEIGHT / 2
    says = f"{box.title}: {note_of(box)}" if note_of(box) else box.title
    kinds = list(dict.fromkeys(kind_of(engine.kind) for engine in box.engines)) or ["cpu"]
    about = f' data-facts="{facts}"' if facts is not None else ""
    rect = f'x="{at.x:.1f}" y="{at.y:.1f}" width="{at.width:.1f}" height="{at.height:.1f}"'
    fills = "".join(
        _share(kind, at, number / len(kinds)) for number, kind in enumerate(kinds) if number
    )
    return (
        f'<g class="{_classes("box", box.role, box.mark, box.lit)}" data-box="{escape(box.id)}"'
        f'{about} tabindex="-1" role="img" aria-label="{escape(says)}">'
        f'<rect class="fill {kinds[0]}" {rect} rx="{radius:.0f}"/>{fills}'
        f'<rect class="edge" {rect} rx="{radius:.0f}"/>'
        f"{_words(at, box)}{_sign(at, box)}</g>"
    )


def _sign(at: Place, box: Box) -> str:
    """The mark of a box at its lower left, clear of lines and their words, for whoever cannot tell
    its colour."""
    if not box.mark:
        return ""
    y = at.y + at.height
    return (
        f'<g class="sign {box.mark}"><circle cx="{at.x:.1f}" cy="{y:.1f}" r="8"/>'
        f'<text x="{at.x:.1f}" y="{y + 4.5:.1f}">{SIGNS[box.mark]}</text></g>'
    )


def _words(at: Place, box: Box) -> str:
    middle, note = at.x + at.width / 2, note_of(box)
    if not note:
        return _text("title", middle, at.y + 22, box.title)
    return _text("title", middle, at.y + 15.5, box.title) + _text("note", middle, at.y + 28.5, note)


def _share(kind: str, at: Place, part: float) -> str:
    """The colour of a further engine: what is right of ``part`` of a box, its corners round."""
    left, right, bottom = at.x + at.width * part, at.x + at.width, at.y + at.height
    return (
        f'<path class="fill {kind}" d="M{left:.1f} {at.y:.1f}H{right - 8:.1f}q8 0 8 8'
        f'V{bottom - 8:.1f}q0 8 -8 8H{left:.1f}z"/>'
    )


def _classes(*names: str | bool) -> str:
    """Class names; True is a lit one."""
    return " ".join("lit" if name is True else name for name in names if name)


def _rounded(points: Sequence[Point]) -> str:
    """A path through corners, each one rounded."""
    path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        enter, leave = _towards(corner, before), _towards(corner, after)
        path.append(f"L{enter[0]:.1f} {enter[1]:.1f}")
        path.append(f"Q{corner[0]:.1f} {corner[1]:.1f} {leave[0]:.1f} {leave[1]:.1f}")
    path.append(f"L{points[-1][0]:.1f} {points[-1][1]:.1f}")
    return "".join(path)


def _towards(corner: Point, other: Point) -> Point:
    """The point of a line at which the curve of its corner begins."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = max(abs(dx), abs(dy), 0.001)
    step = min(CORNER, length / 2) / length
    return corner[0] + dx * step, corner[1] + dy * step
