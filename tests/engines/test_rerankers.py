"""What every reranker does."""

import pytest

from teola.runtime.engines.protocol import Failure, Request
from teola.runtime.engines.tokenizer import load_tokenizer

REAL = [pytest.param("real", marks=pytest.mark.models)]
QUERY = "How is bread baked?"
PASSAGES = [
    "The match ended 2:1 after extra time.",
    "Bread is baked in an oven.",
    "A baker kneads the dough, lets it rise and bakes the bread until it is brown. " * 4,
    "",
    "bread",
]


def test_a_passage_scores_the_same_alone_in_a_batch_and_again(reranker, same):
    together = reranker.items("score", PASSAGES, query=QUERY)
    alone = [reranker.items("score", [text], query=QUERY)[0] for text in PASSAGES]
    again = reranker.items("score", PASSAGES[::-1], query=QUERY)[::-1]
    assert same(together, alone)
    assert same(together, again)
    assert all(isinstance(score, float) for score in together)


def test_requests_of_one_batch_keep_apart(reranker, same):
    first, none, second = reranker.run(
        Request("score", PASSAGES, {"query": QUERY}),
        Request("score", [], {"query": QUERY}),
        Request("score", PASSAGES, {"query": "Who won?"}),
    )
    assert len(none) == 0
    assert same(first, reranker.items("score", PASSAGES, query=QUERY))
    assert same(second, reranker.items("score", PASSAGES, query="Who won?"))
    assert not same(first, second)


def test_a_full_batch_is_taken(reranker):
    count = reranker.capabilities.max_items
    texts = [f"passage {number}" for number in range(count)]
    assert len(reranker.items("score", texts, query=QUERY)) == count


@pytest.mark.parametrize("reranker", REAL, indirect=True)
def test_what_answers_the_question_scores_more(reranker):
    match, oven, baker, empty, _word = reranker.items("score", PASSAGES, query=QUERY)
    assert oven > match
    assert baker > match
    assert empty == -1


@pytest.mark.parametrize("reranker", REAL, indirect=True)
def test_a_text_matches_itself_wholly(reranker):
    (score,) = reranker.items("score", [QUERY], query=QUERY)
    assert score == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("reranker", REAL, indirect=True)
def test_a_passage_over_the_limit_fails_alone_and_names_both_numbers(reranker, same):
    limit = reranker.capabilities.limit
    before, fits, too_long, after = reranker.items(
        "score",
        [PASSAGES[0], "cat " * (limit - 2), "cat " * (limit - 1), PASSAGES[1]],
        query=QUERY,
    )
    assert isinstance(fits, float)
    assert isinstance(too_long, Failure)
    assert too_long.kind == "item"
    assert f"{limit + 1} tokens" in too_long.message
    assert f"limit is {limit}" in too_long.message
    assert same([before, after], reranker.items("score", PASSAGES[:2], query=QUERY))


@pytest.mark.parametrize("reranker", REAL, indirect=True)
def test_a_query_over_the_limit_fails_its_request_only(reranker, same):
    failed, scores = reranker.run(
        Request("score", PASSAGES, {"query": "cat " * 300}),
        Request("score", PASSAGES, {"query": QUERY}),
    )
    assert isinstance(failed, Failure)
    assert "the query" in failed.message
    assert same(scores, reranker.items("score", PASSAGES, query=QUERY))


@pytest.mark.parametrize("reranker", REAL, indirect=True)
def test_a_long_passage_is_cut_where_the_engine_is_told_to(reranker, truncating, same):
    cutting = truncating(reranker)
    room = reranker.capabilities.limit - 2
    (cut,) = cutting.items("score", ["cat " * room + "bread oven"], query=QUERY)
    assert same(cut, reranker.items("score", ["cat " * room], query=QUERY)[0])


def test_the_tokens_of_every_passage_are_told(reranker):
    """Request by request, special tokens included: what a run tells of its sizes."""
    found = reranker.run(
        Request("score", PASSAGES[:2], {"query": QUERY}), Request("score", [], {"query": QUERY})
    )
    count = load_tokenizer(reranker.config).count
    assert [list(part) for part in found.tokens] == [[count(text) for text in PASSAGES[:2]], []]
