"""What every embedder does."""

import numpy as np
import pytest

from teola.runtime.engines.protocol import Failure, Request
from teola.runtime.engines.tokenizer import load_tokenizer

TEXTS = [
    "A container image is a stack of read-only layers.",
    "cat",
    "Embeddings of long and short texts are made in one batch, and each is its own. " * 5,
    "",
    "Ünïcödé ✓ 你好",
    "The scheduler gives each process a slice of time. " * 3,
]


def long_text(embedder, tokens):
    """A text with so many tokens, special ones included."""
    tokenizer = load_tokenizer(embedder.config)
    text = "a" * (tokens - 2) if embedder.config["backend"] == "fake" else "cat " * (tokens - 2)
    assert tokenizer.count(text) == tokens
    return text


def test_a_text_is_embedded_the_same_alone_in_a_batch_and_again(embedder, same):
    together = embedder.items("embed", TEXTS)
    alone = [embedder.items("embed", [text])[0] for text in TEXTS]
    again = embedder.items("embed", TEXTS[::-1])[::-1]
    assert same(together, alone)
    assert same(together, again)


def test_rows_come_in_the_order_of_the_texts(embedder, same):
    texts = [f"number {number}" for number in range(12)]
    rows = embedder.items("embed", texts)
    shuffled = embedder.items("embed", texts[5:] + texts[:5])
    assert same(np.roll(rows, -5, axis=0), shuffled)
    assert len({row.tobytes() for row in rows}) == len(texts)


def test_a_request_gets_one_float32_array_of_the_dimension_told(embedder):
    rows = embedder.items("embed", ["one", "two", "three"])
    assert np.asarray(rows).dtype == np.float32
    assert np.asarray(rows).shape == (3, embedder.capabilities.dimension)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_requests_of_one_batch_keep_apart(embedder, same):
    first, none, second = embedder.run(
        Request("embed", ["one", "two"]), Request("embed", []), Request("embed", ["three"])
    )
    assert len(none) == 0
    assert same(first, embedder.items("embed", ["one", "two"]))
    assert same(second, embedder.items("embed", ["three"]))


def test_a_full_batch_is_taken(embedder):
    count = embedder.capabilities.max_items
    assert len(embedder.items("embed", [f"text {number}" for number in range(count)])) == count


def test_the_limit_is_what_is_told(embedder):
    limit = embedder.capabilities.limit
    (fits,) = embedder.items("embed", [long_text(embedder, limit)])
    assert not isinstance(fits, Failure)


def test_a_text_over_the_limit_fails_alone_and_names_both_numbers(embedder, same):
    limit = embedder.capabilities.limit
    before, too_long, after = embedder.items(
        "embed", ["before", long_text(embedder, limit + 1), "after"]
    )
    assert isinstance(too_long, Failure)
    assert too_long.kind == "item"
    assert str(limit) in too_long.message
    assert str(limit + 1) in too_long.message
    assert same([before, after], embedder.items("embed", ["before", "after"]))


@pytest.mark.parametrize(
    "embedder", [pytest.param("real", marks=pytest.mark.models)], indirect=True
)
def test_a_long_text_is_cut_where_the_engine_is_told_to(embedder, truncating, same):
    cutting = truncating(embedder)
    limit = embedder.capabilities.limit
    (cut,) = cutting.items("embed", [long_text(embedder, limit) + " and what nobody reads"])
    assert same(cut, embedder.items("embed", [long_text(embedder, limit)])[0])


@pytest.mark.parametrize(
    "embedder", [pytest.param("real", marks=pytest.mark.models)], indirect=True
)
def test_what_means_the_same_is_near(embedder):
    question, answer, other = embedder.items(
        "embed",
        ["How is bread baked?", "Dough is baked in an oven until brown.", "The match ended 2:1."],
    )
    assert question @ answer > question @ other + 0.2


def test_the_tokens_of_every_text_are_told(embedder):
    """Request by request, special tokens included: what a run tells of its sizes."""
    found = embedder.run(Request("embed", TEXTS[:2]), Request("embed", []))
    count = load_tokenizer(embedder.config).count
    assert [list(part) for part in found.tokens] == [[count(text) for text in TEXTS[:2]], []]
