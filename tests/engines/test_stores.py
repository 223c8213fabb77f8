"""What every store does: atomic ingest, replacing by document, exact search with ties in order."""

import asyncio

import numpy as np
import pytest

from teola.compiler.where import parse_where
from teola.runtime.engines.protocol import Failure, Request
from teola.runtime.errors import RunError, UnsupportedError
from teola.runtime.hosts import EngineDied

AXES = np.eye(4, dtype=np.float32)


def chunk(name, document="book"):
    return {
        "id": name,
        "text": f"text of {name}",
        "document": document,
        "index": 0,
        "context": None,
        "meta": {"from": document},
    }


def ingest(store, pending, rows, collection="shelf"):
    return store.items("ingest", rows, collection=collection, pending=pending)


def publish(store, rows, collection="shelf", **more):
    ingest(store, "new", rows, collection)
    return store.control("publish", collection=collection, pending="new", **more)


def search(store, vector, top_k=10, collection="shelf", **more):
    (found,) = store.items(
        "search", [np.asarray(vector, np.float32)], collection=collection, top_k=top_k, **more
    )
    return found


def names(found):
    return [passage["id"] for passage in found]


def test_passages_come_best_first_with_score_and_rank(store):
    publish(store, [(chunk("a"), AXES[0]), (chunk("b"), AXES[0] + AXES[1]), (chunk("c"), AXES[1])])
    found = search(store, AXES[1])
    assert names(found) == ["c", "b", "a"]
    assert [passage["rank"] for passage in found] == [1, 2, 3]
    assert [passage["score"] for passage in found] == pytest.approx([1, 0.5**0.5, 0], abs=1e-6)
    assert all(type(passage["score"]) is float for passage in found)
    assert found[0] == {**chunk("c"), "score": found[0]["score"], "rank": 1}


def test_equal_scores_come_in_the_order_of_the_chunks(store):
    publish(store, [(chunk(f"c{number:02}"), AXES[number % 2]) for number in range(40)])
    assert names(search(store, AXES[1], 3)) == ["c01", "c03", "c05"]
    assert names(search(store, AXES[1], 21))[-2:] == ["c39", "c00"]


def test_top_k_larger_than_the_collection_gives_all(store):
    publish(store, [(chunk("a"), AXES[0])])
    assert names(search(store, AXES[0], 50)) == ["a"]
    assert search(store, AXES[0], 0) == []


def test_passages_under_min_score_are_left_out(store):
    publish(store, [(chunk("a"), AXES[0]), (chunk("b"), AXES[1])])
    assert names(search(store, AXES[0], min_score=0.5)) == ["a"]
    assert search(store, AXES[2], min_score=0.5) == []


def test_a_query_finds_the_same_alone_and_in_a_batch(store):
    numbers = np.random.default_rng(1)
    vectors = numbers.standard_normal((200, 16), dtype=np.float32)
    publish(store, [(chunk(f"c{place}"), vector) for place, vector in enumerate(vectors)])
    queries = list(numbers.standard_normal((40, 16), dtype=np.float32))
    together = store.items("search", queries, collection="shelf", top_k=5)
    assert together == [search(store, query, 5) for query in queries]


def test_requests_of_one_batch_keep_apart(store):
    publish(store, [(chunk("a"), AXES[0]), (chunk("b"), AXES[1])])
    common = {"collection": "shelf", "top_k": 1}
    first, none, unknown, second = store.run(
        Request("search", [AXES[0]], common),
        Request("search", [], common),
        Request("search", [AXES[0]], {**common, "collection": "nowhere"}),
        Request("search", [AXES[1]], common),
    )
    assert (names(first[0]), none, names(second[0])) == (["a"], [], ["b"])
    assert isinstance(unknown, Failure)


