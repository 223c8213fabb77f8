"""The ``chunk`` operation: a document becomes chunks that each fit into ``size``.

By tokens: windows over the document's tokens that share exactly ``overlap`` tokens. By sentences or
Markdown structure: the largest units that fit, found by semantic-text-splitter. In every case a
chunk's tokens are counted on its text encoded afresh, special tokens included, for this is what an
embedder does with it: a piece of a text seldom has the tokens that it had inside the whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from teola.runtime.errors import RunError

# How far a cut moves back to stand between two words.
_WORD_PIECES = 16


class ChunkError(RunError):
    """A document cannot be cut as asked: the settings contradict each other or one character."""


class Tokenizer(Protocol):
    """What cutting needs of a tokenizer."""

    def count(self, text: str) -> int:
        """Count the tokens of ``text`` encoded by itself, special tokens included."""
        ...

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Give each token's (start, end) in characters; special tokens have none."""
        ...


def document_id(name: str) -> str:
    """Hash a document's source name: the same file is the same document whatever it says today."""
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def chunk(
    document: Mapping[str, Any],
    *,
    size: int | None,
    overlap: int,
    by: str,
    tokenizer: Tokenizer | None = None,
) -> list[dict[str, Any]]:
    """Cut one document into chunks, in order; together they hold all its text but white space.

    Args:
        document: mapping with ``name``, ``text`` and perhaps ``meta``.
        size: most that a chunk may hold: tokens with special ones, characters where ``by`` is
            ``characters``. None is what an embedder without a limit leaves: an error.
        overlap: what neighbours share, below ``size``: exactly so many tokens where ``by`` is
            ``tokens``, whole units of at most so many otherwise.
        by: ``tokens``, ``sentences``, ``markdown`` or ``characters``.
        tokenizer: counts tokens; not needed for characters.

    Returns:
        Mappings with ``id`` (hash of document, position and text), ``text``, ``document`` (its
        name), ``index`` (position from 0), ``context`` (empty) and the document's ``meta``.

    Raises:
        ChunkError: ``by`` is unknown, ``size`` or ``tokenizer`` is missing, ``overlap`` leaves no
            room for new text, or ``size`` cannot hold one character.
    """
    if by not in _SPANS:
        raise ChunkError(f"cannot chunk by '{by}': choose one of {', '.join(_SPANS)}")
    counter: Tokenizer | None = _Characters() if by == "characters" else tokenizer
    if counter is None:
        raise ChunkError(f"chunking by {by} needs a tokenizer: name an embedder or llm engine")
    if size is None:
        raise ChunkError("'size' is needed: there is no embedder whose limit it could be")
    _check_settings(size, overlap, counter.count(""))
    text = document["text"]
    spans = _SPANS[by](text, size, overlap, counter) if text.strip() else ()
    return [_chunk(document, index, text[start:end]) for index, (start, end) in enumerate(spans)]


def _chunk(document: Mapping[str, Any], index: int, text: str) -> dict[str, Any]:
    name = document["name"]
    identity = json.dumps([document_id(name), index, text]).encode()
    return {
        "id": hashlib.blake2b(identity, digest_size=16).hexdigest(),
        "text": text,
        "document": name,
        "index": index,
        "context": "",
        "meta": dict(document.get("meta") or {}),
    }


def _check_settings(size: int, overlap: int, special: int) -> None:
    room = size - special
    counted = f"{size} with {special} special tokens" if special else str(size)
    if room < 1:
        raise ChunkError(f"a chunk's size ({counted}) leaves no room for text")
    if overlap < 0:
        raise ChunkError(f"overlap cannot be negative: {overlap}")
    if overlap >= room:
        raise ChunkError(
            f"overlap {overlap} leaves no room for new text in a chunk's size ({counted}): "
            f"it must be below {room}"
        )


class _Characters:
    """Counts characters as if each were a token."""

    def count(self, text: str) -> int:
        return len(text)

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        return [(position, position + 1) for position in range(len(text))]


