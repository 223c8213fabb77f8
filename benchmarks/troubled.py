"""Simulated engines that go wrong at random: they raise, run out of memory, are full, hang, die."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

from teola.runtime.engines.protocol import Failure, Generate, Request, TokenEvent
from teola.runtime.engines.registry import ENGINES, EngineEntry
from teola.runtime.engines.simulated.base import SimulatedBatchEngine
from teola.runtime.engines.simulated.llm import SimulatedLLM
from teola.runtime.engines.simulated.models import SimulatedEmbedder, SimulatedReranker
from teola.runtime.engines.simulated.store import SimulatedStore
from teola.runtime.hosts import EngineDied

CHANCES = {"raises": 0.01, "memory": 0.005, "full": 0.01, "hangs": 0.0005, "dies": 0.0005}
"""Of each batch, and of each message with calls."""


class Trouble:
    """What happens next, drawn with one seed; ``told`` counts it."""

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, seed: int) -> None:
        """Begin anew."""
        self.random = Random(f"trouble:{seed}")  # noqa: S311 - no secret
        self.told: Counter[str] = Counter()

    def next(self) -> str | None:
        """What goes wrong now, if anything does."""
        drawn = self.random.random()
        for name, chance in CHANCES.items():
            drawn -= chance
            if drawn < 0:
                self.told[name] += 1
                return name
        return None


TROUBLE = Trouble()


async def _happen(what: str | None) -> Failure | None:
    if what == "hangs":
        await asyncio.Event().wait()
    if what == "dies":
        raise EngineDied("the soak ended it")
    if what == "memory":
        raise MemoryError("the soak took it")
    if what == "raises":
        raise ValueError("the soak broke it")
    return Failure("full", "the soak filled it") if what == "full" else None


class _Batches(SimulatedBatchEngine):
    """Goes before a batch engine."""

    async def run(self, batch: Sequence[Request]) -> Any:
        """See ``BatchEngine.run``."""
        failure = await _happen(TROUBLE.next())
        return [failure] * len(batch) if failure else await super().run(batch)


class Embedder(_Batches, SimulatedEmbedder):
    """A simulated embedder in trouble."""


class Reranker(_Batches, SimulatedReranker):
    """A simulated reranker in trouble."""


class Store(_Batches, SimulatedStore):
    """A simulated store in trouble."""


class LLM(SimulatedLLM):
    """A simulated LLM in trouble: calls fail or are refused, and are sometimes never answered."""

    async def submit(self, requests: Sequence[Generate]) -> None:
        """See ``LLMEngine.submit``."""
        what = TROUBLE.next()
        if what == "hangs":
            return
        if what in ("memory", "raises", "full"):
            failure = Failure("engine" if what == "raises" else what, "the soak broke it")
            events = [TokenEvent(request.id, (), failure=failure) for request in requests]
            asyncio.get_running_loop().call_soon(self._emit, events)
            return
        await _happen(what)
        await super().submit(requests)


def install(seed: int) -> Trouble:
    """Let all simulated engines of this process be in trouble."""
    TROUBLE.begin(seed)
    for kind, name in (("embedder", "Embedder"), ("reranker", "Reranker"), ("store", "Store")):
        ENGINES[kind, "simulated"] = EngineEntry(f"benchmarks.troubled:{name}", host="loop")
    ENGINES["llm", "simulated"] = EngineEntry("benchmarks.troubled:LLM", host="loop")
    return TROUBLE
