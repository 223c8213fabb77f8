"""Answers read as they come: JSON values and lists, choices, yes and no."""

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.engines.made_up import made_up
from teola.runtime.shapes import ChoiceShape, JsonListShape, JsonShape, MalformedError, shape_of

texts = st.text(st.sampled_from('ab"\\[]{},:\n é'), max_size=6)
scalars = st.none() | st.booleans() | st.integers(-999, 999) | st.floats(-9, 9) | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
containers = st.lists(values, max_size=3) | st.dictionaries(texts, values, max_size=3)
indents = st.sampled_from([None, 1])
around = st.sampled_from(["", "Sure:\n", "```json\n", "  "])
after = st.sampled_from(["", "\n```", " Done [1] {}", "]"])


def fed(shape, text, data):
    """The items of an answer that comes in parts of any sizes, and the text that counts."""
    items, counted, place = [], "", 0
    while place < len(text) and not shape.full:
        size = data.draw(st.integers(1, 5))
        part, new = shape.push(text[place : place + size])
        counted, items, place = counted + part, items + new, place + size
    return items + shape.finish(truncated=False), counted


def read(shape, text, *, truncated=False):
    """Take a whole answer."""
    shape.push(text)
    shape.finish(truncated)


@given(value=containers, indent=indents, before=around, rest=after, data=st.data())
def test_a_json_value_ends_where_it_ends(value, indent, before, rest, data):
    """Whatever stands around it, in whatever parts it comes."""
    text = json.dumps(value, indent=indent, ensure_ascii=data.draw(st.booleans()))
    shape = JsonShape(None)
    _, counted = fed(shape, before + text + rest, data)
    assert shape.full
    assert shape.value == value
    assert counted == before + text


@given(value=scalars, data=st.data())
def test_a_scalar_ends_with_the_answer(value, data):
    shape = JsonShape(None)
    fed(shape, f" {json.dumps(value)}\n", data)
    assert shape.value == value


@given(items=st.lists(values, max_size=4), indent=indents, before=around, rest=after,
       data=st.data())  # fmt: skip
def test_items_of_a_list_leave_when_they_are_complete(items, indent, before, rest, data):
    text = json.dumps(items, indent=indent)
    shape = JsonListShape(None, None)
    found, counted = fed(shape, before + text + rest, data)
    assert found == items
    assert shape.full
    assert counted == before + text


def test_an_item_leaves_with_its_comma():
    shape = JsonListShape(None, None)
    assert shape.push('[{"a": [1, 2]}') == ('[{"a": [1, 2]}', [])
    assert shape.push(", ") == (", ", [{"a": [1, 2]}])
    assert shape.push("3]") == ("3]", [3])


@given(items=st.lists(values, min_size=1, max_size=5), wanted=st.integers(1, 6), data=st.data())
def test_decoding_stops_once_the_wanted_items_are_there(items, wanted, data):
    shape = JsonListShape(None, wanted)
    found, _ = fed(shape, json.dumps(items), data)
    assert found == items[:wanted]
    assert shape.full


@given(items=st.lists(containers, min_size=1, max_size=4), data=st.data())
def test_an_item_that_is_cut_off_is_dropped(items, data):
    text = json.dumps(items)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    shape = JsonListShape(None, None)
    _, found = shape.push(cut)
    assert shape.finish(truncated=True) == []
    assert found == items[: len(found)]
    assert len(found) < len(items) or cut.rstrip() == text[:-1].rstrip() == cut


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no list", "there is no list"),
        ("[1, 2", "the list does not end"),
        ("[1, ]", "its item 2, '': this is no JSON"),
        ("[1,, 2]", "its item 2, '': this is no JSON"),
        ("[1, two]", "its item 2, 'two': this is no JSON"),
        ("[1}", "the list ends with '}'"),
        ("[NaN]", "its item 1, 'NaN': this is no JSON"),
        ('[1, "a"]', r"its item 2, '\"a\"': the schema does not allow it: \$: 'a' is not of type"),
    ],
)
def test_a_malformed_list_says_where(text, says):
    with pytest.raises(MalformedError, match=says):
        read(JsonListShape({"type": "integer"}, None), text)


