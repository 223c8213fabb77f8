"""What was measured, between and beyond the points: a straight line through them is only near them.

An item costs what it added to the biggest batch that was measured of its length. A batch costs more
or less than its items add up to, as batches of so many items did.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Measured: TypeAlias = Mapping[tuple[int, float], float]
"""(Items, tokens of one) -> milliseconds."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Values ``y`` at ascending ``x``, straight between them and level before the first."""

    x: Sequence[float]
    y: Sequence[float]

    def at(self, x: float) -> float:
        """The value there; beyond the last one, that."""
        after = bisect_right(self.x, x)
        if after in (0, len(self.x)):
            return self.y[-1 if after else 0]
        low = after - 1
        share = (x - self.x[low]) / (self.x[after] - self.x[low])
        return self.y[low] + share * (self.y[after] - self.y[low])


@dataclass(frozen=True, slots=True)
class Curves:
    """``added``: tokens of an item -> the milliseconds that it adds to a batch, never less for more
    tokens. ``scale``: items of a batch -> by how much more, or less, it takes than its base and its
    items add up to."""

    added: Curve
    scale: Curve


def curves(measured: Measured, base_ms: float, item_ms: float) -> Curves:
    """The curves of an operation; ``item_ms`` is what an item without tokens adds."""
    lengths = [tokens for _, tokens in measured]
    usual = max(sorted(set(lengths)), key=lengths.count)
    biggest = {tokens: items for items, tokens in sorted(measured)}
    most = biggest[usual]
    added = max(0.0, measured[most, usual] - base_ms) / most
    sizes = {
        float(items): ms / (base_ms + items * added or ms)
        for (items, tokens), ms in sorted(measured.items())
        if tokens == usual
    }
    scale = Curve(tuple(sizes), tuple(sizes.values()))
    found = {
        tokens: (measured[items, tokens] / scale.at(items) - base_ms) / items
        for tokens, items in sorted(biggest.items())
    }
    least = max(0.0, min(item_ms, *found.values()))
    rising: dict[float, float] = {0.0: least}
    for tokens, ms in found.items():
        least = rising[tokens] = max(least, ms)
    return Curves(Curve(tuple(rising), tuple(rising.values())), scale)
