"""The public fakes: deterministic, different for different items, and as strict as real engines."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.engines import find_entry
from teola.runtime.engines.fakes.embedder import embed
from teola.runtime.engines.fakes.llm import answer
from teola.runtime.engines.fakes.reranker import score
from teola.runtime.engines.fakes.store import similarities
from teola.runtime.engines.protocol import Failure, Generate, Request
from teola.runtime.engines.tokenizer import ByteTokenizer
from teola.runtime.errors import RunError
from teola.runtime.hosts import EngineDied, connect
from teola.runtime.shapes import LinesShape
from teola.runtime.simulation.clock import run_virtually

texts = st.text(max_size=20)
METRICS = ("cosine", "inner_product", "l2")


async def started(kind, **config):
    """A fake as a workflow gets it: by its entry, on the loop."""
    handle = connect(find_entry(kind, "fake"), {"kind": kind, "backend": "fake", **config})
    handle.tokens = {}
    handle.ends = {}
    handle.steps = []
    handle.stepped = asyncio.Event()

    def emit(events):
        handle.steps.append(events)
        handle.stepped.set()
        for event in events:
            handle.tokens.setdefault(event.id, []).extend(event.tokens)
            if event.finish_reason or event.failure:
                assert event.id not in handle.ends
                handle.ends[event.id] = event.failure or event.finish_reason

    handle.listen(emit)
    await handle.start()
    return handle


async def step(handle):
    """Wait for the next step."""
    handle.stepped.clear()
    await handle.stepped.wait()


async def ended(handle, count):
    """Wait until so many requests have ended."""
    while len(handle.ends) < count:
        await step(handle)


def one(kind, operation, items, common=None, **config):
    """The results of one request to a fresh engine."""

    async def scenario():
        engine = await started(kind, **config)
        (results,) = await engine.run([Request(operation, items, common or {})])
        return results

    return run_virtually(scenario())


@given(st.lists(texts, unique=True, max_size=8), st.integers(1, 40))
def test_embeddings_are_unit_vectors_of_their_text_alone(items, dimension):
    """Whatever else is in the batch; different for different texts."""
    rows = embed(items, dimension)
    assert rows.shape == (len(items), dimension)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    for text, row in zip(items, rows, strict=True):
        np.testing.assert_array_equal(row, embed([text], dimension)[0])
    if dimension > 1:
        assert len({row.tobytes() for row in rows}) == len(items)


@given(st.lists(st.tuples(texts, texts), unique=True, max_size=8))
def test_scores_differ_for_different_pairs(pairs):
    """Also where the two texts joined would be the same."""
    scores = [score(query, passage) for query, passage in pairs]
    assert len(set(scores)) == len(pairs)
    assert all(0 <= value < 1 for value in scores)


prompts = st.lists(st.integers(0, 300), max_size=20)


@given(prompts, prompts)
def test_answers_differ_for_different_prompts(one_prompt, other):
    """And are always the same for the same."""
    assert (answer(one_prompt, 256) == answer(other, 256)) == (one_prompt == other)


@given(prompts, st.integers(1, 200))
def test_answers_end_within_the_limit(prompt, limit):
    """Text, never more than asked for; shorter than the limit unless that is 1."""
    tokens = answer(prompt, limit)
    assert 1 <= len(tokens) <= max(1, limit - 1)
    assert len(answer(prompt, limit, ignore_eos=True)) == limit


def test_answers_are_lines():
    """Enough of them for lists, none twice, with characters of several bytes now and then."""
    found = set()
    for prompt in range(20):
        text = ByteTokenizer().decode(answer([prompt], 256))
        shape = LinesShape(None)
        _, lines = shape.push(text)
        lines += shape.finish(False)
        assert len(set(lines)) == len(lines) == 4
        found.update(lines)
    assert len(found) == 80
    assert any(not line.isascii() for line in found)


def test_engines_tell_their_limits():
    """Capabilities come from the settings."""

    async def scenario():
        embedder = await started("embedder", dimension=5, limit_tokens=9, batch_size=3)
        told = embedder.capabilities
        assert (told.dimension, told.limit, told.max_items) == (5, 9, 3)
        llm = await started("llm", context_tokens=7, kv_tokens=8, max_requests=9)
        told = llm.capabilities
        assert (told.context, told.kv_tokens, told.max_requests) == (7, 8, 9)

    run_virtually(scenario())


def test_a_text_over_the_limit_fails_alone():
    """Limits count special tokens; the neighbours are embedded."""
    results = one("embedder", "embed", ["abc", "abcd"], limit_tokens=5)
    assert results[0].shape == (32,)
    assert results[1] == Failure("item", "a text of 6 tokens is over the limit of 5")


def test_the_reranker_scores_each_passage():
    """One number a passage, for the request's query."""
    results = one("reranker", "score", ["a", "b"], {"query": "q"})
    assert results == [score("q", "a"), score("q", "b")]


