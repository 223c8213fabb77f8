"""What OpenAI's servers are told of an answer's schema: they take it, and it means the same."""

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.engines.made_up import made_up
from teola.runtime.engines.openai.strict import MOST_CHOICES, MOST_LEVELS, strict_form
from teola.runtime.engines.protocol import Grammar
from tests.openai_model import not_strict

TEXT, NUMBER = {"type": "string"}, {"type": "integer", "minimum": 3}


def thing(**more):
    """An object with a text and a number, both of which it must have."""
    parts = {"a": TEXT, "b": NUMBER}
    return {"type": "object", "properties": parts, "required": ["a", "b"], **more}


CLOSED = thing(additionalProperties=False)


def test_a_strict_schema_stays_as_it_is():
    assert strict_form(CLOSED) == CLOSED


def test_an_object_that_says_nothing_of_more_gets_no_more():
    """At every place; what it may have been given besides, nobody has asked for."""
    places = {"list": {"type": "array", "items": thing()}, "one": {"anyOf": [thing(), TEXT]}}
    whole = {"type": "object", "properties": places, "required": ["one", "list"]}
    form = strict_form({**whole, "$defs": {"named": thing()}})
    assert form["additionalProperties"] is False
    assert form["required"] == ["list", "one"]
    assert form["properties"]["list"]["items"] == CLOSED
    assert form["properties"]["one"]["anyOf"] == [CLOSED, TEXT]
    assert form["$defs"]["named"] == CLOSED


def test_values_that_are_named_have_their_types():
    """A schema without a type is refused."""
    parts = {"a": {"enum": ["x", None]}, "b": {"const": 3}, "c": {"enum": [True, False]}}
    form = strict_form({"type": "object", "properties": parts, "required": [*parts]})
    types = [part["type"] for part in form["properties"].values()]
    assert types == [["string", "null"], "integer", "boolean"]


def test_what_means_nothing_is_left_out():
    """A default, a format that no validator knows, words beside a reference."""
    text = {"type": "string", "default": "x", "format": "colour", "title": "A", "examples": ["y"]}
    other = {"$ref": "#/$defs/b", "description": "a number"}
    parts = {"a": text, "b": other}
    form = strict_form({**thing(properties=parts), "$schema": "…", "$defs": {"b": NUMBER}})
    assert form["properties"] == {"a": {"type": "string", "title": "A"}, "b": {"$ref": "#/$defs/b"}}


def nested(levels):
    return {"type": "object", "properties": {"in": nested(levels - 1)} if levels > 1 else {},
            "required": ["in"] if levels > 1 else []}  # fmt: skip


UNFIT = {
    "optional": thing(required=["a"]),
    "open": thing(additionalProperties=True),
    "of any names": thing(additionalProperties=TEXT),
    "any object": {"type": "object"},
    "anything": thing(properties={"a": {}, "b": NUMBER}),
    "anything, said so": thing(properties={"a": True, "b": NUMBER}),
    "long text": thing(properties={"a": {"type": "string", "minLength": 3}, "b": NUMBER}),
    "one of": thing(properties={"a": {"oneOf": [TEXT, NUMBER]}, "b": NUMBER}),
    "not": thing(properties={"a": {"type": "string", "not": {"const": "x"}}, "b": NUMBER}),
    "list of anything": thing(properties={"a": {"type": "array"}, "b": NUMBER}),
    "different ones": thing(
        properties={"a": {"type": "array", "items": TEXT, "uniqueItems": True}, "b": NUMBER}
    ),
    "further keywords": thing(minProperties=2),
    "no object": {"type": "array", "items": TEXT},
    "one of several": {"anyOf": [thing(), TEXT]},
    "reference to a part": thing(properties={"a": TEXT, "b": {"$ref": "#/properties/a"}}),
    "too deep": nested(MOST_LEVELS + 1),
    "too many choices": thing(
        properties={"a": {"enum": [*map(str, range(MOST_CHOICES + 1))]}, "b": NUMBER}
    ),
    "too many letters": thing(properties={"a": {"enum": ["x" * 120_000]}, "b": NUMBER}),
}


@pytest.mark.parametrize("schema", UNFIT.values(), ids=UNFIT)
def test_what_has_no_strict_form_is_known(schema):
    """It is a hint then, and the answer is checked."""
    assert strict_form(schema) is None


def test_as_deep_as_may_be_is_not_too_deep():
    assert strict_form(nested(MOST_LEVELS)) is not None


NAMES = st.sampled_from(["a", "b", "default", "enum", "$ref"])
LEAVES = st.sampled_from(
    [
        TEXT,
        NUMBER,
        {},
        True,
        {"type": ["string", "null"]},
        {"enum": ["x", 3, None]},
        {"const": False},
        {"type": "boolean", "default": True},
        {"type": "string", "maxLength": 4},
        {"type": "object"},
        {"enum": [{"a": 1}]},
    ]
)


def objects(parts):
    return st.builds(
        lambda properties, must, closed: {
            "type": "object",
            "properties": properties,
            "required": [*properties][: None if must else -1],
            **closed,
        },
        st.dictionaries(NAMES, parts, max_size=3),
        st.sampled_from([True, True, True, False]),
        st.sampled_from([{}, {"additionalProperties": False}, {"additionalProperties": True}]),
    )


def wholes(parts):
    lists = st.builds(lambda one: {"type": "array", "items": one, "maxItems": 2}, parts)
    either = st.builds(lambda *some: {"anyOf": [*some]}, parts, parts)
    return objects(parts) | lists | either


@given(schema=objects(st.recursive(LEAVES, wholes, max_leaves=6)), seed=st.binary(max_size=4))
def test_the_strict_form_is_taken_and_allows_nothing_else(schema, seed):
    """Whatever it allows, the schema does."""
    form = strict_form(schema)
    if form is not None:
        assert not_strict(form) is None
        value = json.loads(made_up(Grammar(json_schema=json.dumps(form)), seed))
        jsonschema.Draft202012Validator(schema).validate(value)
        assert strict_form(form) == form
