"""How one query fared among the others, as a drawing (SVG): a lane for each engine, over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle
from typing import TypeVar

from teola.runtime.observing.lanes import lanes
from teola.runtime.simulation.axis import Axis
from teola.runtime.simulation.chronicle import Lane, Story, Stretch, Time

WIDTH, LEFT, RIGHT = 860, 92, 24
TOP, BOTTOM, TICKS = 68, 40, 10
BAR, BAR_GAP, PADDING, LANE_GAP, LEAST = 18, 3, 6, 6, 1.5
OTHER, OTHERS_HEIGHT, OTHERS_COLOUR = 5, 60, "#bcbcbc"
"""Pixels of a row of other queries' work, and of all its rows at most."""
CHARACTER = 7
COLOURS = ("#b8442f", "#7b4fa3", "#c07000", "#2e7d5b", "#2f66b3", "#5d6d7e", "#8a5a2b", "#a8327d")
"""Of the modules, in alphabetical order: a module looks alike in all pictures of a workflow."""
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #444 }
.title { font-size: 14px; font-weight: 600; fill: #111 } .engine { font-weight: 600; fill: #111 }
.lane { fill: #f6f6f6 } .grid { stroke: #e2e2e2 } .end { stroke: #111; stroke-dasharray: 4 3 }
.waits { fill-opacity: .25 } .warms { fill-opacity: .6 }
.in { fill: #fff; font-size: 11px } .small { font-size: 11px }
"""

S = TypeVar("S")


def query_picture(story: Story, what: str, span_s: float | None = None) -> str:
    """An SVG that stands alone. ``what`` begins its title; it shows ``span_s``, else all of the
    query."""
    shown_s = story.total_s if span_s is None else span_s
    x = Axis.of(shown_s, LEFT, WIDTH - RIGHT, TICKS)
    if span_s is not None:
        x = Axis(span_s, x.step, x.low, x.high)
    modules = sorted({stretch.module for lane in story.lanes for stretch in lane.own})
    colours = dict(zip(modules, cycle(COLOURS), strict=False))
    ended = "failed after" if story.failed else "took"
    title = f"{what}: query {story.number} {ended} {story.total_s:.1f} s"
    drawn = list(_drawn(story.lanes, x))
    bottom = drawn[-1].bottom if drawn else TOP
    height = bottom + BOTTOM
    size = f'width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {WIDTH} {height}">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect {size} fill="#fff"/>',
        f'<text class="title" x="12" y="22">{escape(title)}</text>',
        *_legend(colours, story.lanes),
        *(part for one in drawn for part in one.frame()),
        *_axis(x, bottom),
        *(part for one in drawn for part in one.work(colours)),
        *_end(story, x, bottom),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


@dataclass(frozen=True)
class _Drawn:
    """A lane from pixel ``top`` to ``bottom``: its rows of bars, below them those of others."""

    lane: Lane
    x: Axis
    top: int
    rows: Sequence[tuple[int, Stretch]]
    others: Sequence[tuple[int, Time]]

    @property
    def others_top(self) -> int:
        count = max((row for row, _ in self.rows), default=0) + 1
        return self.top + PADDING + count * (BAR + BAR_GAP)

    @property
    def others_row(self) -> float:
        """The height of a row of other queries' work."""
        count = max((row for row, _ in self.others), default=0) + 1
        return min(OTHER, OTHERS_HEIGHT / count)

    @property
    def bottom(self) -> int:
        count = max((row for row, _ in self.others), default=-1) + 1
        return round(self.others_top + count * self.others_row + PADDING)

    def frame(self) -> Iterator[str]:
        box = f'x="{LEFT}" y="{self.top}" width="{WIDTH - LEFT - RIGHT}"'
        yield f'<rect class="lane" {box} height="{self.bottom - self.top}"/>'
        place = f'x="{LEFT - 8}" y="{self.top + PADDING + 13}" text-anchor="end"'
        yield f'<text class="engine" {place}>{escape(self.lane.engine)}</text>'

    def work(self, colours: Mapping[str, str]) -> Iterator[str]:
        height = round(self.others_row - 1, 1)
        for row, time in self.others:
            top = round(self.others_top + row * self.others_row, 1)
            yield _box("other", self.x, time, (top, height), OTHERS_COLOUR)
        for row, stretch in self.rows:
            yield from _bar(stretch, self.x, self.top + PADDING + row * (BAR + BAR_GAP), colours)


def _drawn(found: Sequence[Lane], x: Axis) -> Iterator[_Drawn]:
    top = TOP
    for lane in found:
        own = [(one.queued_s, one.ended_s, one) for one in lane.own]
        rows = _packed([one for one in own if not one[2].warm], x)
        below = max((row for row, _ in rows), default=-1) + 1
        warm = _packed([one for one in own if one[2].warm], x)
        rows += [(below + row, stretch) for row, stretch in warm]
        others = [(max(0.0, begin_s), end_s, (begin_s, end_s)) for begin_s, end_s in lane.others]
        drawn = _Drawn(lane, x, top, rows, _packed(others, x))
        yield drawn
        top = drawn.bottom + LANE_GAP


def _packed(found: Sequence[tuple[float, float, S]], x: Axis) -> list[tuple[int, S]]:
    """What is shown, with its row: there none overlaps another (in tenths of pixels)."""
    shown = [(x.at(begin), x.at(end), one) for begin, end, one in found if begin < x.top]
    slices = [(round(10 * begin), round(10 * end), one) for begin, end, one in shown]
    return [(row, one) for row, _, _, one in lanes(slices)]


def _bar(stretch: Stretch, x: Axis, top: int, colours: Mapping[str, str]) -> Iterator[str]:
    colour = colours[stretch.module]
    if not stretch.warm:
        yield _box("waits", x, (stretch.queued_s, stretch.ended_s), (top, BAR), colour)
    for run in stretch.runs:
        yield _box("warms" if stretch.warm else "works", x, run, (top, BAR), colour)
    longest = max(stretch.runs, key=lambda run: run[1] - run[0])
    begin, end = (min(x.at(max(0.0, at_s)), x.high) for at_s in longest)
    if end - begin > CHARACTER * len(stretch.module) + 4:
        place = f'x="{round((begin + end) / 2, 1)}" y="{top + 13}" text-anchor="middle"'
        yield f'<text class="in" {place}>{escape(stretch.module)}</text>'


def _box(look: str, x: Axis, time: Time, place: tuple[float, float], colour: str) -> str:
    """``place``: its top and its height."""
    begin = x.at(max(0.0, time[0]))
    width = round(max(LEAST, min(x.at(time[1]), x.high) - begin), 1)
    top, height = place
    return (
        f'<rect class="{look}" fill="{colour}" x="{begin}" y="{top}" width="{width}" '
        f'height="{height}"/>'
    )


def _axis(x: Axis, bottom: int) -> Iterator[str]:
    for at, label in x.ticks():
        yield f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP}" y2="{bottom + 4}"/>'
        yield f'<text x="{at}" y="{bottom + 18}" text-anchor="middle">{label}</text>'
    middle = (x.low + x.high) / 2
    place = f'x="{middle}" y="{bottom + 34}" text-anchor="middle"'
    yield f"<text {place}>seconds after the query came</text>"


def _end(story: Story, x: Axis, bottom: int) -> Iterator[str]:
    if story.total_s <= x.top:
        at = x.at(story.total_s)
        yield f'<text class="small" x="{at}" y="{TOP - 6}" text-anchor="middle">done</text>'
        yield f'<line class="end" x1="{at}" x2="{at}" y1="{TOP - 3}" y2="{bottom + 4}"/>'


def _legend(colours: Mapping[str, str], found: Sequence[Lane]) -> Iterator[str]:
    """The modules, then what looks mean."""
    first = colours[min(colours)] if colours else "#444"
    samples: list[tuple[Sequence[tuple[str, str]], str]] = [
        ([("works", colour)], name) for name, colour in colours.items()
    ]
    samples.append(([("waits", first), ("works", first)], "waits, then runs"))
    if any(stretch.warm for lane in found for stretch in lane.own):
        samples.append(([("warms", first)], "beginning of a prompt, early"))
    samples.append(([("other", OTHERS_COLOUR)], "other queries run"))
    at = 12
    for looks, meaning in samples:
        for look, colour in looks:
            place = f'x="{at}" y="37" width="11" height="11"'
            yield f'<rect class="{look} sample" fill="{colour}" {place}/>'
            at += 11
        yield f'<text x="{at + 4}" y="46">{escape(meaning)}</text>'
        at += 18 + round(6.6 * len(meaning))
