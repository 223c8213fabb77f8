"""The latencies of a simulation as a drawing (SVG): one dot a query, over the time it came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import cycle

from teola.runtime.simulation.axis import Axis
from teola.runtime.simulation.report import ApplicationReport, Report

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 72, 44, 52
CHARACTER = 7
COLOURS = ("#3566b0", "#c77700", "#2e8b57", "#8e44ad", "#c0392b", "#5d6d7e")
"""Of the applications; a seventh begins anew."""
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #444 }
.title { font-size: 14px; font-weight: 600; fill: #111 }
.grid { stroke: #e4e4e4 } .axis { stroke: #888 }
circle { fill-opacity: .55 } .failed { fill: none; stroke-width: 1.5 }
.rank { stroke-dasharray: 5 4 }
"""
ALONE, TOGETHER = ("p50", "p95", "p99"), ("p50", "p95")
"""The percentiles that have lines, of one application and of each of several."""


def latency_plot(report: Report) -> str:
    """An SVG that stands alone: a colour for each application. Queries that failed are crosses at
    the bottom."""
    latencies = [one.latency_s for one in report.samples if one.latency_s is not None]
    x = Axis.of(max((one.arrival_s for one in report.samples), default=0.0), LEFT, WIDTH - RIGHT)
    y = Axis.of(max(latencies, default=0.0), HEIGHT - BOTTOM, TOP)
    title = _title(report)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text class="title" x="{LEFT}" y="20">{escape(title)}</text>',
        *_axes(x, y),
        *(mark for one, colour in _coloured(report) for mark in _dots(one, colour, x, y)),
        *_ranks(report, y),
        *(_legend(report) if len(report.applications) > 1 else ()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _title(report: Report) -> str:
    names = ", ".join(f"{one.name} {one.options}" for one in report.applications)
    failed = report.queries - report.done
    return f"{names}, {report.policy}: latency of {report.queries} queries" + (
        f", {failed} failed (crosses)" if failed else ""
    )


def _coloured(report: Report) -> Iterator[tuple[ApplicationReport, str]]:
    return zip(report.applications, cycle(COLOURS), strict=False)


def _legend(report: Report) -> Iterator[str]:
    at = LEFT
    for one, colour in _coloured(report):
        yield f'<circle fill="{colour}" cx="{at + 4}" cy="34" r="4"/>'
        yield f'<text x="{at + 13}" y="38">{escape(one.name)}</text>'
        at += 30 + CHARACTER * len(one.name)


def _axes(x: Axis, y: Axis) -> Iterator[str]:
    for at, label in y.ticks():
        yield f'<line class="grid" x1="{x.low}" x2="{x.high}" y1="{at}" y2="{at}"/>'
        yield f'<text x="{x.low - 8}" y="{at + 4}" text-anchor="end">{label}</text>'
    for at, label in x.ticks():
        yield f'<line class="axis" x1="{at}" x2="{at}" y1="{y.low}" y2="{y.low + 5}"/>'
        yield f'<text x="{at}" y="{y.low + 19}" text-anchor="middle">{label}</text>'
    yield f'<line class="axis" x1="{x.low}" x2="{x.high}" y1="{y.low}" y2="{y.low}"/>'
    middle_x, middle_y = (x.low + x.high) / 2, (y.low + y.high) / 2
    yield f'<text x="{middle_x}" y="{HEIGHT - 12}" text-anchor="middle">arrival (seconds)</text>'
    yield (
        f'<text x="16" y="{middle_y}" text-anchor="middle" '
        f'transform="rotate(-90 16 {middle_y})">latency (seconds)</text>'
    )


def _dots(one: ApplicationReport, colour: str, x: Axis, y: Axis) -> Iterator[str]:
    for sample in one.samples:
        across = x.at(sample.arrival_s)
        if sample.latency_s is None:
            cross = f"M{across - 3} {y.low - 3}l6 6m0 -6l-6 6"
            yield f'<path class="failed" stroke="{colour}" d="{cross}"/>'
        else:
            up = y.at(sample.latency_s)
            yield f'<circle class="query" fill="{colour}" cx="{across}" cy="{up}" r="2.5"/>'


def _ranks(report: Report, y: Axis) -> Iterator[str]:
    """Lines at percentiles; names that would touch move up."""
    names = ALONE if len(report.applications) == 1 else TOGETHER
    ranks = sorted(
        (getattr(one.latency, name), name, colour)
        for one, colour in _coloured(report)
        for name in names
        if one.latency is not None
    )
    places = _apart([y.at(seconds) for seconds, _, _ in ranks])
    for (seconds, name, colour), below in zip(ranks, places, strict=True):
        at = y.at(seconds)
        yield (
            f'<line class="rank" stroke="{colour}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" '
            f'y2="{at}"/>'
        )
        place = f'x="{WIDTH - RIGHT + 5}" y="{below + 4}" style="fill:{colour}"'
        yield f"<text {place}>{name} {seconds:.3g}</text>"


def _apart(places: Sequence[float]) -> Sequence[float]:
    """Places from the bottom up, each at least a line of text above the one before."""
    found: list[float] = []
    for place in places:
        found.append(min(place, found[-1] - 14) if found else place)
    return found
