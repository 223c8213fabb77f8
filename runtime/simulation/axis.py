"""The axis of a drawing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor, log10

TICKS = 6


@dataclass(frozen=True, slots=True)
class Axis:
    """Values from 0 to ``top`` are drawn from pixel ``low`` to ``high``, with a tick every
    ``step``."""

    top: float
    step: float
    low: int
    high: int

    @classmethod
    def of(cls, most: float, low: int, high: int, ticks: int = TICKS) -> Axis:
        """Up to the next round number; about so many ticks."""
        step = _round_step(most / ticks) if most > 0 else 1.0
        return cls(max(1, ceil(most / step)) * step, step, low, high)

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return round(self.low + (self.high - self.low) * value / self.top, 1)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Pixels and their labels."""
        for index in range(int(self.top / self.step + 1e-9) + 1):
            yield self.at(index * self.step), f"{index * self.step:g}"


def _round_step(least: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * 0.999)