def test_requests_that_ask_differently_find_together_what_each_finds_alone(store):
    """Of a batch in any order: other collections, numbers, conditions and scores."""
    numbers = np.random.default_rng(2)
    for name in ("shelf", "cellar"):
        vectors = numbers.standard_normal((60, 8), dtype=np.float32)
        rows = [(chunk(f"{name}{at}", f"d{at % 3}"), one) for at, one in enumerate(vectors)]
        publish(store, rows, name)
    ways = [
        {"collection": "shelf", "top_k": 5},
        {"collection": "cellar", "top_k": 5},
        {"collection": "shelf", "top_k": 2},
        {"collection": "shelf", "top_k": 5, "where": parse_where("meta.from == 'd1'")},
        {"collection": "shelf", "top_k": 5, "min_score": 0.2},
        {"collection": "nowhere", "top_k": 5},
    ]
    queries = list(numbers.standard_normal((40, 8), dtype=np.float32))
    batch = [
        Request("search", queries[at : at + size], ways[at % len(ways)])
        for at, size in zip(range(36), (1, 0, 2, 3) * 9, strict=True)
    ]
    together = store.run(*batch)
    for request, found in zip(batch, together, strict=True):
        (alone,) = store.run(request)
        assert found == alone


def test_an_unknown_collection_is_named(store):
    failure = store.items("search", [AXES[0]], collection="nowhere", top_k=1)
    assert isinstance(failure, Failure)
    assert failure.kind == "item"
    assert "'nowhere'" in failure.message


def test_a_collection_of_nothing_answers_nothing(store):
    assert publish(store, []) == {"count": 0}
    assert search(store, AXES[0]) == []
    assert publish(store, [(chunk("a"), AXES[0])]) == {"count": 1}
    assert names(search(store, AXES[0])) == ["a"]


def test_nothing_is_seen_before_it_is_published(store):
    publish(store, [(chunk("a"), AXES[0])])
    ingest(store, "p1", [(chunk("b", "other"), AXES[1])])
    ingest(store, "p1", [(chunk("c", "other"), AXES[2])])
    assert names(search(store, AXES[1])) == ["a"]
    store.control("publish", collection="shelf", pending="p1")
    assert names(search(store, AXES[1])) == ["b", "a", "c"]


def test_what_is_discarded_leaves_nothing(store):
    ingest(store, "p1", [(chunk("b"), AXES[1])])
    assert store.control("describe")["pending"] == ["p1"]
    store.control("discard", pending="p1")
    store.control("discard", pending="p1")
    assert store.control("describe") == {"collections": {}, "pending": []}


def test_publishing_replaces_by_document(store):
    publish(
        store,
        [
            (chunk("a1", "a"), AXES[0]),
            (chunk("a2", "a"), AXES[0]),
            (chunk("b1", "b"), AXES[0]),
            (chunk("a3", "a"), AXES[0]),
        ],
    )
    assert publish(store, [(chunk("a1", "a"), AXES[0])]) == {"count": 2}
    assert sorted(names(search(store, AXES[0]))) == ["a1", "b1"]


def test_a_document_without_chunks_replaces_what_was_there(store):
    publish(store, [(chunk("a", "a"), AXES[0]), (chunk("b", "b"), AXES[1])])
    assert publish(store, [], documents=["b", "unknown"]) == {"count": 1}
    assert names(search(store, AXES[1])) == ["a"]
    assert publish(store, [], documents=["a"]) == {"count": 0}
    assert search(store, AXES[1]) == []
    assert publish(store, [(chunk("b", "b"), AXES[1])], documents=["b"]) == {"count": 1}


def test_writing_what_is_there_changes_nothing(store):
    rows = [(chunk("a1", "a"), AXES[0]), (chunk("a2", "a"), AXES[1])]
    publish(store, rows)
    before = search(store, AXES[0])
    ingest(store, "new", rows)
    assert publish(store, rows) == {"count": 2}
    assert search(store, AXES[0]) == before


def test_two_pending_versions_keep_apart(store):
    ingest(store, "p1", [(chunk("a", "a"), AXES[0])])
    ingest(store, "p2", [(chunk("b", "b"), AXES[0])])
    store.control("discard", pending="p1")
    store.control("publish", collection="shelf", pending="p2")
    assert names(search(store, AXES[0])) == ["b"]


def test_a_dropped_collection_is_unknown(store):
    publish(store, [(chunk("a"), AXES[0])])
    publish(store, [(chunk("b"), AXES[0])], collection="kept")
    store.control("drop", collection="shelf")
    store.control("drop", collection="shelf")
    assert isinstance(store.items("search", [AXES[0]], collection="shelf", top_k=1), Failure)
    assert names(search(store, AXES[0], collection="kept")) == ["b"]


