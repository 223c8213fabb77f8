"""How likely each of some texts is as the answer, from what is told of every step of one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import exp
from typing import TypeAlias

Could: TypeAlias = Sequence[tuple[str | None, float]]
"""The texts that an answer could be after a step (None: it has ended), with the logarithms of their
probabilities; the first is what it was."""


class Probabilities:
    """A step divides the probability of what has come so far among what could come next: what leads
    to one name alone is its, and what leads to none is left out. What may still lead to several
    when the answer turns another way is divided in the end, in proportion to what is theirs.

    ``leads`` says of a text, or of one that has ended, to which names it may lead. ``told``: there
    were steps that say something.
    """

    def __init__(
        self, names: Collection[str], leads: Callable[[str, bool], Collection[str]]
    ) -> None:
        self._leads = leads
        self._sure = dict.fromkeys(names, 0.0)
        self._open: list[tuple[Collection[str], float]] = []
        self._here = 1.0
        self.told = False

    def step(self, before: str, could: Could) -> None:
        """An answer that was ``before`` could go on so."""
        found = [
            (self._leads(before, True) if text is None else self._leads(text, False), exp(log))
            for text, log in could
        ]
        whole = sum(weight for names, weight in found if names)
        if not whole:
            return
        (names, weight), *others = found
        for name, less in others:
            self._give(name, self._here * less / whole)
        self._here *= weight / whole if names else 0.0
        self.told = True

    def _give(self, names: Collection[str], share: float) -> None:
        if len(names) == 1:
            self._sure[next(iter(names))] += share
        elif names:
            self._open.append((names, share))

    def end(self, name: str) -> dict[str, float]:
        """The probability of each name, where the answer is this one; together they are 1."""
        known = {**self._sure, name: self._sure[name] + self._here}
        found = dict(known)
        for names, share in self._open:
            whole = sum(known[one] for one in names)
            for one in names:
                found[one] += share * (known[one] / whole if whole else 1 / len(names))
        return found