@pytest.mark.parametrize(
    ("text", "truncated", "says"),
    [
        ("I cannot.", False, "this is no JSON"),
        ("", False, "this is no JSON"),
        ('{"a": 1', False, "this is no JSON"),
        ('{"a": 1', True, "max_tokens cut it off"),
        ('{"a": }', False, "this is no JSON"),
        ('{"a": "x"}', False, r"the schema does not allow it: \$\.a: 'x' is not of type"),
        ('{"a": ' + "[" * 5000 + "]" * 5000 + "}", False, "this is no JSON"),
    ],
)
def test_a_malformed_value_says_what_is_wrong(text, truncated, says):
    shape = JsonShape({"type": "object", "properties": {"a": {"type": "integer"}}})
    with pytest.raises(MalformedError, match=says):
        read(shape, text, truncated=truncated)


CHOICES = ["search", "search_web", "answer directly", "-1", "no"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("search", "search"),
        ("Search.", "search"),
        (" **search_web** because", "search_web"),
        ("- answer directly", "answer directly"),
        ("`-1`", "-1"),
        ("no, thanks", "no"),
        ('"NO"', "no"),
        ("note", None),
        ("search_x", None),
        ("I would search", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("size", [1, 100])
def test_an_answer_is_the_choice_that_it_begins_with(text, value, size):
    shape = ChoiceShape(CHOICES)
    for place in range(0, len(text), size):
        shape.push(text[place : place + size])
    if value is None:
        with pytest.raises(MalformedError, match="must begin with one of: search, search_web"):
            shape.finish(truncated=False)
    else:
        assert shape.finish(truncated=False) == []
        assert shape.value == value


def test_decoding_stops_when_the_choice_is_certain():
    shape = ChoiceShape(CHOICES)
    assert shape.push("search") == ("search", [])
    assert not shape.full
    assert shape.push(" on and on") == ("", [])
    assert shape.full


@pytest.mark.parametrize(
    ("text", "value"),
    [("yes", True), ("No.", False), ("TRUE", True), ("**false**", False), ("Yes, it is", True)],
)
def test_yes_and_true_are_true(text, value):
    shape = ChoiceShape.yes_or_no()
    shape.push(text)
    shape.finish(truncated=False)
    assert shape.value is value
    assert shape.port == "bool"


schemas = st.recursive(
    st.sampled_from(
        [
            {"type": "string", "maxLength": 9},
            {"type": "integer", "minimum": 3, "maximum": 5},
            {"type": "number", "multipleOf": 2},
            {"enum": ["a", 1, None]},
            {"const": {"x": []}},
            {"type": ["null", "string"]},
            {"type": "boolean"},
            True,
        ]
    ),
    lambda inner: (
        st.builds(lambda one: {"type": "array", "items": one, "minItems": 1}, inner)
        | st.builds(lambda one: {"anyOf": [one, {"type": "null"}]}, inner)
        | st.builds(
            lambda parts: {"type": "object", "properties": parts, "required": sorted(parts)},
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        )
    ),
    max_leaves=6,
)


@given(schema=schemas, seed=st.binary(max_size=4), count=st.none() | st.integers(1, 4))
def test_what_is_made_up_for_a_grammar_is_read_as_asked(schema, seed, count):
    """The grammars of shapes and the answers of fakes agree, references included."""
    tree = {"$defs": {"part": schema}, "type": "object", "properties":
            {"one": {"$ref": "#/$defs/part"}}, "required": ["one"]}  # fmt: skip
    for shape in (JsonShape(tree), JsonListShape(tree, count)):
        text = made_up(shape.grammar, seed)
        jsonschema.validate(json.loads(text), json.loads(shape.grammar.json_schema))
        _, items = shape.push(text)
        assert shape.finish(truncated=False) == []
        assert (shape.value if isinstance(shape, JsonShape) else items) == json.loads(text)
        assert count is None or shape.wanted in (None, len(items))


def test_a_recursive_schema_can_be_made_up():
    parts = {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}}}
    tree = {"type": "object", "required": ["name"], "properties": parts}
    shape = JsonListShape(tree, 2)
    _, items = shape.push(made_up(shape.grammar, b"x"))
    assert len(items) == 2


def test_a_shape_is_found_by_its_name():
    asked = {
        "lines": {},
        "json": {},
        "json_list": {},
        "choice": {"choices": ["a", "b"]},
        "bool": {},
    }
    assert {name: shape_of({"shape": name, **more}, {}).port for name, more in asked.items()} == {
        name: name for name in asked
    }
    assert shape_of({"shape": "json_list"}, {"count": 3}).wanted == 3