def test_the_llm_streams_by_steps():
    """All requests in one message a step; the last event has the reason and the eos is no token."""

    async def scenario():
        llm = await started("llm")
        await llm.submit([Generate("a", [1, 2], 200), Generate("b", [3], 200)])
        await ended(llm, 2)
        assert llm.ends == {"a": "stop", "b": "stop"}
        assert tuple(llm.tokens["a"]) == answer([1, 2], 200)
        assert tuple(llm.tokens["b"]) == answer([3], 200)
        assert [event.id for event in llm.steps[0]] == ["a", "b"]
        assert len(llm.steps) > 2
        assert (await llm.control("describe", {})) == {"running": 0}

    run_virtually(scenario())


def test_the_llm_joins_requests_while_it_runs():
    """Continuous batching: a later request does not wait for an earlier one's end."""

    async def scenario():
        llm = await started("llm", latency_ms=10)
        await llm.submit([Generate("a", [1], 200, ignore_eos=True)])
        await step(handle=llm)
        await step(handle=llm)
        await llm.submit([Generate("b", [2], 10)])
        await ended(llm, 1)
        assert list(llm.ends) == ["b"]
        await llm.close()

    run_virtually(scenario())


def test_an_answer_without_end_has_all_its_tokens():
    """``ignore_eos`` runs to the limit, and says so."""

    async def scenario():
        llm = await started("llm")
        await llm.submit([Generate("a", [1], 33, ignore_eos=True), Generate("b", [1], 1)])
        await ended(llm, 2)
        assert (len(llm.tokens["a"]), llm.ends) == (33, {"a": "length", "b": "length"})

    run_virtually(scenario())


def test_an_aborted_request_is_silent():
    """No event follows; unknown ids are ignored."""

    async def scenario():
        llm = await started("llm")
        await llm.submit([Generate("a", [1], 200), Generate("b", [2], 200)])
        await llm.abort(["a", "nobody"])
        await ended(llm, 1)
        assert list(llm.tokens) == ["b"]

    run_virtually(scenario())


def test_time_passes_on_the_loops_clock():
    """A batch takes its latency and its items' time, a step its prompts' too."""

    async def scenario():
        loop = asyncio.get_running_loop()
        embedder = await started("embedder", latency_ms=1000, per_item_ms=500)
        await embedder.run([Request("embed", ["a", "b"]), Request("embed", ["c"])])
        assert loop.time() == pytest.approx(2.5)
        llm = await started("llm", latency_ms=100, per_item_ms=10, per_token_ms=1)
        await llm.submit([Generate("a", [1] * 40, 16, ignore_eos=True)])
        await ended(llm, 1)
        assert loop.time() == pytest.approx(2.65)

    run_virtually(scenario())


def test_without_latency_no_time_passes():
    """A batch returns without giving up its turn."""

    async def scenario():
        embedder = await started("embedder")
        call = embedder.run([Request("embed", ["a"])])
        with pytest.raises(StopIteration):
            call.send(None)

    run_virtually(scenario())


def test_items_can_be_told_to_fail():
    """Those that contain the text, in every engine."""
    results = one("embedder", "embed", ["good", "so bad"], fail_items=["bad"])
    assert isinstance(results[0], np.ndarray)
    assert results[1].kind == "item"

    async def scenario():
        llm = await started("llm", fail_items=["bad"])
        await llm.submit([Generate("a", [*b"so bad"], 9), Generate("b", [*b"good"], 9)])
        await ended(llm, 2)
        assert llm.ends["a"].kind == "item"
        assert llm.ends["b"] == "stop"

    run_virtually(scenario())


def test_batches_can_be_told_not_to_fit():
    """As out of memory: every request of a batch that is too large."""

    async def scenario():
        embedder = await started("embedder", memory_items=2)
        failures = await embedder.run([Request("embed", ["a", "b"]), Request("embed", ["c"])])
        assert [failure.kind for failure in failures] == ["memory", "memory"]
        assert len((await embedder.run([Request("embed", ["a", "b"])]))[0]) == 2

    run_virtually(scenario())


def test_engines_can_be_told_to_die():
    """After so many batches; a restart is a fresh life."""

    async def scenario():
        embedder = await started("embedder", die_after=1)
        await embedder.run([Request("embed", ["a"])])
        with pytest.raises(EngineDied, match="die after 1"):
            await embedder.run([Request("embed", ["a"])])
        assert embedder.died.done()
        await embedder.restart()
        await embedder.run([Request("embed", ["a"])])
        llm = await started("llm", die_after=0)
        with pytest.raises(EngineDied):
            await llm.submit([Generate("a", [1], 9)])

    run_virtually(scenario())


def chunk(document, index, text="text"):
    """A chunk, with its id made as the runtime makes them: of document, position and text."""
    return {"id": f"{document}-{index}-{text}", "document": document, "index": index, "text": text}


def vector(*numbers):
    return np.array(numbers, np.float32)


class Store:
    """The few things the tests do to a store."""

    def __init__(self, engine):
        self.engine = engine

    async def ingest(self, pending, *pairs, collection="c"):
        request = Request("ingest", pairs, {"collection": collection, "pending": pending})
        (results,) = await self.engine.run([request])
        return results

    async def publish(self, pending, collection="c", **more):
        arguments = {"collection": collection, "pending": pending, **more}
        return await self.engine.control("publish", arguments)

    async def ids(self, *query, collection="c", **common):
        common = {"collection": collection, "top_k": 9, **common}
        (results,) = await self.engine.run([Request("search", [vector(*query)], common)])
        return results if isinstance(results, Failure) else [hit["id"] for hit in results[0]]


