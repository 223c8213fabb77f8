"""Port types: how they are written, walked into and widened (language rule 6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.compiler.types import (
    FIELDS,
    SCALARS,
    TypeSyntaxError,
    conversion,
    field_type,
    parse_type,
    record_text,
)
from teola.compiler.values import coerced, convert_value, mismatch

types = st.recursive(
    st.sampled_from(SCALARS), lambda inner: inner.map(lambda name: f"list<{name}>"), max_leaves=3
).map(parse_type)


@given(types)
def test_a_type_reads_as_it_prints(type_):
    assert parse_type(str(type_)) == type_


@pytest.mark.parametrize(
    ("written", "help"),
    [
        ("list[text]", "write list<text>"),
        ("text[]", "write list<text>"),
        ("List<text>", "write list<text>"),
        ("list<str>", "did you mean text?"),
        ("string", "did you mean text?"),
        ("documents", "did you mean list<document>?"),
        ("pasage", "did you mean passage?"),
        ("list", "did you mean list<text>?"),
        ("quaternion", None),
    ],
)
def test_what_is_no_type_is_refused_with_the_nearest(written, help):
    with pytest.raises(TypeSyntaxError) as caught:
        parse_type(written)
    assert caught.value.help == help


@pytest.mark.parametrize(
    ("source", "target", "steps"),
    [
        ("text", "text", ()),
        ("int", "float", ("cast",)),
        ("text", "passage", ("cast",)),
        ("chunk", "passage", ()),
        ("text", "list<text>", ("wrap",)),
        ("text", "list<passage>", ("cast", "wrap")),
        ("chunk", "list<passage>", ("wrap",)),
        ("list<text>", "list<passage>", ("convert",)),
        ("list<chunk>", "list<passage>", ()),
        ("list<int>", "list<float>", ("convert",)),
        ("list<text>", "text", None),
        ("list<text>", "list<int>", None),
        ("passage", "chunk", None),
        ("passage", "text", None),
        ("float", "int", None),
        ("text", "json", None),
    ],
)
def test_types_widen_and_never_narrow(source, target, steps):
    assert conversion(parse_type(source), parse_type(target)) == steps


@given(types, types)
def test_no_list_becomes_its_item(source, target):
    if source.item is not None and target.item is None:
        assert conversion(source, target) is None


def test_fields_of_records_have_types_and_lists_have_none():
    assert field_type(parse_type("passage"), "score") == parse_type("float")
    assert field_type(parse_type("chunk"), "score") is None
    assert field_type(parse_type("json"), "anything") == parse_type("json")
    assert field_type(parse_type("list<passage>"), "text") is None
    assert FIELDS["passage"].items() >= FIELDS["chunk"].items()


def test_a_text_becomes_a_passage_of_that_text():
    [one, same, other] = convert_value(
        ["a", "a", "b"], parse_type("list<text>"), parse_type("list<passage>")
    )
    assert record_text(one) == "a"
    assert one["id"] == same["id"] != other["id"]
    assert mismatch(one, parse_type("passage")) is None


def test_values_widen_as_their_types_do():
    assert convert_value(3, parse_type("int"), parse_type("list<float>")) == [3.0]
    assert convert_value("a", parse_type("text"), parse_type("list<text>")) == ["a"]
    with pytest.raises(ValueError, match="list<text> does not become text"):
        convert_value(["a"], parse_type("list<text>"), parse_type("text"))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("docs/*.md", "document"),
        ({"name": "a", "text": "b"}, "document"),
        (["a.md", {"name": "a", "text": "b"}], "list<document>"),
        ("a.md", "list<document>"),
        (1, "float"),
        ({"a": [None]}, "json"),
        ({"role": "user", "content": "x"}, "message"),
        ([0.5, 1], "embedding"),
        ("shelf", "collection"),
    ],
)
def test_values_that_fit(value, written):
    assert mismatch(value, parse_type(written)) is None
    assert mismatch(coerced(value, parse_type(written)), parse_type(written)) is None


@pytest.mark.parametrize(
    ("value", "written", "why"),
    [
        (True, "int", "expected int, got the bool true"),
        (1.5, "int", "expected int, got the float 1.5"),
        (None, "text", "expected text, got nothing (null)"),
        (["a", 3], "list<text>", "item 1: expected text, got the int 3"),
        (3, "list<text>", "expected list<text>, got the int 3"),
        ({"name": "a"}, "document", "the document lacks its 'text'"),
        ({"role": "user", "content": 3}, "message", "'content' of the message: expected text, "),
        ({"name": "a", "txt": "b"}, "document", "a document has no field 'txt'"),
    ],
)
def test_values_that_do_not_fit_are_told_why(value, written, why):
    assert why in mismatch(value, parse_type(written))