def _by_tokens(
    text: str, size: int, overlap: int, tokenizer: Tokenizer
) -> Iterator[tuple[int, int]]:
    """Cut windows of tokens; the next begins exactly ``overlap`` tokens before a window's end."""
    cuts = _token_starts(text, tokenizer)
    last = len(cuts) - 1
    room = size - tokenizer.count("")
    start = covered = written = 0
    while covered < last:
        end = min(start + room, last)
        if end < last:
            end = _between_words(text, cuts, end, overlap, max(start, covered))
        end = _shrink(text, cuts, start, end, size, tokenizer)
        if end <= covered and start >= covered:
            raise ChunkError(f"a size of {size} cannot hold {text[cuts[start]]!r}")
        if end > covered:
            covered = end
            first, after = _trim(text, cuts[start], cuts[end])
            if after > max(first, written):
                yield first, after
                written = after
            start = max(start + 1, end - overlap)
        else:
            start += 1


def _token_starts(text: str, tokenizer: Tokenizer) -> list[int]:
    """Give where text may be cut: each token's start, and both ends of the text.

    Characters between two tokens, which the tokenizer drops, belong to the one before.
    """
    if not text:
        return [0]
    starts = [0]
    for start, _ in tokenizer.offsets(text)[1:]:
        starts.append(max(start, starts[-1]))
    return [*starts, len(text)]


def _between_words(text: str, cuts: Sequence[int], end: int, overlap: int, floor: int) -> int:
    """Move a window's end back to a space between words, so that the next begins at one too."""
    candidates = [
        cut
        for cut in range(end, max(floor, end - _WORD_PIECES), -1)
        if cuts[cut] > cuts[floor] and _is_between_words(text, cuts[cut])
    ]
    for cut in candidates:
        if _is_between_words(text, cuts[max(0, cut - overlap)]):
            return cut
    return candidates[0] if candidates else end


def _is_between_words(text: str, position: int) -> bool:
    if position in (0, len(text)):
        return True
    return not (_is_of_word(text[position - 1]) and _is_of_word(text[position]))


def _is_of_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _shrink(
    text: str, cuts: Sequence[int], start: int, end: int, size: int, tokenizer: Tokenizer
) -> int:
    """Give the largest end, at most ``end``, whose text encoded afresh fits into ``size``.

    It does not stand between the tokens of one character.
    """
    while end > start:
        first, after = _trim(text, cuts[start], cuts[end])
        if cuts[end] > cuts[end - 1] and tokenizer.count(text[first:after]) <= size:
            break
        end -= 1
    return end


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Leave white space out at both ends."""
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def _by_sentences(
    text: str, size: int, overlap: int, tokenizer: Tokenizer
) -> Iterator[tuple[int, int]]:
    from semantic_text_splitter import TextSplitter

    count = _remembered(tokenizer)
    pieces = TextSplitter.from_callback(count, size, overlap).chunk_indices(text)
    yield from _fitting(pieces, size, tokenizer)


def _by_markdown(
    text: str, size: int, overlap: int, tokenizer: Tokenizer
) -> Iterator[tuple[int, int]]:
    from semantic_text_splitter import MarkdownSplitter

    count = _remembered(tokenizer)
    pieces = MarkdownSplitter.from_callback(count, size, overlap).chunk_indices(text)
    yield from _fitting(pieces, size, tokenizer)


def _remembered(tokenizer: Tokenizer) -> Callable[[str], int]:
    """Count each text once: a splitter asks for the same pieces again and again."""
    return lru_cache(maxsize=4096)(tokenizer.count)


def _fitting(
    pieces: Sequence[tuple[int, str]], size: int, tokenizer: Tokenizer
) -> Iterator[tuple[int, int]]:
    """Cut by tokens what the splitter left too long: counts of its units do not always add up."""
    for start, untrimmed in pieces:
        piece = untrimmed.rstrip()
        if tokenizer.count(piece) <= size:
            yield start, start + len(piece)
        else:
            for first, after in _by_tokens(piece, size, 0, tokenizer):
                yield start + first, start + after


_Spans = Callable[[str, int, int, Tokenizer], Iterator[tuple[int, int]]]
_SPANS: Mapping[str, _Spans] = {
    "tokens": _by_tokens,
    "sentences": _by_sentences,
    "markdown": _by_markdown,
    "characters": _by_sentences,
}
