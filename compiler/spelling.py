"""Words that were probably meant."""

from __future__ import annotations

from collections.abc import Iterable

_MAX_WORD = 64
"""Longer words are not compared letter by letter."""

_PREFIX = 3
"""Letters that two words share before one counts as the beginning of the other."""


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that ``word`` was probably meant to be, or None.

    Letter case, ``-`` against ``_``, swapped neighbours, one or two typing errors (by length) and
    a plural or a beginning of at least three letters are recognised.
    """
    wanted = _folded(word)
    ranked = []
    for position, candidate in enumerate(candidates):
        other = _folded(candidate)
        distance = edit_distance(wanted, other)
        close = distance <= max(1, min(len(wanted), len(other)) // 3)
        prefix = min(len(wanted), len(other)) >= _PREFIX and (
            other.startswith(wanted) or wanted.startswith(other)
        )
        if close or prefix:
            ranked.append((distance if close else distance + 10, position, candidate))
    return min(ranked)[2] if ranked else None


def edit_distance(left: str, right: str) -> int:
    """Return how many insertions, deletions, changes or swaps of neighbours turn one into the
    other (optimal string alignment, counted to the longer length at most)."""
    if max(len(left), len(right)) > _MAX_WORD:
        return max(len(left), len(right))
    before: list[int] = []
    previous: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        before, previous, row = previous, row, [i]
        for j, b in enumerate(right, 1):
            cost = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _folded(word: str) -> str:
    return word.casefold().replace("-", "_").replace(" ", "_")
