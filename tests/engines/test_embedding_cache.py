"""The MaxSim reranker, on an encoder of characters: what it scores, and that it encodes a passage
once for many questions, within its memory."""

import asyncio
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.engines.protocol import Request

pytestmark = pytest.mark.models  # it needs PyTorch

DIMENSION = 8
ROW_BYTES = 4 * DIMENSION


class CountingEncoder:
    """Tokens are characters; an embedding depends on its token and its place."""

    room = limit = 50
    dimension = DIMENSION
    details = MappingProxyType({})

    def __init__(self, _config):
        self.encoded = []

    def tokens(self, text):
        return tuple(map(ord, text))

    def embed(self, texts):
        self.encoded += texts
        return [self._rows(text) for text in texts]

    def _rows(self, text):
        import torch

        places = torch.arange(len(text) * DIMENSION).reshape(len(text), DIMENSION)
        rows = torch.sin(places + torch.tensor(text, dtype=torch.float32)[:, None])
        return torch.nn.functional.normalize(rows, dim=-1)


@pytest.fixture
def start(monkeypatch):
    """Make a reranker on a counting encoder."""
    from teola.runtime.engines import maxsim

    monkeypatch.setattr(maxsim, "TokenEncoder", CountingEncoder)

    async def make(**config):
        reranker = maxsim.MaxSimReranker(config)
        await reranker.start()
        return reranker

    return make


PASSAGES = ["one passage", "another", "", "one passage"]


def test_a_second_question_encodes_only_itself(start):
    """The scores are those without a cache, exactly."""

    async def scenario():
        cached, plain = await start(), await start(cache_mib=0)
        for query in ("first?", "second?", "first?"):
            cached._encoder.encoded.clear()
            request = Request("score", PASSAGES, {"query": query})
            assert await cached.run([request]) == await plain.run([request])
        assert cached._encoder.encoded == []
        await cached.run([Request("score", PASSAGES, {"query": "third?"})])
        assert cached._encoder.encoded == [tuple(map(ord, "third?"))]
        await cached.close()
        await plain.close()

    asyncio.run(scenario())


def test_a_text_matches_itself_wholly_and_nothing_has_nothing_in_common(start):
    async def scenario():
        reranker = await start()
        (scores,) = await reranker.run([Request("score", ["words", ""], {"query": "words"})])
        (nothing,) = await reranker.run([Request("score", ["words"], {"query": ""})])
        assert scores == [pytest.approx(1, abs=1e-5), -1]
        assert nothing == [-1]
        await reranker.close()

    asyncio.run(scenario())


def test_a_text_over_the_limit_is_named_with_both_numbers(start):
    """A passage fails alone, a query with its request."""
    long = "x" * (CountingEncoder.limit + 1)

    async def scenario():
        reranker = await start()
        refused, scores = await reranker.run(
            [
                Request("score", ["words"], {"query": long}),
                Request("score", [long, long[1:]], {"query": "words"}),
            ]
        )
        assert refused.message.startswith("the query has 51 tokens")
        assert scores[0].message.startswith("the passage has 51 tokens, special tokens included, ")
        assert "limit is 50" in scores[0].message
        assert isinstance(scores[1], float)
        await reranker.close()

    asyncio.run(scenario())


@given(
    st.integers(0, 20), st.lists(st.lists(st.integers(0, 3), max_size=6).map(tuple), max_size=40)
)
def test_a_cache_holds_its_bound_and_what_it_was_given(rows, texts):
    """Never more bytes than allowed, counted as they are; what is kept is right and the latest."""
    import torch

    from teola.runtime.engines.embedding_cache import EmbeddingCache

    cache = EmbeddingCache(rows * ROW_BYTES)
    for text in texts:
        whole = torch.full((9, DIMENSION), float(sum(text)))
        cache.put(text, whole[: len(text)])
        found = cache.get(text)
        assert (found is None) == (len(text) > rows)
        if found is not None:
            assert torch.equal(found, whole[: len(text)])
            assert found.untyped_storage().nbytes() == found.nbytes
        assert cache.size_bytes <= rows * ROW_BYTES
        assert cache.size_bytes == sum(one.nbytes for one in cache._kept.values())


def test_what_was_used_last_stays():
    """The least recently used goes first."""
    import torch

    from teola.runtime.engines.embedding_cache import EmbeddingCache

    cache = EmbeddingCache(2 * ROW_BYTES)
    row = torch.zeros((1, DIMENSION))
    cache.put((1,), row)
    cache.put((2,), row)
    cache.get((1,))
    cache.put((3,), row)
    assert cache.get((2,)) is None
    assert cache.get((1,)) is not None
    assert cache.get((3,)) is not None
