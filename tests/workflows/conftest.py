"""The gallery's workflows on the real models: one pool for the session, everything recorded."""

import asyncio
import json
from collections import defaultdict

import pytest

from teola.compiler.api import compile_workflow
from teola.compiler.locations import gallery
from teola.runtime import EnginePool, Runner
from teola.runtime.record import Record

FLOAT32 = tuple(f"engines.{name}.dtype=float32" for name in ("llm", "embedder"))
SHORT_ANSWERS = {
    "advanced_rag": (
        *FLOAT32,
        "engines.reranker.dtype=float32",
        "modules.answer.with.sampling.max_tokens=24",
        "modules.expand.with.sampling.max_tokens=48",
    ),
    "naive_rag": (*FLOAT32, "modules.answer.with.sampling.max_tokens=24"),
}
QUERY_S = 270


class RealModels:
    """Runs workflows on one pool of real engines, and answers others from what they answered."""

    def __init__(self, loop_runner):
        self._loop = loop_runner
        self.record = Record()
        self.kept = defaultdict(dict)
        self._pool = self._run(self._make(self.record.recording))

    async def _make(self, wrap):
        return EnginePool(wrap=wrap)

    def _run(self, work):
        return self._loop.run(asyncio.wait_for(work, QUERY_S))

    def plan(self, name, level="O2", *, sets=()):
        """The plan of a gallery workflow with short answers, in float32."""
        return compile_workflow(name, level=level, sets=(*SHORT_ANSWERS[name], *sets))

    def ask(self, source, *, keep=False, **inputs):
        """One run on the real engines; ``keep`` what they answer for replays of this workflow."""
        self.record.answers = self.kept[source.graph.name] if keep else {}
        return self._run(self._ask(self._pool, source, inputs))

    def ask_together(self, source, questions):
        """A run for each question, all at once, sharing what is equal."""

        async def asked():
            async with Runner(source, pool=self._pool) as runner:
                return await asyncio.gather(*(runner.run(question=one) for one in questions))

        return self._run(asked())

    def replay(self, source, **inputs):
        """One run answered from what was kept of its workflow alone: another one's vectors may
        differ in their last bits, for the same text was embedded in a batch of another shape."""

        async def replayed():
            async with EnginePool(wrap=self.record.replaying) as pool:
                return await self._ask(pool, source, inputs)

        self.record.missing, self.record.answers = 0, self.kept[source.graph.name]
        return self._run(replayed())

    async def _ask(self, pool, source, inputs):
        async with Runner(source, pool=pool, share=False) as runner:
            return await runner.run(**inputs)

    def close(self):
        assert self._run(self._pool.inspect()) == []
        self._run(self._pool.close())


@pytest.fixture(scope="session")
def real_models():
    """The real engines, started once."""
    with asyncio.Runner() as loop_runner:
        models = RealModels(loop_runner)
        yield models
        models.close()


@pytest.fixture(scope="session")
def few_documents():
    """Two pages of the sample: enough to search in, quick to embed."""
    folder = gallery() / "data" / "sqlite"
    return [str(folder / name) for name in ("isolation.md", "transactions.txt")]


@pytest.fixture(scope="session")
def sample_questions():
    """The sample's questions, with the passages that answer them."""
    lines = (gallery() / "data" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]
