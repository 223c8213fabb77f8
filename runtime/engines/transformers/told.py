"""What the generation loop tells of a request beside its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from teola.runtime.engines.protocol import Chances


@dataclass(slots=True)
class Told:
    """Written on the loop's thread before the tokens are told: how many tokens of the prompt were
    ``cached`` when its first step began; and, if that was asked for, the ``likeliest`` tokens at
    each step of the answer, with the logarithms of their probabilities."""

    cached: int | None = None
    likeliest: list[dict[int, float]] = field(default_factory=list)

    def chances(self, tokens: Sequence[int], before: int) -> Sequence[Chances]:
        """What the tokens that follow so many ``before`` them could have been."""
        steps = zip(tokens, self.likeliest[before : before + len(tokens)], strict=False)
        return [
            [
                (came, could.get(came, min(could.values()))),
                *(one for one in could.items() if one[0] != came),
            ]
            for came, could in steps
        ]
