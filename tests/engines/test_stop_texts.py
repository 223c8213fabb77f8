"""Texts that end an answer, wherever the tokens cut it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.engines.tokenizer import ByteTokenizer
from teola.runtime.engines.transformers.stop_texts import StopTexts

letters = st.text("abé", max_size=12)
stops = st.lists(st.text("abé", min_size=1, max_size=3), min_size=1, max_size=3)


@given(text=letters, stops=stops, data=st.data())
def test_what_leaves_is_what_comes_before_the_first_stop_text(text, stops, data):
    """It leaves in pieces that no later token changes, and nothing follows the end."""
    tokens = list(text.encode())
    watch = StopTexts(stops, ByteTokenizer().detokenizer())
    left, place = "", 0
    while place < len(tokens) and not watch.found:
        size = data.draw(st.integers(1, 4))
        left += watch.push(tokens[place : place + size])
        place += size
        assert text.startswith(left)
    if not watch.found:
        left += watch.finish()
    found = [stop for stop in stops if stop in text]
    assert watch.found == bool(found)
    assert not any(stop in left for stop in stops)
    if not found:
        assert left == text
    else:
        assert any(text.startswith(left + stop) for stop in found)


@pytest.mark.parametrize(
    ("pushed", "gives"),
    [(["ab", "cd"], ["ab", ""]), (["a", "x", "cde"], ["a", "x", ""]), (["abc", "x"], ["ab", "cx"])],
)
def test_what_may_be_the_beginning_of_a_stop_text_is_held_back(pushed, gives):
    watch = StopTexts(["cd"], ByteTokenizer().detokenizer())
    assert [watch.push(list(text.encode())) for text in pushed] == gives


def test_an_unfinished_stop_text_is_text():
    watch = StopTexts(["\n\n"], ByteTokenizer().detokenizer())
    assert watch.push(list(b"a\n")) + watch.finish() == "a\n"
    assert not watch.found
