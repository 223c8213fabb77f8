"""Simulated small models: embedder and reranker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from teola.compiler.cost.shapes import CHUNK
from teola.runtime.engines.protocol import Capabilities, Failure, Request
from teola.runtime.engines.simulated.base import SimulatedBatchEngine, number


class SimulatedEmbedder(SimulatedBatchEngine):
    """Its vectors have one number, which stands for the text."""

    operations = ("embed",)

    async def start(self) -> Capabilities:
        """Ready at once."""
        return replace(await super().start(), limit=CHUNK, dimension=1)

    def results(self, request: Request) -> Sequence[Any] | Failure:
        return [(number(text),) for text in request.items]


class SimulatedReranker(SimulatedBatchEngine):
    """Scores that depend on query and passage only."""

    operations = ("score",)

    def results(self, request: Request) -> Sequence[Any] | Failure:
        return [number(request.common["query"], passage) for passage in request.items]
