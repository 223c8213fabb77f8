"""``-i name=value`` becomes a value of the input's declared type."""

import io

import pytest

from teola.compiler.graph.pgraph import InputPort
from teola.runtime.cli.values import read_inputs, read_value
from teola.runtime.errors import InputError

PORTS = (
    InputPort("documents", "list<document>", (["data"],), "Files or texts to search"),
    InputPort("question", "text"),
    InputPort("count", "int", (3,)),
)


@pytest.mark.parametrize(
    ("kind", "typed", "value"),
    [
        ("text", "12", "12"),
        ("text", "a: [b", "a: [b"),
        ("text", "", ""),
        ("text", "a=b", "a=b"),
        ("text", "@@alice asks", "@alice asks"),
        ("collection", "notes", "notes"),
        ("int", "12", 12),
        ("float", "0.5", 0.5),
        ("float", "2", 2),
        ("bool", "true", True),
        ("json", '{"a": [1, null]}', {"a": [1, None]}),
        ("json", "plain words", "plain words"),
        ("list<int>", "[1, 2]", [1, 2]),
        ("list<int>", "7", [7]),
        ("list<text>", "one: thing", ["one: thing"]),
        ("list<text>", "[a, b]", ["a", "b"]),
        ("list<text>", "- a\n- b", ["a", "b"]),
        ("list<text>", "- a bullet", ["a bullet"]),
        ("document", "docs/a.md", "docs/a.md"),
        ("document", "@docs/a.md", "docs/a.md"),
        ("list<document>", "docs/*.md", ["docs/*.md"]),
        ("list<document>", "{name: a, text: b}", [{"name": "a", "text": "b"}]),
        ("list<document>", "[a.md, b.md]", ["a.md", "b.md"]),
    ],
)
def test_a_value_is_read_by_its_declared_type(kind, typed, value):
    """Text stays as typed, documents are paths, everything else is YAML."""
    assert read_value("x", kind, typed) == value


def test_at_reads_a_file(tmp_path):
    """``@file`` is the file's text without its last line break; lists are YAML there too."""
    file = tmp_path / "question.txt"
    file.write_text("Why?\n\n", encoding="utf-8")
    assert read_value("question", "text", f"@{file}") == "Why?\n"
    file.write_text("- a\n- b\n", encoding="utf-8")
    assert read_value("queries", "list<text>", f"@{file}") == ["a", "b"]


def test_at_dash_reads_standard_input(monkeypatch):
    """``@-`` is what comes through a pipe."""
    monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe\n"))
    assert read_value("question", "text", "@-") == "from a pipe"


def test_home_is_followed_in_paths(monkeypatch, tmp_path):
    """A shell leaves ``documents=~/x`` alone, so the command line replaces it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_value("documents", "list<document>", "~/docs") == [f"{tmp_path}/docs"]


def test_repeating_a_list_input_appends():
    """Each ``-i`` of a list adds its items, in order."""
    given = ["documents=a.md", "question=Why?", "documents=[b.md, c.md]"]
    assert read_inputs(given, PORTS) == {"documents": ["a.md", "b.md", "c.md"], "question": "Why?"}


@pytest.mark.parametrize(
    ("kind", "typed", "message"),
    [
        ("int", "three", "input 'x': expected int, got the text 'three'"),
        ("int", "2.5", "input 'x': expected int, got the float 2.5"),
        ("bool", "yes", "input 'x': expected bool, got the text 'yes'"),
        ("list<int>", "[1, a]", "input 'x': item 1: expected int, got the text 'a'"),
        ("int", "", "input 'x': expected int, got nothing (null)"),
        ("document", "", "input 'x': expected document, got nothing: give a file, folder or glob"),
        ("json", "{a: [1", "input 'x': expected json, cannot read '{a: [1': "),
    ],
)
def test_a_bad_value_is_named_with_its_type(kind, typed, message):
    """The message has the input's name, the type that was expected and what came."""
    with pytest.raises(InputError) as caught:
        read_value("x", kind, typed)
    assert str(caught.value).startswith(message)


def test_an_unreadable_file_is_named():
    """So is the way to write a text that begins with @."""
    with pytest.raises(InputError) as caught:
        read_value("question", "text", "@nowhere.txt")
    assert str(caught.value) == (
        "input 'question': cannot read 'nowhere.txt': No such file or directory "
        "(a text that begins with @ is written @@)"
    )


def test_a_file_that_is_not_text_is_refused(tmp_path):
    """Bytes that are not UTF-8 are named with their place."""
    file = tmp_path / "picture"
    file.write_bytes(b"ab\xff")
    with pytest.raises(InputError, match=r"is not UTF-8 text \(byte 2\)"):
        read_value("question", "text", f"@{file}")


def test_an_unknown_input_gets_the_nearest_and_all_that_there_are():
    """A typing error is seen at once."""
    with pytest.raises(InputError) as caught:
        read_inputs(["qestion=Why?"], PORTS)
    assert str(caught.value) == (
        "there is no input 'qestion'; did you mean 'question'?\n"
        "the inputs are:\n"
        "  documents  list<document>  optional  Files or texts to search\n"
        "  question   text            required\n"
        "  count      int             optional"
    )


def test_a_missing_input_says_how_to_give_it():
    """Inputs with a default may be left out, all others not."""
    with pytest.raises(InputError, match=r"^input 'question' is missing: give -i question=…"):
        read_inputs([], PORTS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["question"], "-i question: write -i name=value, or -i name=@file"),
        (["question=a", "question=b"], "input 'question' is given twice, and text is not a list"),
    ],
)
def test_what_cannot_be_an_input_is_refused(given, message):
    """A word without ``=``, and a second value of what is no list."""
    with pytest.raises(InputError) as caught:
        read_inputs(given, PORTS)
    assert str(caught.value) == message