def test_a_death_in_the_middle_of_an_ingest_is_told_and_publishes_nothing(store):
    """To who waits and to who comes. A durable store has what it had; any other nothing."""
    publish(store, [(chunk("a"), AXES[0]), (chunk("b", "paper"), AXES[1])])
    rows = [(chunk(f"c{number}"), AXES[number % 4]) for number in range(50)]
    common = {"collection": "shelf", "pending": "lost"}

    async def die():
        running = asyncio.create_task(store.handle.run([Request("ingest", rows, common)] * 20))
        await asyncio.sleep(0)
        store.kill()
        with pytest.raises(EngineDied):
            await running
        with pytest.raises(EngineDied):
            await store.handle.control("publish", common)
        return await store.handle.died

    assert isinstance(store.wait(die()), EngineDied)
    store.restart()
    described = store.control("describe")
    assert described["pending"] == []
    if store.backend.durable:
        assert names(search(store, AXES[0])) == ["a", "b"]
        publish(store, [(chunk("d"), AXES[2])])
        assert names(search(store, AXES[2])) == ["d", "b"]
    else:
        assert described["collections"] == {}
        (lost,) = store.run(Request("search", [AXES[0]], {"collection": "shelf", "top_k": 1}))
        assert isinstance(lost, Failure)
        assert "there is no collection 'shelf'" in lost.message


def test_describe_says_what_is_there(store):
    publish(store, [(chunk("a"), AXES[0])], fingerprint="minilm")
    assert store.control("describe")["collections"] == {
        "shelf": {"count": 1, "dimension": 4, "fingerprint": "minilm"}
    }


def test_vectors_of_another_dimension_are_refused_and_change_nothing(store):
    publish(store, [(chunk("a"), AXES[0])])
    with pytest.raises(RunError, match="dimensions 2, 4"):
        publish(store, [(chunk("b", "b"), np.ones(2, np.float32))])
    assert names(search(store, AXES[0])) == ["a"]


def test_another_embedder_is_refused_and_changes_nothing(store):
    publish(store, [(chunk("a"), AXES[0])], fingerprint="one")
    with pytest.raises(RunError, match="embedder one, not of two"):
        publish(store, [(chunk("b", "b"), AXES[0])], fingerprint="two")
    assert names(search(store, AXES[0])) == ["a"]


def test_an_unknown_command_is_refused(store):
    with pytest.raises(UnsupportedError, match="'compact'"):
        store.control("compact")


@pytest.mark.parametrize(
    ("metric", "best", "scores"),
    [
        ("cosine", "near", [1, 2**-0.5]),
        ("inner_product", "far", [20, 2]),
        ("l2", "near", [-1, -761]),
    ],
)
def test_metrics(make_store, metric, best, scores):
    store = make_store(metric=metric)
    publish(store, [(chunk("near"), [2.0, 0.0]), (chunk("far"), [20.0, 20.0])])
    found = search(store, [1.0, 0.0])
    assert found[0]["id"] == best
    assert [passage["score"] for passage in found] == pytest.approx(scores, rel=1e-5)


def test_a_query_of_another_dimension_fails_alone(store):
    publish(store, [(chunk("a"), AXES[0])])
    wrong, right = store.items(
        "search", [np.ones(3, np.float32), AXES[0]], collection="shelf", top_k=1
    )
    assert isinstance(wrong, Failure)
    assert "3 dimensions, collection 'shelf' has 4" in wrong.message
    assert names(right) == ["a"]


NO_NUMBERS = pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])


@NO_NUMBERS
def test_a_vector_that_is_no_number_is_not_ingested(store, number):
    """It fails alone; what is published is the rest."""
    broken = np.array([1, number, 0, 0], np.float32)
    rows = [(chunk("a"), broken), (chunk("b"), AXES[0])]
    failed, fine = ingest(store, "new", rows)
    assert isinstance(failed, Failure)
    assert failed.kind == "item"
    assert "'a' holds NaN or infinity" in failed.message
    assert fine is None
    assert store.control("publish", collection="shelf", pending="new") == {"count": 1}
    assert names(search(store, AXES[0])) == ["b"]


