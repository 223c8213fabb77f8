"""Probes of the operations on texts: embed and score."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from teola.runtime.engines.protocol import Failure, Request
from teola.runtime.profiling.errors import MeasureError
from teola.runtime.profiling.probe import Probe, Sample, Subject, sample
from teola.runtime.profiling.texts import Texts

USUAL = 128
LENGTHS = (16, 64, 256, 512)
QUERY = 16
"""Tokens of the query that passages are scored for."""


async def answered(subject: Subject, request: Request) -> Sequence[Any]:
    """The results of one request.

    Raises:
        MeasureError: it or one of its items failed.
    """
    (results,) = await subject.handle.run([request])
    if isinstance(results, Failure):
        raise MeasureError(results.message)
    if isinstance(results, (list, tuple)):
        for result in results:
            if isinstance(result, Failure):
                raise MeasureError(result.message)
    return results


class TextProbe(Probe):
    """Batches of texts, all different."""

    operation: str

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.texts = Texts(subject.tokenizer())
        limit = subject.capabilities.limit
        most = LENGTHS[-1] if limit is None else self.room(limit)
        self.max_items = subject.capabilities.max_items
        self.usual = min(USUAL, most)
        self.lengths = tuple(dict.fromkeys(min(length, most) for length in LENGTHS))

    def room(self, limit: int) -> int:
        """The longest item where a text may have ``limit`` tokens."""
        return limit

    def common(self) -> Mapping[str, Any]:
        """What the texts of a batch have in common."""
        return {}

    async def run(self, items: int, tokens: int) -> Sample:
        made = [self.texts.text(tokens) for _ in range(items)]
        request = Request(self.operation, [text for text, _ in made], self.common())
        clock = asyncio.get_running_loop().time
        began = clock()
        await answered(self.subject, request)
        return sample(clock() - began, sum(count for _, count in made) / items)


class Embed(TextProbe):
    """Texts to vectors."""

    operation = "embed"


class Score(TextProbe):
    """Passages for one query, another one in each batch. A model may read both as one text."""

    operation = "score"

    def room(self, limit: int) -> int:
        return max(1, limit - QUERY)

    def common(self) -> Mapping[str, Any]:
        return {"query": self.texts.text(min(QUERY, self.usual))[0]}
