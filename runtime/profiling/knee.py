"""The knee of a batch curve: where bigger batches stop paying."""

from __future__ import annotations

from collections.abc import Sequence

GAIN = 0.1
"""A rise of the throughput by less is none."""
PATIENCE = 2
"""Doublings without a rise that end a curve: one of them may have been unlucky."""

Curve = Sequence[tuple[int, float]]
"""(items of a batch, its milliseconds), smaller batches first."""


def knee(curve: Curve, gain: float = GAIN) -> int:
    """The smallest batch whose throughput no bigger one surpasses by more than ``gain``.

    Raises:
        ValueError: the curve has no point.
    """
    rates = _rates(curve)
    for place, (items, _) in enumerate(curve):
        if max(rates[place:]) <= rates[place] * (1 + gain):
            return items
    raise ValueError("a batch curve without points has no knee")


def still_rises(curve: Curve, gain: float = GAIN) -> bool:
    """Whether the last ``PATIENCE`` points have raised the throughput by more than ``gain``."""
    rates = _rates(curve)
    if len(rates) <= PATIENCE:
        return True
    return max(rates[-PATIENCE:]) > max(rates[:-PATIENCE]) * (1 + gain)


def _rates(curve: Curve) -> list[float]:
    """Items a millisecond."""
    return [items / ms for items, ms in curve]