@NO_NUMBERS
@pytest.mark.parametrize("filled", [True, False])
def test_a_query_that_is_no_number_fails_alone(store, number, filled):
    """Even where there is nothing to compare it with."""
    publish(store, [(chunk("a"), AXES[0])] if filled else [])
    queries = [AXES[0], np.array([1, number, 0, 0], np.float32), AXES[1]]
    first, failed, last = store.items("search", queries, collection="shelf", top_k=1)
    assert isinstance(failed, Failure)
    assert failed.kind == "item"
    assert "the embedding to search with holds NaN or infinity" in failed.message
    assert names(first) == names(last) == (["a"] if filled else [])


def test_vectors_of_two_dimensions_do_not_go_into_one_version(store):
    failed = ingest(store, "p", [(chunk("a"), AXES[0]), (chunk("b"), np.ones(3, np.float32))])[1]
    assert isinstance(failed, Failure)
    assert "'b' has 3 dimensions, those before it 4" in failed.message


@pytest.mark.parametrize(
    ("metric", "by_one", "by_zero"),
    [
        ("cosine", [("one", 1), ("zero", 0)], [("one", 0), ("zero", 0)]),
        ("inner_product", [("one", 4), ("zero", 0)], [("one", 0), ("zero", 0)]),
        ("l2", [("one", 0), ("zero", -4)], [("zero", 0), ("one", -4)]),
    ],
)
def test_a_vector_of_zeros_is_like_nothing(make_store, metric, by_one, by_zero):
    """Its cosine with any other, and with itself, is 0."""
    store = make_store(metric=metric)
    one = 2 * AXES[0]
    publish(store, [(chunk("zero"), np.zeros(4, np.float32)), (chunk("one"), one)])
    for query, right in ((one, by_one), (np.zeros(4, np.float32), by_zero)):
        found = search(store, query)
        assert [(passage["id"], passage["score"]) for passage in found] == right


@pytest.mark.engines("store", durable=True)
@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_engines_on_the_same_collections_find_the_same(make_store, mode, same):
    """Whichever of them has written what: the same chunks in the same order, and the scores."""
    one, other = make_store(), make_store()
    numbers = np.random.default_rng(3)
    vectors = numbers.standard_normal((200, 16), dtype=np.float32)
    rows = [(chunk(f"c{at:03}", f"d{at % 9}"), vector) for at, vector in enumerate(vectors)]
    asked = {"collection": "shelf", "top_k": 12}
    queries = list(numbers.standard_normal((20, 16), dtype=np.float32))
    for store, part in ((one, rows), (other, [row for row in rows if row[0]["document"] != "d3"])):
        publish(store, part, mode=mode, documents=["d3"])
        found, again = (each.items("search", queries, **asked) for each in (one, other))
        assert list(map(names, found)) == list(map(names, again))
        assert same(found, again)
        if mode == "hybrid":
            texts = ["text of c017", "c101"]
            found, again = (each.items("keyword_search", texts, **asked) for each in (one, other))
            assert found == again
    assert one.control("describe") == other.control("describe")


def test_known_collections_are_listed(store):
    publish(store, [(chunk("a"), AXES[0])], collection="manual")
    publish(store, [(chunk("a"), AXES[0])], collection="~17")
    failure = store.items("search", [AXES[0]], collection="manuel", top_k=1)
    assert failure.message == "there is no collection 'manuel': there are 'manual'"


TEXTS = {
    "wal": ("The write-ahead log grows until a checkpoint.", {"kind": "html", "year": 2020}),
    "journal": ("A rollback journal holds the old pages.", {"kind": "text", "year": 2021}),
    "check": (
        "A checkpoint copies pages of the log: checkpoint, done.",
        {"kind": "html", "year": 2022},
    ),
    "locks": ("Readers hold locks.", {"kind": "text", "tags": ["lock", "reader"]}),
}


def shelve(store, mode="hybrid", collection="shelf"):
    """Put some texts into a collection of a mode."""
    rows = [
        (
            {**chunk(name, name), "text": text, "context": "", "meta": meta},
            None if mode == "keyword" else AXES[place],
        )
        for place, (name, (text, meta)) in enumerate(TEXTS.items())
    ]
    return publish(store, rows, collection, mode=mode)


