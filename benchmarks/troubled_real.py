"""Embedded engines that fail at bad items (``bad_items``): they raise, say that there is no memory,
or end their process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

from benchmarks.bad_items import FAILING, HUNGRY, POISON, bad_for, cause_of, texts_of
from teola.runtime.engines.maxsim import MaxSimReranker
from teola.runtime.engines.protocol import Failure, Generate, Request, TokenEvent
from teola.runtime.engines.registry import ENGINES
from teola.runtime.engines.sentence_transformers import SentenceTransformersEmbedder
from teola.runtime.engines.tokenizer import load_tokenizer
from teola.runtime.engines.transformers.llm import TransformersLLM

STATUS = 71
"""What a process ends with that ends at an item."""
PLACES = {
    ("embedder", "sentence-transformers"): "Embedder",
    ("reranker", "maxsim"): "Reranker",
    ("llm", "transformers"): "LLM",
}
KINDS = tuple(kind for kind, _ in PLACES)


def _strike(mark: str) -> None:
    """What an engine does at a bad item. The last line of its process names it."""
    cause = cause_of(mark)
    if cause == POISON:
        print(mark, file=sys.stderr, flush=True)
        os._exit(STATUS)
    if cause == HUNGRY:
        raise MemoryError(mark)
    if cause == FAILING:
        raise ValueError(mark)


class Embedder(SentenceTransformersEmbedder):
    """The embedder."""

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        """See ``BatchEngine.run``."""
        if mark := bad_for("embedder", texts_of(batch)):
            _strike(mark)
        return await super().run(batch)


class Reranker(MaxSimReranker):
    """The reranker."""

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        """See ``BatchEngine.run``."""
        if mark := bad_for("reranker", texts_of(batch)):
            _strike(mark)
        return await super().run(batch)


class LLM(TransformersLLM):
    """The LLM. A call fails alone, as the protocol says."""

    kinds: ClassVar = {MemoryError: "memory", ValueError: "engine"}

    async def submit(self, requests: Sequence[Generate]) -> None:
        """See ``LLMEngine.submit``."""
        tokenizer = self._tokenizer = self._tokenizer or load_tokenizer(self._config)
        well, failed = [], []
        for request in requests:
            try:
                if mark := bad_for("llm", iter([tokenizer.decode(request.tokens)])):
                    _strike(mark)
            except (MemoryError, ValueError) as error:
                failure = Failure(self.kinds[type(error)], str(error))
                failed.append(TokenEvent(request.id, (), failure=failure))
            else:
                well.append(request)
        if failed:
            self._emit(failed)
        if well:
            await super().submit(well)


@contextmanager
def troubled() -> Iterator[None]:
    """Let the embedded engines that begin meanwhile be these."""
    before = {place: ENGINES[place] for place in PLACES}
    for place, name in PLACES.items():
        ENGINES[place] = replace(ENGINES[place], factory=f"{__name__}:{name}")
    try:
        yield
    finally:
        ENGINES.update(before)
