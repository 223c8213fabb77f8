"""Outputs are written for readers."""

import pytest

from teola.runtime.cli.outputs import format_value
from teola.runtime.cli.terminal import printable


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("text", "as it is\n", "as it is\n"),
        ("int", 3, "3"),
        ("bool", True, "true"),
        ("json", {"a": "ü"}, '{"a": "ü"}'),
        ("list<text>", ["a", "b"], "a\nb"),
        ("list<text>", [], ""),
        ("list<int>", [1, 2], "1\n2"),
    ],
)
def test_values_are_plain(kind, value, text):
    """Texts stand alone, lists have a line for each item, records are JSON."""
    assert format_value(value, kind) == text


def test_passages_are_numbered_with_document_score_and_beginning():
    """About the first 160 characters show what a passage is about."""
    passages = [
        {"document": "images.md", "text": "An image\nhas layers. " * 20, "score": 0.8312},
        {"document": "a.html", "text": "", "score": 1, "meta": {"title": "A page"}},
        {"id": "text-1", "document": "", "text": "short"},
    ]
    assert format_value(passages, "list<passage>", 60) == (
        " 1. images.md (score 0.831)\n"
        "    An image has layers. An image has layers. An image has\n"
        "    layers. An image has layers. An image has layers. An\n"
        "    image has layers. An image has layers. An image …\n"
        " 2. a.html “A page” (score 1.000)\n"
        " 3. text-1\n"
        "    short"
    )


def test_control_characters_stay_out_of_a_terminal():
    """A document cannot move the cursor or colour the screen; line breaks and tabs stay."""
    assert printable("a\x1b[31mb\r\n\tc\x9b") == "a[31mb\n\tc"
