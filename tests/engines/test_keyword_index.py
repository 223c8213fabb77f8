"""The index of words computes what the formula of BM25 says, and finds in a fixed order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.engines.collections.keyword_index import KeywordIndex, searched_text
from teola.runtime.engines.fakes.words import BM25, words

WORDS = ("wal", "journal", "page", "Ärger", "x1", "cache", "the")
texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), max_size=12)
queries = st.lists(st.sampled_from((*WORDS, "unknown")), max_size=5).map(" ".join)


@given(texts=texts, query=queries, count=st.integers(0, 15), data=st.data())
def test_scores_are_those_of_the_formula(texts, query, count, data):
    index = KeywordIndex.of("simple", texts)
    scores = BM25([words(text) for text in texts]).scores(words(query))
    among = data.draw(st.none() | st.lists(st.sampled_from(range(max(1, len(texts)))), unique=True))
    found = index.best(query, count, None if among is None else np.array(among, np.int64))
    allowed = [at for at, score in enumerate(scores) if score and (among is None or at in among)]
    assert len(found) == min(count, len(allowed))
    assert [score for _, score in found] == pytest.approx(
        sorted((scores[at] for at in allowed), reverse=True)[:count], rel=1e-5
    )
    assert [scores[at] for at, _ in found] == pytest.approx([score for _, score in found], rel=1e-5)
    assert found == sorted(found, key=lambda pair: (-pair[1], pair[0]))


def test_equal_texts_come_in_their_order():
    index = KeywordIndex.of("simple", ["page", "wal", "page", "page"])
    assert [at for at, _ in index.best("page", 2)] == [0, 2]


def test_words_meet_in_their_stems():
    """In English a journal and journals are one word; without a language they are two."""
    texts = ["Rollback journals", "a checkpoint", "journaling"]
    assert [at for at, _ in KeywordIndex.of("english", texts).best("the journal", 5)] == [2, 0]
    assert KeywordIndex.of("simple", texts).best("the journal", 5) == []


@pytest.mark.parametrize("texts", [[], [""], ["…", "!"]])
def test_texts_without_words_are_not_found(texts):
    index = KeywordIndex.of("english", texts)
    assert not index
    assert index.best("anything", 5) == []


def test_a_saved_index_finds_the_same(tmp_path):
    texts = ["the wal file", "a page of the cache", "the cache"]
    index = KeywordIndex.of("english", texts)
    index.save(tmp_path / "words")
    loaded = KeywordIndex.load("english", tmp_path / "words")
    for query in ("cache", "pages", "wal file cache", "nothing"):
        assert loaded.best(query, 5) == index.best(query, 5)


def test_the_context_of_a_chunk_is_searched_too():
    assert searched_text({"text": "b", "context": "a"}) == "a\nb"
    assert searched_text({"text": "b", "context": ""}) == "b"