def by_words(store, text, top_k=10, collection="shelf", **more):
    (found,) = store.items("keyword_search", [text], collection=collection, top_k=top_k, **more)
    return found


@pytest.mark.parametrize("mode", ["keyword", "hybrid"])
def test_words_find_the_passages_that_have_most_of_them(store, mode):
    """Rare words count more than frequent ones, and passages without any are not found."""
    assert shelve(store, mode) == {"count": 4}
    found = by_words(store, "rollback journal")
    assert (names(found), [one["rank"] for one in found]) == (["journal"], [1])
    assert found[0]["meta"] == {"kind": "text", "year": 2021}
    assert names(by_words(store, "CHECKPOINT of the log"))[0] == "check"
    assert set(names(by_words(store, "checkpoint"))) == {"wal", "check"}
    assert len(by_words(store, "checkpoint", 1)) == 1
    assert by_words(store, "vacuum") == []
    assert by_words(store, "") == by_words(store, "?! …") == []
    scores = [one["score"] for one in by_words(store, "checkpoint pages log")]
    assert scores == sorted(scores, reverse=True)
    assert by_words(store, "checkpoint", min_score=max(scores) + 1) == []


def test_a_hybrid_collection_is_searched_by_embeddings_too(store):
    shelve(store)
    assert names(search(store, AXES[1], 1)) == ["journal"]


@pytest.mark.parametrize(
    ("mode", "operation", "said"),
    [
        ("dense", "keyword_search", "mode dense: it cannot be searched by words"),
        ("keyword", "search", "mode keyword: it cannot be searched by embeddings"),
    ],
)
def test_a_collection_is_searched_as_it_was_made(store, mode, operation, said):
    shelve(store, mode)
    query = "log" if operation == "keyword_search" else AXES[0]
    failure = store.items(operation, [query], collection="shelf", top_k=1)
    assert isinstance(failure, Failure)
    assert said in failure.message


def test_another_mode_is_refused_and_changes_nothing(store):
    shelve(store)
    with pytest.raises(RunError, match="has the mode hybrid, not keyword"):
        shelve(store, "keyword")
    assert len(by_words(store, "checkpoint")) == 2


def test_chunks_without_embeddings_go_into_no_dense_collection(store):
    with pytest.raises(RunError, match="mode dense: embed its chunks"):
        publish(store, [(chunk("a"), None)])


@pytest.mark.parametrize(
    ("where", "right"),
    [
        ('meta.kind == "html"', ["check", "wal"]),
        ('meta.kind != "html"', ["journal", "locks"]),
        ("meta.year >= 2021", ["check", "journal"]),
        ("2020 < meta.year < 2022 or meta.kind == 'nothing'", ["journal"]),
        ("not meta.year > 2020", ["locks", "wal"]),
        ("meta.year is defined and meta.kind in ['text']", ["journal"]),
        ("'lock' in meta.tags", ["locks"]),
        ("meta.tags is not defined", ["check", "journal", "wal"]),
        ("meta.year == none", ["locks"]),
        ("meta.kind < 'i' and meta.year != 2020", ["check"]),
        ("meta.kind < 3", []),
        ("meta.year == '2020' or meta.year == true", []),
    ],
)
def test_where_is_decided_before_the_best_are_taken(store, where, right):
    shelve(store)
    asked = {"where": parse_where(where), "top_k": 4}
    assert sorted(names(search(store, AXES.sum(axis=0), **asked))) == right
    words = "log pages locks checkpoint journal"
    assert sorted(names(by_words(store, words, **asked))) == right
    one = search(store, AXES[0], top_k=1, where=parse_where(where))
    assert len(one) == min(1, len(right))


def test_replaced_documents_lose_their_words(store):
    shelve(store, "keyword")
    row = {**chunk("wal2", "wal"), "text": "It is empty.", "meta": {}}
    publish(store, [(row, None)], mode="keyword")
    assert names(by_words(store, "checkpoint")) == ["check"]
    assert names(by_words(store, "empty")) == ["wal2"]
