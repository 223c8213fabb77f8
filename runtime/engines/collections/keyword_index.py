"""Which texts have most of a query's words: BM25 (Lucene's variant), with ties in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from teola.runtime.engines.collections.nearest import Places

_WORD = re.compile(r"\w+")


def searched_text(chunk: Mapping[str, Any]) -> str:
    """What of a chunk is searched for words: all that is embedded, too."""
    context = chunk.get("context")
    return f"{context}\n{chunk['text']}" if context else str(chunk["text"])


class Words:
    """The words of texts: in lower case, and without their endings where the ``language`` is not
    ``simple``. None is left out: words that are in every text weigh next to nothing."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._stemmer: Any = None

    def of(self, text: str) -> list[str]:
        """The words of a text, in order."""
        words = _WORD.findall(text.casefold())
        if self.language == "simple":
            return words
        if self._stemmer is None:
            import Stemmer

            self._stemmer = Stemmer.Stemmer(self.language)
        stems: list[str] = self._stemmer.stemWords(words)
        return stems


class KeywordIndex:
    """Texts by their words; never changed. ``index`` is None where there is no word at all."""

    def __init__(self, language: str, index: Any = None) -> None:
        self._words = Words(language)  # its own: a stemmer serves one thread
        self._index = index

    @property
    def language(self) -> str:
        """Whose words they are."""
        return self._words.language

    @staticmethod
    def of(language: str, texts: Iterable[str]) -> KeywordIndex:
        """The index of texts."""
        from bm25s import BM25

        words = Words(language)
        numbers: dict[str, int] = {}
        texts_as_numbers = [
            [numbers.setdefault(word, len(numbers)) for word in words.of(text)] for text in texts
        ]
        if not numbers:
            return KeywordIndex(language)
        index = BM25(method="lucene")
        index.index((texts_as_numbers, numbers), show_progress=False)
        return KeywordIndex(language, index)

    @staticmethod
    def load(language: str, folder: Path) -> KeywordIndex:
        """The index that a folder holds."""
        from bm25s import BM25

        return KeywordIndex(language, BM25.load(folder))

    def save(self, folder: Path) -> None:
        """Write it to a folder, which is not there yet; not for one without words."""
        self._index.save(folder)

    def __bool__(self) -> bool:
        """Whether there are words."""
        return self._index is not None

    def best(self, query: str, count: int, among: Places | None = None) -> list[tuple[int, float]]:
        """Positions and scores of the ``count`` texts with most of the query's words, best first;
        of equal scores the earlier position. Texts without any of them are not found. ``among``:
        only of these positions."""
        if self._index is None:
            return []
        numbers = self._index.get_tokens_ids(self._words.of(query))
        if not numbers:
            return []
        scores = self._index.get_scores_from_ids(numbers)
        places = np.flatnonzero(scores)
        if among is not None:
            places = places[np.isin(places, among, assume_unique=True)]
        order = np.argsort(-scores[places], kind="stable")[: max(0, count)]
        return [(int(place), float(scores[place])) for place in places[order]]
