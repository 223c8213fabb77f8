"""``where:`` is an expression over metadata, or an error that says what can be written."""

import pytest

from teola.compiler.where import WhereError, inputs_of, parse_where


def test_an_expression_becomes_data():
    assert parse_where("meta.a.b == 1 and not x in meta.tags") == [
        "and",
        ["==", {"meta": ["a", "b"]}, {"value": 1}],
        ["not", ["in", {"input": "x"}, {"meta": ["tags"]}]],
    ]
    assert parse_where("meta.a not in ['x', -1]") == [
        "not",
        ["in", {"meta": ["a"]}, {"value": ["x", -1]}],
    ]
    assert parse_where("1 < meta.a < y") == [
        "and",
        ["<", {"value": 1}, {"meta": ["a"]}],
        ["<", {"meta": ["a"]}, {"input": "y"}],
    ]


def test_inputs_are_named():
    where = parse_where("meta.a == x or (meta.b > y and meta.c is defined) or x != meta.d")
    assert list(inputs_of(where)) == ["x", "y", "x"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is no expression"),
        ("meta.a ==", "it is no expression"),
        ("meta.a = 1", "compared with =="),
        ("meta.a == 1 meta.b", "there is more after the expression: 'meta'"),
        ("meta.a && meta.b", "it is no expression"),
        ("meta.a == 1 }} x", "there is more after the expression"),
        ("meta.a", "compares fields of meta"),
        ("true", "compares fields of meta"),
        ("x == 1", "a field of meta on one side"),
        ("meta == 1", "fields are those of meta"),
        ("chunk.text == 1", "fields are those of meta"),
        ("meta[0] == 1", "a field of meta is named"),
        ("meta.a | lower == 'x'", "operands are"),
        ("meta.a == x + 1", "operands are"),
        ("meta.a() == 1", "operands are"),
        ("meta.a is odd", "compares fields of meta"),
    ],
)
def test_anything_else_is_refused(text, said):
    with pytest.raises(WhereError, match=said):
        parse_where(text)