def with_store(test, **config):
    """Run a test's coroutine with a fresh fake store."""

    async def scenario():
        await test(Store(await started("store", **config)))

    run_virtually(scenario())


def test_ingest_is_seen_after_publish_only():
    """Groups gather under the pending version and appear in one step."""

    async def scenario(store):
        first, second = chunk("a", 0), chunk("a", 1)
        assert await store.ingest("p", (first, vector(1, 0))) == [None]
        assert (await store.ids(1, 0)).kind == "item"
        await store.ingest("p", (second, vector(0, 1)))
        assert await store.publish("p") == {"count": 2}
        assert await store.ids(1, 0.1) == [first["id"], second["id"]]
        described = await store.engine.control("describe", {})
        assert described["pending"] == []
        assert described["collections"]["c"]["dimension"] == 2

    with_store(scenario)


def test_publishing_replaces_by_document():
    """An edited and shortened document leaves nothing behind; others stay."""

    async def scenario(store):
        old = [chunk("a", index, "old") for index in range(3)]
        other = chunk("b", 0)
        await store.ingest("p", *((one, vector(1, 0)) for one in [*old, other]))
        await store.publish("p")
        new = chunk("a", 0, "new")
        await store.ingest("q", (new, vector(1, 0)))
        assert await store.publish("q") == {"count": 2}
        assert await store.ids(1, 0) == [other["id"], new["id"]]

    with_store(scenario)


def test_writing_a_present_id_does_nothing():
    """A repeated group, as after a retry, adds nothing."""

    async def scenario(store):
        pair = (chunk("a", 0), vector(1, 0))
        await store.ingest("p", pair)
        await store.ingest("p", pair)
        assert await store.publish("p") == {"count": 1}

    with_store(scenario)


def test_discarded_versions_leave_nothing():
    """A failed query publishes nothing; discarding twice is harmless."""

    async def scenario(store):
        await store.ingest("p", (chunk("a", 0), vector(1, 0)))
        assert await store.engine.control("discard", {"pending": "p"})
        assert not await store.engine.control("discard", {"pending": "p"})
        assert await store.publish("p") == {"count": 0}
        assert await store.ids(1, 0) == []

    with_store(scenario)


def test_dropped_collections_are_gone():
    """Searching one says that it is not there."""

    async def scenario(store):
        await store.publish("p")
        assert await store.engine.control("drop", {"collection": "c"})
        assert not await store.engine.control("drop", {"collection": "c"})
        assert "no collection 'c'" in (await store.ids(1, 0)).message

    with_store(scenario)


def test_collections_refuse_other_embedders():
    """Another fingerprint or another dimension is an error, and changes nothing."""

    async def scenario(store):
        await store.ingest("p", (chunk("a", 0), vector(1, 0)))
        await store.publish("p", fingerprint="minilm")
        await store.ingest("q", (chunk("b", 0), vector(1, 0)))
        with pytest.raises(RunError, match="embedder minilm, not of other"):
            await store.publish("q", fingerprint="other")
        await store.ingest("r", (chunk("b", 0), vector(1, 0, 0)))
        with pytest.raises(RunError, match="dimensions 2, 3"):
            await store.publish("r", fingerprint="minilm")
        assert len(await store.ids(1, 0)) == 1

    with_store(scenario)


def test_hits_are_passages():
    """The chunk with score and rank from 1, best first, ties in order of ingestion."""

    async def scenario(store):
        chunks = [chunk("a", index) for index in range(4)]
        vectors = [vector(0, 1), vector(1, 0), vector(1, 0), vector(-1, 0)]
        await store.ingest("p", *zip(chunks, vectors, strict=True))
        await store.publish("p")
        common = {"collection": "c", "top_k": 3, "min_score": 0.0}
        ((hits,),) = await store.engine.run([Request("search", [vector(2, 0)], common)])
        assert hits == [
            {**chunks[1], "score": 1.0, "rank": 1},
            {**chunks[2], "score": 1.0, "rank": 2},
            {**chunks[0], "score": 0.0, "rank": 3},
        ]
        assert await store.ids(2, 0, min_score=0.5) == [chunks[1]["id"], chunks[2]["id"]]

    with_store(scenario)


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_put_the_nearest_first(metric):
    """Larger is nearer in each of them."""
    rows = np.stack([vector(1, 0), vector(3, 4), vector(0, 2)])
    query = vector(0, 1)
    expected = {"cosine": [0, 0.8, 1], "inner_product": [0, 4, 2], "l2": [-2, -18, -1]}[metric]
    np.testing.assert_allclose(similarities(rows, query, metric), expected, rtol=1e-6)


def test_unknown_commands_are_refused():
    """By name."""

    async def scenario():
        for kind in ("embedder", "store"):
            engine = await started(kind)
            with pytest.raises(RunError, match="no command 'dance'"):
                await engine.control("dance", {})

    run_virtually(scenario())
