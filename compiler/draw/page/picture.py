"""A view as SVG, drawn by ourselves: no Graphviz, and the same place for the same module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from teola.compiler.draw.page.grid import place_alike
from teola.compiler.draw.page.measure import (
    BOX_HEIGHT,
    HEADER,
    MARGIN,
    Measure,
    Point,
    measure_alike,
    note_of,
)
from teola.compiler.draw.view import MEANINGS, Box, Line, View

CORNER = 5.0
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
    for frame in view.frames:
        if frame.parent:
            yield from _region(measure, frame.id)
    for line in sorted(view.lines, key=lambda line: (line.mark != "removed", line.lit)):
        if line.mark == "removed":
            yield _gone(measure, line)
    ways = sorted(measure.routes.ways, key=lambda way: (way.line.lit, way.line.mark != ""))
    for way in ways:
        yield _way(way.line, measure.points(way))
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
        yield _text("module", middle, 16, lane.frame.title)
        yield _text("uses", middle, 30, lane.frame.note)


def _steps(measure: Measure) -> Iterator[str]:
    """The number of each row, at the left."""
    rows = range(1, measure.grid.rows)
    yield _text("step", MARGIN / 2, HEADER - 22, "step") if rows else ""
    for row in rows:
        yield _text("step", MARGIN / 2, measure.row_y[row] + BOX_HEIGHT / 2 + 4, str(row))


def _region(measure: Measure, frame_id: str) -> Iterator[str]:
    frame = next(frame for frame in measure.grid.view.frames if frame.id == frame_id)
    if frame_id not in measure.grid.regions:
        return
    at = measure.region(frame_id)
    yield (
        f'<rect class="region" x="{at.x:.1f}" y="{at.y:.1f}" width="{at.width:.1f}" '
        f'height="{at.height:.1f}" rx="8"/>'
    )
    words = f"{frame.title}: {frame.note.partition(': ')[2] or frame.note}"
    yield (
        f'<text class="repeats" x="{at.x + 6:.1f}" y="{at.y + 12:.1f}">{escape(words)}</text>'
    )


def _text(name: str, x: float, y: float, words: str) -> str:
    return f'<text class="{name}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _way(line: Line, points: Sequence[Point]) -> str:
    """A line, its arrow, and at its end how many items it brings at a time."""
    path = _rounded(points)
    x, y = points[-1]
    group = (
        f'<text class="by" x="{x + 4:.1f}" y="{y - 9:.1f}">by {line.group}</text>'
        if line.group
        else ""
    )
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
    (x1, y1), (x2, y2) = (
        (at.x + at.width / 2, at.y + at.height / 2) for at in (one, other)
    )
    says = f"gone: {line.source} → {line.target} ({MEANINGS[line.style]})"
    return (
        f'<g class="line gone" {_ends(line)}><title>{escape(says)}</title>'
        f'<path class="way" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/></g>'
    )


def _ends(line: Line) -> str:
    return f'data-from="{escape(line.source)}" data-to="{escape(line.target)}"'


def _box(measure: Measure, box: Box, facts: int | None) -> str:
    at = measure.box(box)
    radius = 8 if box.role == "work" else BOX_HEIGHT / 2
    says = f"{box.title}: {note_of(box)}" if note_of(box) else box.title
    kinds = list(dict.fromkeys(kind_of(engine.kind) for engine in box.engines)) or ["cpu"]
    share = at.width / len(kinds)
    about = f' data-facts="{facts}"' if facts is not None else ""
    middle = at.x + at.width / 2
    rect = f'x="{at.x:.1f}" y="{at.y:.1f}" width="{at.width:.1f}" height="{at.height:.1f}"'
    fills = "".join(
        f'<rect class="fill {kind}" x="{at.x + share * number:.1f}" y="{at.y:.1f}" '
        f'width="{share:.1f}" height="{at.height:.1f}"/>'
        for number, kind in enumerate(kinds)
    )
    one = f'<rect class="fill {kinds[0]}" {rect} rx="{radius:.0f}"/>'
    return (
        f'<g class="{_classes("box", box.role, box.mark, box.lit)}" data-box="{escape(box.id)}"'
        f'{about} tabindex="-1" role="img" aria-label="{escape(says)}">'
        f"{fills if len(kinds) > 1 else one}"
        f'<rect class="edge" {rect} rx="{radius:.0f}"/>'
        f"{_text('title', middle, at.y + 17, box.title)}{_text('note', middle, at.y + 32, note_of(box))}"
        "</g>"
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
