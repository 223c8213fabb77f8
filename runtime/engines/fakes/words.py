"""BM25 as its formula says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import log

K1, B = 1.5, 0.75
_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORD.findall(text.casefold())


class BM25:
    """Texts, given as their words: Lucene's variant (Kamphuis and others 2020)."""

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        average = sum(map(len, texts)) / max(1, len(texts))
        self._lengths = [1 - B + B * len(text) / average if average else 1 for text in texts]
        self._having: dict[str, list[tuple[int, int]]] = {}
        for at, text in enumerate(texts):
            for word, count in Counter(text).items():
                self._having.setdefault(word, []).append((at, count))

    def scores(self, query: Sequence[str]) -> list[float]:
        """The score of each text for the words of a query."""
        scores = [0.0] * len(self._lengths)
        for word in query:
            having = self._having.get(word, [])
            weight = log(1 + (len(scores) - len(having) + 0.5) / (len(having) + 0.5))
            for at, count in having:
                scores[at] += weight * count / (count + K1 * self._lengths[at])
        return scores
