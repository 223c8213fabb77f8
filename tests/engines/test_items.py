"""What every engine does whose work is items: embedders, rerankers, stores."""

import asyncio
import json
from dataclasses import dataclass, field

import numpy as np
import pytest

from teola.runtime.engines.protocol import Counted, Failure, Request
from teola.runtime.engines.tokenizer import load_tokenizer
from teola.runtime.errors import UnsupportedError
from teola.runtime.hosts import EngineDied

pytestmark = pytest.mark.engines("embedder", "reranker", "store")

TEXTS = [
    "A container image is a stack of read-only layers.",
    "cat",
    "Texts long and short are read in one batch, and each is its own. " * 2,
    "",
    "Ünïcödé ✓ 你好",
    "The scheduler gives each process a slice of time. ",
]
PASSAGES = [
    "The match ended 2:1 after extra time.",
    "Bread is baked in an oven.",
    "A baker kneads the dough, lets it rise and bakes the bread until it is brown.",
    "",
    "bread",
]
QUERY, OTHER_QUERY = "How is bread baked?", "Who won?"
SHELF, SHELVED, DIMENSION = "suite", 60, 16
VECTORS = list(np.random.default_rng(5).standard_normal((12, DIMENSION), dtype=np.float32))


@dataclass
class Work:
    """What an engine is asked: ``items``, with what they have in ``common``, or ``otherwise``."""

    operation: str
    items: list
    common: dict = field(default_factory=dict)
    otherwise: dict | None = None

    def ask(self, client, items):
        return client.items(self.operation, items, **self.common)

    def request(self, items, common=None):
        return Request(self.operation, items, self.common if common is None else common)

    def many(self, count):
        """So many items."""
        return (self.items * (count // len(self.items) + 1))[:count]


WORK = {
    "embedder": Work("embed", TEXTS),
    "reranker": Work("score", PASSAGES, {"query": QUERY}, {"query": OTHER_QUERY}),
    "store": Work(
        "search", VECTORS, {"collection": SHELF, "top_k": 5}, {"collection": SHELF, "top_k": 2}
    ),
}


def shelve(store):
    """Give a store something to find."""
    rows = np.random.default_rng(6).standard_normal((SHELVED, DIMENSION), dtype=np.float32)
    chunks = [
        {"id": f"c{n}", "text": f"text {n}", "document": f"d{n % 7}", "index": n, "meta": {}}
        for n in range(SHELVED)
    ]
    store.items("ingest", list(zip(chunks, rows, strict=True)), collection=SHELF, pending="suite")
    store.control("publish", collection=SHELF, pending="suite")


@pytest.fixture
def work(engine):
    found = WORK[engine.backend.kind]
    if found.operation == "search" and SHELF not in engine.control("describe")["collections"]:
        shelve(engine)
    return found


# The same request, the same result


def test_an_item_gets_the_same_result_alone_in_a_batch_and_again(engine, work, same):
    together = work.ask(engine, work.items)
    alone = [work.ask(engine, [item])[0] for item in work.items]
    again = work.ask(engine, work.items[::-1])[::-1]
    assert same(together, alone)
    assert same(together, again)


@pytest.mark.engines("embedder", "reranker")
def test_another_replica_gives_the_same_results(engine, other, work, same):
    assert same(work.ask(engine, work.items), work.ask(other, work.items))


def test_results_come_in_the_order_of_the_items(engine, work, same):
    items = work.items
    found = list(work.ask(engine, items))
    turned = list(work.ask(engine, items[3:] + items[:3]))
    assert same(found[3:] + found[:3], turned)
    assert not any(same(found[0], one) for one in found[1:])


def test_requests_of_one_batch_keep_apart(engine, work, same):
    more = work.otherwise or work.common
    first, none, second = engine.run(
        work.request(work.items[:2]), work.request([]), work.request(work.items, more)
    )
    assert len(none) == 0
    assert same(first, work.ask(engine, work.items[:2]))
    assert same(second, engine.items(work.operation, work.items, **more))
    if work.otherwise:
        assert not same(list(first), list(second)[:2])


def test_a_full_batch_is_taken(engine, work):
    count = engine.capabilities.max_items
    found = work.ask(engine, work.many(count))
    assert len(found) == count
    assert not any(isinstance(one, Failure) for one in found)


@pytest.mark.engines("embedder", "reranker")
def test_a_batch_of_the_tokens_told_is_taken(engine, work):
    """However many items that are."""
    told = engine.capabilities
    if told.batch_tokens is None:
        pytest.skip("it takes any number")
    text = "bread " * 20
    size = load_tokenizer(engine.config).count(text)
    found = work.ask(engine, [text] * min(told.max_items, told.batch_tokens // size))
    assert not any(isinstance(one, Failure) for one in found)


def test_what_an_engine_says_of_itself_is_plain_data(engine):
    """And what it tells of itself has its figures."""
    told = engine.capabilities
    assert json.loads(json.dumps(told.details)) == told.details
    described = engine.control("describe") if told.figures else {}
    assert all(isinstance(described.get(name), int | float) for name in told.figures)


@pytest.mark.engines("embedder", "reranker", simulated=False)
def test_the_tokens_of_every_item_are_told(engine, work):
    """Request by request, special tokens included: what a run tells of its sizes."""
    found = engine.run(work.request(work.items[:2]), work.request([]))
    assert isinstance(found, Counted)
    count = load_tokenizer(engine.config).count
    assert [list(part) for part in found.tokens] == [[count(one) for one in work.items[:2]], []]


# What goes wrong


@pytest.mark.engines("embedder", "reranker", simulated=False)
def test_an_item_that_never_fits_fails_alone_and_names_the_limit(engine, work, same):
    limit = engine.capabilities.limit
    if limit is None:
        pytest.skip("it has no limit")
    before, too_long, after = work.ask(engine, [work.items[0], "cats " * limit, work.items[1]])
    assert isinstance(too_long, Failure)
    assert too_long.kind == "item"
    assert str(limit) in too_long.message
    assert same([before, after], list(work.ask(engine, work.items[:2])))


@pytest.mark.engines("embedder", "reranker", real=True)
def test_a_long_item_is_cut_where_the_engine_is_told_to(engine, other, work, same):
    if not other.config.get("truncate"):
        pytest.skip("it cuts nothing")
    limit = engine.capabilities.limit
    cut, further = work.ask(other, ["cat " * limit, "cat " * limit + "bread"])
    assert not isinstance(cut, Failure)
    assert same(cut, further)


def test_an_unknown_command_is_refused(engine):
    with pytest.raises(UnsupportedError, match="'compact'"):
        engine.control("compact")


@pytest.mark.engines("embedder", "reranker", mortal=True)
def test_a_death_in_the_middle_of_a_batch_is_told_and_a_new_engine_gives_the_same(
    engine, mortal, work, same
):
    before = work.ask(mortal, work.items)

    async def die():
        batch = [work.request(work.many(mortal.capabilities.max_items))] * 40  # not done at once
        running = asyncio.create_task(mortal.handle.run(batch))
        await asyncio.sleep(0)
        mortal.kill()
        with pytest.raises(EngineDied):
            await running
        with pytest.raises(EngineDied):
            await mortal.handle.run(batch[:1])
        return await mortal.handle.died

    assert isinstance(mortal.wait(die()), EngineDied)
    mortal.restart()
    assert same(before, work.ask(mortal, work.items))
    assert same(before, work.ask(engine, work.items))


# Embedders


def text_of(engine, tokens):
    """A text with so many tokens, special ones included."""
    count = load_tokenizer(engine.config).count
    word = "a" if engine.backend.backend == "fake" else "cat "
    text = word * (tokens - count(""))
    assert count(text) == tokens
    return text


@pytest.mark.engines("embedder", simulated=False)
def test_a_request_gets_one_float32_array_of_unit_vectors(engine):
    rows = np.asarray(engine.items("embed", ["one", "two", "three"]))
    assert rows.dtype == np.float32
    assert rows.shape == (3, engine.capabilities.dimension or rows.shape[1])
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


@pytest.mark.engines("embedder", simulated=False)
def test_an_embedders_limit_is_what_it_tells(engine):
    limit = engine.capabilities.limit
    fits, too_long = engine.items("embed", [text_of(engine, limit), text_of(engine, limit + 1)])
    assert not isinstance(fits, Failure)
    assert isinstance(too_long, Failure)
    assert str(limit + 1) in too_long.message


@pytest.mark.engines("embedder", meaning=True)
def test_what_means_the_same_is_near(engine):
    question, answer, other = engine.items(
        "embed",
        ["How is bread baked?", "Dough is baked in an oven until brown.", "The match ended 2:1."],
    )
    assert question @ answer > question @ other + 0.2


# Rerankers


@pytest.mark.engines("reranker")
def test_a_score_is_a_number(engine, work):
    assert all(type(score) is float for score in work.ask(engine, work.items))


@pytest.mark.engines("reranker", real=True)
def test_a_query_that_never_fits_fails_its_request_only(engine, work, same):
    query = "cat " * engine.capabilities.limit
    failed, scores = engine.run(
        work.request(work.items, {"query": query}), work.request(work.items)
    )
    for one in [failed] if isinstance(failed, Failure) else failed:
        assert (one.kind, one.message.startswith("the query has")) == ("item", True)
    assert same(scores, work.ask(engine, work.items))


@pytest.mark.engines("reranker", meaning=True)
def test_what_answers_the_question_scores_more(engine):
    match, oven, baker, empty, _word = engine.items("score", PASSAGES, query=QUERY)
    assert min(oven, baker) > match > empty
