"""Random lengths."""

from __future__ import annotations

from math import exp
from random import Random


def log_normal(random: Random, spread: float) -> float:
    """A factor with mean 1 (sigma ``spread``; 0: always 1)."""
    return exp(random.gauss(-spread * spread / 2, spread)) if spread else 1.0
