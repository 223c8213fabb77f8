"""From points to a formula: a batch of n items of t tokens takes ``base + n * (item + t * token)``.

Coefficients are milliseconds and never negative; relative errors count, so that small batches weigh
as much as big ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import TYPE_CHECKING

from teola.compiler.cost.profile import Point

if TYPE_CHECKING:
    import numpy as np

DIGITS = 4


@dataclass(frozen=True, slots=True)
class Fit:
    """The formula's coefficients, and the mean of its relative errors at the points."""

    base_ms: float
    item_ms: float
    token_ms: float
    error: float


def fit(points: Sequence[Point], *, count_tokens: bool = True) -> Fit:
    """Fit the formula by non-negative least squares of the relative errors.

    Without ``count_tokens`` the tokens of an item are no part of it. With three unknowns all
    choices of the coefficients that are not 0 can be tried: the best of those whose solution has no
    negative one is the solution.

    Raises:
        ValueError: there is no point, or one took no time.
    """
    import numpy as np

    if not points or any(point.ms <= 0 for point in points):
        raise ValueError("a fit needs points, each of which took some time")
    took = np.array([point.ms for point in points])
    rows = np.array(
        [(1, point.items, point.items * point.tokens * count_tokens) for point in points], float
    )
    relative = rows / took[:, None]
    best = min(_candidates(relative), key=lambda found: _residual(relative, found))
    error = float(np.abs(relative @ best - 1).mean())
    base, item, token = (_rounded(float(value)) for value in best)
    return Fit(base, item, token, error)


def _candidates(relative: np.ndarray) -> list[np.ndarray]:
    """The solutions with no negative coefficient, one for each choice of the columns used."""
    import numpy as np

    columns = [column for column in range(relative.shape[1]) if relative[:, column].any()]
    choices = chain.from_iterable(combinations(columns, n) for n in range(1, len(columns) + 1))
    found = []
    for choice in choices:
        chosen = list(choice)
        solution = np.zeros(relative.shape[1])
        solution[chosen] = np.linalg.lstsq(relative[:, chosen], np.ones(len(relative)), rcond=None)[
            0
        ]
        if (solution >= 0).all():
            found.append(solution)
    return found


def _residual(relative: np.ndarray, solution: np.ndarray) -> float:
    return float(((relative @ solution - 1) ** 2).sum())


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
