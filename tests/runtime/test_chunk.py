"""Chunks fit, keep their order, and lose nothing but white space."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.errors import RunError
from teola.runtime.operations.chunk import ChunkError, _by_tokens, chunk, document_id

WAYS = ["tokens", "sentences", "markdown", "characters"]


class Pieces:
    """Words in pieces of four letters, counted from the word's start, and two special tokens.

    As with word pieces, a word cut in the middle has other tokens than it had as a whole.
    """

    special = 2
    token = re.compile(r"\w{1,4}|[^\w\s]")

    def offsets(self, text):
        return [found.span() for found in self.token.finditer(text)]

    def count(self, text):
        return self.special + len(self.offsets(text))


class LongWordsAreUnknown(Pieces):
    """A word of more than eight letters is one token; its halves are several."""

    token = re.compile(r"\w{9,}|\w{1,2}|[^\w\s]")


class Bytes(Pieces):
    """One token for each byte; the bytes of one character share its offsets; nothing special."""

    special = 0

    def offsets(self, text):
        return [
            (position, position + 1)
            for position, character in enumerate(text)
            for _ in character.encode()
        ]


class Deaf(Pieces):
    """Knows ASCII letters only and drops everything else without a token."""

    token = re.compile(r"[A-Za-z]+")


TOKENIZERS = [Pieces(), LongWordsAreUnknown(), Bytes(), Deaf()]
# Surrogates are no text: documents with them are refused when they are read.
CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.one_of(
    st.text(CHARACTERS, max_size=400),
    st.lists(
        st.sampled_from(
            [
                "word",
                "lengthening",
                "a",
                "# Title\n",
                "\n\n",
                "- item\n",
                "one. ",
                "naïve",
                "日本語",
                "👩‍👩‍👧",
            ]
        ),
        max_size=80,
    ).map(" ".join),
)


def cut(text, *, size=20, overlap=0, by="tokens", tokenizer=None, name="a.md"):
    return chunk(
        {"name": name, "text": text, "meta": {"type": "text"}},
        size=size,
        overlap=overlap,
        by=by,
        tokenizer=tokenizer or Pieces(),
    )


@given(
    TEXTS,
    st.sampled_from(WAYS),
    st.sampled_from(TOKENIZERS),
    st.integers(8, 40),
    st.floats(0, 0.9),
)
def test_every_chunk_fits(text, by, tokenizer, size, share):
    """No chunk counts more than ``size``, special tokens included, encoded by itself."""
    chunks = cut(text, size=size, overlap=int(share * (size - 2)), by=by, tokenizer=tokenizer)
    count = len if by == "characters" else tokenizer.count
    assert all(count(piece["text"]) <= size for piece in chunks)


@given(TEXTS, st.sampled_from(WAYS), st.sampled_from(TOKENIZERS), st.integers(8, 40))
def test_without_overlap_nothing_but_white_space_is_lost(text, by, tokenizer, size):
    """The chunks one after another are the text, white space aside."""
    chunks = cut(text, size=size, by=by, tokenizer=tokenizer)
    assert "".join("".join(piece["text"].split()) for piece in chunks) == "".join(text.split())


@given(TEXTS, st.sampled_from(TOKENIZERS), st.integers(8, 40), st.floats(0.1, 0.9))
def test_windows_with_overlap_cover_the_text_in_order(text, tokenizer, size, share):
    """Between neighbours there is nothing but white space, and each one brings something new."""
    covered = 0
    for start, end in _by_tokens(text, size, int(share * (size - 2)), tokenizer):
        assert not text[covered:start].strip()
        assert end > covered
        covered = end
    assert not text[covered:].strip()


@given(TEXTS, st.sampled_from(WAYS))
def test_cutting_is_deterministic(text, by):
    """The same document gives the same chunks, ids and all."""
    assert cut(text, by=by, overlap=5) == cut(text, by=by, overlap=5)


def test_neighbours_share_exactly_the_overlap():
    """The next window begins ``overlap`` tokens before the end of the one before."""
    words = [f"w{number:03}" for number in range(100)]
    chunks = [piece["text"].split() for piece in cut(" ".join(words), size=20, overlap=5)]
    assert [len(piece) for piece in chunks[:-1]] == [18] * (len(chunks) - 1)
    for before, after in pairwise(chunks):
        assert before[-5:] == after[:5]
        assert before[-6] != after[0]


def test_windows_do_not_cut_words():
    """A window ends, and the next begins, between two words where one is near."""
    text = "incomprehensibilities " * 30
    for piece in cut(text, size=20, overlap=6):
        assert set(piece["text"].split()) == {"incomprehensibilities"}


def test_a_word_longer_than_a_chunk_is_cut():
    """Nothing says that a text has spaces."""
    chunks = cut("x" * 1000, size=20)
    assert "".join(piece["text"] for piece in chunks) == "x" * 1000


def test_the_last_window_is_not_repeated():
    """A text that just fits is one chunk; no chunk holds only the overlap of the one before."""
    assert len(cut("word " * 18, size=20, overlap=10)) == 1
    assert len(cut("word " * 19, size=20, overlap=10)) == 2


@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize("text", ["", " \n\t ", "\u2003"])
def test_an_empty_document_has_no_chunks(text, by):
    assert cut(text, by=by) == []


@pytest.mark.parametrize("by", WAYS)
def test_a_short_document_is_one_chunk(by):
    (piece,) = cut("  Two words.\n", by=by)
    assert piece == {
        "id": piece["id"],
        "text": "Two words.",
        "document": "a.md",
        "index": 0,
        "context": "",
        "meta": {"type": "text"},
    }


def test_ids_name_document_position_and_text():
    """Equal text elsewhere in the document, or in another document, has another id."""
    text = "same same same same " * 9
    here, there = cut(text, size=6), cut(text, size=6, name="b.md")
    ids = [piece["id"] for piece in here + there]
    assert len(set(ids)) == len(ids)
    assert re.fullmatch("[0-9a-f]{32}", ids[0])
    assert document_id("a.md") != document_id("b.md")


def test_an_appended_sentence_leaves_earlier_ids_alone():
    """Edited documents keep the ids of what did not change."""
    text = "one two three four five six " * 20
    before, after = cut(text, overlap=4), cut(text + "and seven", overlap=4)
    assert [piece["id"] for piece in before[:-1]] == [piece["id"] for piece in after[:-1]][
        : len(before) - 1
    ]


def test_meta_is_the_chunks_own():
    """Changing one chunk's meta changes no other's."""
    first, second = cut("word " * 20, size=12)[:2]
    first["meta"]["type"] = "changed"
    assert second["meta"] == {"type": "text"}


def test_markdown_is_cut_at_headings():
    """A section that fits stays whole and begins with its heading."""
    text = "# One\n\n" + "alfa " * 8 + "\n\n# Two\n\n" + "beta " * 8
    assert [piece["text"].split("\n")[0] for piece in cut(text, size=20, by="markdown")] == [
        "# One",
        "# Two",
    ]


def test_sentences_stay_whole():
    """By sentences, a chunk ends where a sentence ends."""
    text = "One two three four. Five six seven eight. Nine ten eleven twelve. " * 5
    assert all(piece["text"].endswith(".") for piece in cut(text, size=16, by="sentences"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"overlap": 18},
            r"overlap 18 leaves no room .* size \(20 with 2 special tokens\).* below 18",
        ),
        ({"overlap": 20, "by": "characters"}, r"overlap 20 leaves no room .* below 20"),
        ({"overlap": -1}, "overlap cannot be negative: -1"),
        ({"size": 2}, r"size \(2 with 2 special tokens\) leaves no room for text"),
        ({"size": None}, "'size' is needed"),
        ({"by": "pages"}, "cannot chunk by 'pages': choose one of tokens, sentences"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    """The message says what does not fit and what would."""
    with pytest.raises(ChunkError, match=message):
        cut("some text", **settings)


def test_tokens_need_a_tokenizer():
    with pytest.raises(ChunkError, match="chunking by tokens needs a tokenizer"):
        chunk({"name": "a", "text": "b"}, size=9, overlap=0, by="tokens", tokenizer=None)


def test_characters_need_none():
    pieces = chunk({"name": "a", "text": "b " * 9}, size=9, overlap=0, by="characters")
    assert [piece["text"] for piece in pieces] == ["b b b b b", "b b b b"]


@pytest.mark.parametrize("by", ["tokens", "sentences", "markdown"])
def test_one_character_that_cannot_fit_is_an_error(by):
    """Four bytes do not fit into three: said, not cut in half and not sent too long."""
    with pytest.raises(ChunkError, match="a size of 3 cannot hold '🦆'"):
        cut("🦆", size=3, by=by, tokenizer=Bytes())


def test_chunk_errors_are_run_errors():
    assert issubclass(ChunkError, RunError)
