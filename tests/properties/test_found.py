"""What generated cases have found, each as small as it could be made."""

import asyncio

import pytest

from teola.compiler.api import compile_workflow
from teola.compiler.passes.pipeline import parse_pipeline
from teola.runtime.engines.faiss import FaissStore
from teola.runtime.engines.fakes.embedder import embed
from teola.runtime.engines.fakes.store import FakeStore
from teola.runtime.engines.protocol import Request
from teola.runtime.simulation.clock import pass_time
from tests.runtime.workbench import virtual

CHUNKS = [
    {"id": f"{document}{index}", "text": "same", "document": document, "index": index}
    for document in ("d0", "d1")
    for index in range(2)
]
VECTORS = embed(["same"] * len(CHUNKS), 8)


@pytest.mark.parametrize("kind", [FakeStore, pytest.param(FaissStore, marks=pytest.mark.models)])
def test_groups_that_come_late_change_no_search(kind):
    """A group that failed at first is ingested after the next one: of chunks that are equally near
    the same ones are found, in the same order."""

    async def found(order):
        store = kind({"metric": "cosine"})
        await store.start()
        for row in order:
            item = (CHUNKS[row], VECTORS[row])
            await store.run([Request("ingest", [item], {"collection": "c", "pending": "p"})])
        await store.control("publish", {"collection": "c", "pending": "p"})
        asked = Request("search", [VECTORS[0]], {"collection": "c", "top_k": 3})
        (((*hits,),),) = await store.run([asked])
        return [hit["id"] for hit in hits]

    assert asyncio.run(found([0, 1, 2, 3])) == asyncio.run(found([2, 3, 1, 0]))


REFINED = """
teola: 1
name: refined
inputs: {question: text, names: list<text>}
engines: {llm: {kind: llm, backend: fake, per_item_ms: 50}}
modules:
  answer:
    uses: synthesize
    inputs: {passages: inputs.names, question: inputs.question}
    with: {mode: refine, sampling: {max_tokens: 80}}
outputs: {answer: answer.text}
"""


@virtual
async def test_a_fold_that_is_cancelled_begins_no_further_iteration(bench, tmp_path):
    """The calls that are cancelled with it are no iterations that have ended: what was begun for
    them was nobody's, and its warm-ups stayed."""
    file = tmp_path / "refined.yaml"
    file.write_text(REFINED, encoding="utf-8")
    passes = parse_pipeline("split-prefill{min-new-tokens=16,ahead=1}")
    inputs = {"question": "why", "names": ["blue slow", "answer river", "seven", "slow", "lake"]}
    async with bench.runner(compile_workflow(file, passes=passes), share=False) as runner:
        running, doomed = (asyncio.ensure_future(runner.run(**inputs)) for _ in range(2))
        await pass_time(0.259)
        before = len(bench.spy("llm").submitted)
        doomed.cancel()
        await asyncio.gather(doomed, return_exceptions=True)
        assert len(bench.spy("llm").submitted) == before
        assert (await running)["answer"]
