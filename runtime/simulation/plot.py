"""The latencies of a simulation as a drawing (SVG): one dot a query, over the time it came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import ceil, floor, log10

from teola.runtime.simulation.report import Report

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 72, 44, 52
TICKS = 6
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #444 }
.title { font-size: 14px; font-weight: 600; fill: #111 }
.grid { stroke: #e4e4e4 } .axis { stroke: #888 }
.query { fill: #3566b0; fill-opacity: .55 } .failed { stroke: #c0392b; stroke-width: 1.5 }
.rank { stroke: #c77700; stroke-dasharray: 5 4 } .name { fill: #9a5b00 }
"""


def latency_plot(report: Report) -> str:
    """An SVG that stands alone. Queries that failed are crosses at the bottom."""
    latencies = [one.latency_s for one in report.samples if one.latency_s is not None]
    x = _Axis(max((one.arrival_s for one in report.samples), default=0.0), LEFT, WIDTH - RIGHT)
    y = _Axis(max(latencies, default=0.0), HEIGHT - BOTTOM, TOP)
    failed = report.queries - report.done
    title = (
        f"{report.workflow} -{report.level}, {report.policy}: latency of {report.queries} queries"
        + (f", {failed} failed (crosses)" if failed else "")
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>',
        *_axes(x, y),
        *_dots(report, x, y),
        *_ranks(report, y),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Axis:
    """Values from 0 to ``top``, a round number, drawn from pixel ``low`` to ``high``."""

    def __init__(self, most: float, low: int, high: int) -> None:
        self.low, self.high = low, high
        self.step = _round_step(most / TICKS) if most > 0 else 1.0
        self.top = max(1, ceil(most / self.step)) * self.step

    def at(self, value: float) -> float:
        return round(self.low + (self.high - self.low) * value / self.top, 1)

    def ticks(self) -> Iterator[tuple[float, str]]:
        for index in range(round(self.top / self.step) + 1):
            yield self.at(index * self.step), f"{index * self.step:g}"


def _round_step(least: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * 0.999)


def _axes(x: _Axis, y: _Axis) -> Iterator[str]:
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


def _dots(report: Report, x: _Axis, y: _Axis) -> Iterator[str]:
    for sample in report.samples:
        across = x.at(sample.arrival_s)
        if sample.latency_s is None:
            yield f'<path class="failed" d="M{across - 3} {y.low - 3}l6 6m0 -6l-6 6"/>'
        else:
            yield f'<circle class="query" cx="{across}" cy="{y.at(sample.latency_s)}" r="2.5"/>'


def _ranks(report: Report, y: _Axis) -> Iterator[str]:
    """Lines at percentiles; names that would touch move up."""
    if report.latency is None:
        return
    ranks = [(name, getattr(report.latency, name)) for name in ("p50", "p95", "p99")]
    for (name, seconds), below in zip(ranks, _apart([y.at(s) for _, s in ranks]), strict=True):
        at = y.at(seconds)
        yield f'<line class="rank" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>'
        place = f'x="{WIDTH - RIGHT + 5}" y="{below + 4}"'
        yield f'<text class="name" {place}>{name} {seconds:.3g}</text>'


def _apart(places: Sequence[float]) -> Sequence[float]:
    """Places from the bottom up, each at least a line of text above the one before."""
    found: list[float] = []
    for place in places:
        found.append(min(place, found[-1] - 14) if found else place)
    return found
