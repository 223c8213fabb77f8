"""How problems are collected, drawn and listed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.compiler.diagnostics import (
    MAX_SHOWN,
    Diagnostic,
    Diagnostics,
    nearest,
    render,
    to_json,
)
from teola.compiler.errors import CompileError
from teola.compiler.source import Source, Span
from teola.compiler.spelling import edit_distance

TEXT = "modules:\n  best:\n    inputs: {passages: best.docs}\n"


def at(line, column, end_column, *, text=TEXT, name="rag.yaml", end_line=None):
    """A span of a source of its own."""
    return Span(Source(name, text), line, column, end_line or line, end_column)


def drawn(span, **fields):
    """One problem, drawn."""
    return render([Diagnostic("code", "message", span, **fields)])


def test_a_problem_is_drawn_as_documented():
    """Place and message, the line with a caret underline, what exists, and the right spelling."""
    problem = Diagnostic(
        "unknown-port",
        "module 'best' has no output 'docs'",
        at(3, 24, 33),
        ("'best' has outputs: passages",),
        "did you mean 'best.passages'?",
    )
    assert render([problem]) == (
        "rag.yaml:3:24: error[unknown-port]: module 'best' has no output 'docs'\n"
        "    3 |     inputs: {passages: best.docs}\n"
        "      |                        ^^^^^^^^^\n"
        "   'best' has outputs: passages\n"
        "   help: did you mean 'best.passages'?"
    )


def test_lints_are_warnings():
    """A warning says so, and is no error."""
    diagnostics = Diagnostics()
    diagnostics.warning("unused-input", "nothing reads 'spare'", at(1, 1, 8))
    assert "warning[unused-input]" in render(diagnostics)
    assert diagnostics.errors == ()
    assert len(diagnostics.warnings) == 1
    diagnostics.raise_if_errors()


@pytest.mark.parametrize(
    ("text", "column", "end", "below"),
    [
        ("ab: cd", 5, 7, "    ^^"),
        ("日本: cd", 5, 7, "      ^^"),
        ("日本: cd", 1, 3, "^^^^"),
        ("e\u0301: cd", 5, 7, "   ^^"),
        ("😀: cd", 4, 6, "    ^^"),
        ("\tb: c", 2, 3, " ^"),
        ("a", 2, 2, " ^"),
    ],
)
def test_carets_stand_below_what_they_mean(text, column, end, below):
    """Wide characters take two columns, combining ones none, and an empty span has one caret."""
    lines = drawn(at(1, column, end, text=text)).split("\n")
    assert lines[2] == "      | " + below


def test_a_span_of_many_lines_underlines_its_first():
    """Up to where the text of the line ends."""
    lines = drawn(at(1, 1, 4, end_line=3)).split("\n")
    assert lines[2] == "      | ^^^^^^^^"


def test_long_lines_are_cut_around_the_span():
    """The span stays visible, with its carets below it."""
    text = "x" * 500 + "HERE" + "y" * 500
    lines = drawn(at(1, 501, 505, text=text)).split("\n")
    assert len(lines[1]) < 130
    start = lines[1].index("HERE")
    assert lines[2].index("^^^^") == start


def test_nothing_drawn_moves_the_cursor():
    """Control characters of a file or a message are written out."""
    text = "a: \x1b[31m\x07b\u202e"
    shown = drawn(at(1, 4, 6, text=text), notes=("note \x1b[0m",), help="help\x00")
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert "\\x1b" in shown


def test_a_place_outside_of_the_text_has_no_line():
    """Nothing is drawn that the file does not have."""
    assert drawn(at(9, 1, 1)).split("\n") == ["rag.yaml:9:1: error[code]: message"]


def test_a_file_without_a_text_has_no_lines():
    """One that is missing, or a folder, is drawn without an excerpt."""
    assert drawn(at(1, 1, 1, text="")) == "rag.yaml:1:1: error[code]: message"


def test_what_follows_from_an_unread_value_is_not_reported():
    """A tag or an unknown alias is one mistake, whatever the value would have been."""
    diagnostics = Diagnostics()
    place = at(3, 24, 33)
    diagnostics.error("no-tags", "a tag", place)
    diagnostics.error("type-mismatch", "not an int", Span(place.source, 3, 24, 3, 26))
    diagnostics.error("unknown-key", "elsewhere", Span(place.source, 3, 25, 3, 26))
    assert [item.code for item in diagnostics] == ["no-tags", "unknown-key"]


def test_help_of_several_lines_keeps_its_shape():
    """A block that is shown stays aligned below its first line."""
    assert drawn(at(1, 1, 2), help="write:\nprompt: |\n  a").endswith(
        "   help: write:\n         prompt: |\n           a"
    )


def test_problems_come_in_file_order():
    """Whatever found them; those of another file after the first one's."""
    source, other = Source("a.yaml", TEXT), Source("--set", "x=1")
    diagnostics = Diagnostics()
    diagnostics.error("c", "third", Span(source, 3, 1, 3, 2))
    diagnostics.error("d", "set", Span(other, 1, 1, 1, 2))
    diagnostics.error("a", "first", Span(source, 1, 1, 1, 2))
    assert [item.message for item in diagnostics] == ["first", "third", "set"]


