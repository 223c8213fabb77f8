"""What a run tells of its sizes: measured_sizes reads the true numbers from its result."""

import json
from collections import Counter
from statistics import mean

import pytest

from teola.compiler.api import compilation, compile_workflow
from teola.compiler.cost.sizes import measured_sizes
from teola.compiler.explain import explain
from teola.compiler.explain.run_file import FinishedRun
from teola.runtime.engines.tokenizer import ByteTokenizer
from teola.runtime.instance.context import TaskContext
from teola.runtime.operations.chunks import Chunk
from tests.runtime.workbench import plan, virtual

FAKES = [
    f"engines.{name}={{kind: {name}, backend: fake}}"
    for name in ("llm", "embedder", "reranker", "store")
]
QUESTION = "Which wörds are where?"
DOCUMENTS = [
    {"name": f"d{number}", "text": " ".join(f"word{number * n}" for n in range(200 * number))}
    for number in (1, 2, 3)
]
count = ByteTokenizer().count


def fakes(name):
    """The settings that make its engines fakes."""
    return [one for one in FAKES if name == "advanced_rag" or "reranker" not in one]


async def measured(bench, source):
    """A run's sizes, by way of JSON, and how many tokens each call decoded."""
    decoded = Counter()

    def hear(events):
        decoded.update({event.id: len(event.tokens) for event in events})
        return events

    bench.prepared.append(lambda spy: setattr(spy, "on_events", hear))
    result = await bench.run(source, share=False, question=QUESTION, documents=DOCUMENTS)
    written = json.loads(json.dumps(result.to_json()))
    return measured_sizes(written, source.graph), decoded


@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
@pytest.mark.parametrize("name", ["naive_rag", "advanced_rag"])
@virtual
async def test_documents_and_chunks_have_their_numbers_and_tokens(bench, name, level):
    """Items and mean tokens of documents and chunks, tokens of the question."""
    source = compile_workflow(name, level=level, sets=fakes(name))
    found, _ = await measured(bench, source)
    chunks = [chunk["text"] for chunk, _ in bench.spy("store").items("ingest")]
    assert len(set(chunks)) == len(chunks) > 20
    assert found.items["documents"] == 3
    assert found.tokens["documents"] == round(mean(count(one["text"]) for one in DOCUMENTS))
    assert found.items["chunks.chunk:chunks"] == len(chunks)
    assert found.tokens["chunks.chunk:chunks"] == round(mean(map(count, chunks)))
    assert found.tokens["question"] == len(QUESTION.encode())


@pytest.mark.parametrize("level", ["O0", "O2"])
@virtual
async def test_lists_and_calls_of_the_advanced_workflow_have_theirs(bench, level):
    """Queries, hits and passages; the tokens of prompts and answers, means in a region."""
    source = compile_workflow("advanced_rag", level=level, sets=FAKES)
    found, decoded = await measured(bench, source)
    calls = [one for one in bench.spy("llm").submitted if not one.warm]
    expand, first, *refine = calls
    chunks = {chunk["text"] for chunk, _ in bench.spy("store").items("ingest")}
    queries = [text for text in bench.spy("embedder").items("embed") if text not in chunks]
    passages = bench.spy("reranker").items("score")
    assert found.items["expand.decode:lines"] == 3
    assert found.items["expand.concat:items"] == found.items["found.search:hits"] == 4
    assert found.tokens["expand.concat:items"] == round(mean(map(count, queries)))
    assert found.items["found.flatten:items"] == 4 * 16
    assert found.items["found.distinct:items"] == len(passages) < 64
    assert found.tokens["found.distinct:items"] == round(mean(map(count, passages)))
    assert (found.items["best.top:items"], found.items["answer.take_2:items"]) == (3, 2)
    assert found.tokens["expand.prefill"] == len(expand.tokens)
    assert found.tokens["answer.prefill"] == len(first.tokens)
    assert found.tokens["answer.refine.prefill"] == round(mean(len(one.tokens) for one in refine))
    assert found.tokens["answer.decode"] == decoded[first.id]
    assert found.tokens["answer.refine.decode"] == round(mean(decoded[one.id] for one in refine))
    assert len(refine) == 2


@pytest.mark.parametrize("name", ["naive_rag", "advanced_rag"])
@virtual
async def test_an_explanation_of_a_run_has_every_size_measured(bench, name):
    """No size that the prediction counts with is assumed."""
    made = compilation(name, sets=fakes(name))
    found, _ = await measured(bench, made.plan)
    told = explain(made, run=FinishedRun(found, 1.0, {}, {}))
    assert {fact.origin for fact in told.sizes} == {"measured"}


@pytest.mark.parametrize(
    ("by", "tokens"),
    [("tokens", True), ("sentences", True), ("markdown", True), ("characters", False)],
)
def test_cutting_tells_the_tokens_of_each_document(by, tokens):
    """However it is cut, also where nothing is in it; characters are no tokens."""
    told = []
    texts = ["A sentence. Another one, längere.", "", "  ", "word " * 100]
    config = {"size": 40, "by": by, **({"tokenizer": "emb"} if tokens else {})}
    context = TaskContext(config, tokenizer=lambda _: ByteTokenizer(), counted=told.extend)
    documents = [{"name": str(number), "text": text} for number, text in enumerate(texts)]
    Chunk().compute({"documents": documents}, config, context)
    assert told == ([count(text) for text in texts] if tokens else [])


@virtual
async def test_equal_items_count_once_among_those_an_engine_took(bench):
    """The mean is that of what the engine worked on; the length is that of the list."""
    source = plan(
        """
        input texts: list<text>
        %e.embed = embed texts=%inputs:texts {engine = emb} @e
        output vectors: list<embedding> = %e.embed:embeddings
        """
    )
    result = await bench.run(source, texts=["aa", "aa", "aa", "bbbb"])
    (entry,) = result.timeline
    assert (entry.items, entry.emitted, entry.item_tokens) == (4, {"embeddings": 4}, 5.0)


@virtual
async def test_an_engine_that_counts_no_tokens_says_nothing_of_them(bench):
    """Lengths are there all the same."""
    source = plan(
        """
        input texts: list<text>
        %e.embed = embed texts=%inputs:texts {engine = emb} @e
        output vectors: list<embedding> = %e.embed:embeddings
        """
    )
    bench.prepared.append(lambda spy: setattr(spy, "before_run", uncounted(spy)))
    result = await bench.run(source, texts=["aa", "bbbb"])
    (entry,) = result.timeline
    assert (entry.emitted, entry.item_tokens) == ({"embeddings": 2}, None)


def uncounted(spy):
    """What the engine gives, without its counts."""

    async def run(batch):
        return list(await spy.handle.run(batch))

    return run
