"""Simulated engines that go wrong: at random they raise, run out of memory, are full, hang, die;
and whenever they see a bad item, they do what its mark says (``bad_items``)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, ClassVar

from benchmarks.bad_items import FAILING, HUNGRY, POISON, bad_for, cause_of, texts_of
from teola.runtime.engines.protocol import Failure, Generate, Request, TokenEvent
from teola.runtime.engines.registry import ENGINES, EngineEntry
from teola.runtime.engines.simulated.base import SimulatedBatchEngine
from teola.runtime.engines.simulated.llm import SimulatedLLM
from teola.runtime.engines.simulated.models import SimulatedEmbedder, SimulatedReranker
from teola.runtime.engines.simulated.store import SimulatedStore
from teola.runtime.engines.tokenizer.estimate import FRAME, FourBytes
from teola.runtime.hosts import EngineDied

CHANCES = {"raises": 0.01, "memory": 0.005, "full": 0.01, "hangs": 0.0005, "dies": 0.0005}
"""Of each batch, and of each message with calls."""
NAMES = {"embedder": "Embedder", "reranker": "Reranker", "store": "Store", "llm": "LLM"}


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
_TOKENIZER = FourBytes()


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


def _strike(mark: str) -> None:
    """What an engine does at a bad item."""
    cause = cause_of(mark)
    TROUBLE.told[cause] += 1
    if cause == POISON:
        raise EngineDied(mark)
    if cause == HUNGRY:
        raise MemoryError(mark)
    if cause == FAILING:
        raise ValueError(mark)


class _Batches(SimulatedBatchEngine):
    """Goes before a batch engine."""

    kind: ClassVar[str]

    async def run(self, batch: Sequence[Request]) -> Any:
        """See ``BatchEngine.run``."""
        if mark := bad_for(self.kind, texts_of(batch)):
            _strike(mark)
        failure = await _happen(TROUBLE.next())
        return [failure] * len(batch) if failure else await super().run(batch)


class Embedder(_Batches, SimulatedEmbedder):
    """A simulated embedder in trouble."""

    kind = "embedder"


class Reranker(_Batches, SimulatedReranker):
    """A simulated reranker in trouble."""

    kind = "reranker"


class Store(_Batches, SimulatedStore):
    """A simulated store in trouble."""

    kind = "store"


class LLM(SimulatedLLM):
    """A simulated LLM in trouble: calls fail or are refused, and are sometimes never answered."""

    async def submit(self, requests: Sequence[Generate]) -> None:
        """See ``LLMEngine.submit``."""
        well = [request for request in requests if not self._fails(request)]
        what = TROUBLE.next()
        if what == "hangs":
            return
        if what in ("memory", "raises", "full"):
            kind = "engine" if what == "raises" else what
            for request in well:
                self._tell(request, Failure(kind, "the soak broke it"))
            return
        await _happen(what)
        await super().submit(well)

    def _fails(self, request: Generate) -> bool:
        """Whether a call is a bad one; it has failed then."""
        mark = bad_for("llm", iter([_text(request)]))
        if mark is None:
            return False
        try:
            _strike(mark)
        except MemoryError:
            self._tell(request, Failure("memory", mark))
        except ValueError:
            self._tell(request, Failure("engine", mark))
        return True

    def _tell(self, request: Generate, failure: Failure) -> None:
        event = TokenEvent(request.id, (), failure=failure)
        asyncio.get_running_loop().call_soon(self._emit, [event])


def _text(request: Generate) -> str:
    """A prompt without the frames of its template."""
    return _TOKENIZER.decode([token for token in request.tokens if token != FRAME])


@contextmanager
def troubled(seed: int) -> Iterator[Trouble]:
    """Let all simulated engines of this process be in trouble meanwhile."""
    before = dict(ENGINES)
    TROUBLE.begin(seed)
    for kind, name in NAMES.items():
        ENGINES[kind, "simulated"] = EngineEntry(f"{__name__}:{name}", host="loop")
    try:
        yield TROUBLE
    finally:
        ENGINES.update(before)