def test_the_same_problem_counts_once():
    """Two checks that find one problem report it once."""
    diagnostics = Diagnostics()
    span = at(1, 1, 2)
    diagnostics.error("a", "once", span)
    diagnostics.error("a", "once", span)
    diagnostics.error("a", "another", span)
    assert len(diagnostics) == 2


def test_many_problems_are_counted():
    """The first fifty are drawn."""
    source = Source("a.yaml", "x\n" * 80)
    problems = [Diagnostic("a", "m", Span(source, n, 1, n, 2)) for n in range(1, 71)]
    text = render(problems)
    assert text.count("error[a]") == MAX_SHOWN
    assert text.endswith("... and 20 more problems")


def test_errors_are_raised_with_everything():
    """The exception's message is what a terminal would show."""
    diagnostics = Diagnostics()
    diagnostics.error("a", "wrong", at(1, 1, 2))
    diagnostics.warning("b", "odd", at(2, 1, 2))
    with pytest.raises(CompileError) as caught:
        diagnostics.raise_if_errors()
    assert [item.code for item in caught.value.diagnostics] == ["a", "b"]
    assert "rag.yaml:1:1: error[a]: wrong" in str(caught.value)


def test_editors_get_plain_data():
    """Every field, as JSON can hold it."""
    problem = Diagnostic("a", "wrong", at(3, 5, 9), ("note",), "help")
    assert json.loads(json.dumps(to_json([problem]))) == [
        {
            "code": "a",
            "severity": "error",
            "message": "wrong",
            "file": "rag.yaml",
            "line": 3,
            "column": 5,
            "end_line": 3,
            "end_column": 9,
            "notes": ["note"],
            "help": "help",
        }
    ]


@pytest.mark.parametrize(
    ("word", "candidates", "found"),
    [
        ("docs", ["documents", "question"], None),
        ("doc", ["documents", "question"], "documents"),
        ("document", ["documents", "question"], "documents"),
        ("qustion", ["documents", "question"], "question"),
        ("questoin", ["documents", "question"], "question"),
        ("Inputs", ["inputs", "with"], "inputs"),
        ("web-search", ["web_search"], "web_search"),
        ("topk", ["top_k", "tops"], "top_k"),
        ("x", ["y", "inputs"], "y"),
        ("temperature", ["with", "needs"], None),
        ("", ["inputs"], None),
        ("anything", [], None),
    ],
)
def test_the_nearest_word_is_the_one_that_was_meant(word, candidates, found):
    """One or two typing errors, another case or dash, a plural; never a wild guess."""
    assert nearest(word, candidates) == found


@given(st.text(max_size=12), st.text(max_size=12))
def test_edit_distance_is_a_distance(left, right):
    """Nothing between equal words, the same both ways, at most the longer length."""
    distance = edit_distance(left, right)
    assert (distance == 0) == (left == right)
    assert distance == edit_distance(right, left)
    assert distance <= max(len(left), len(right))
