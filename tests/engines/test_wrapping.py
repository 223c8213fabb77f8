"""An object around an answer leaves no trace, however it comes."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.engines.openai.wrapping import NAME, Unwrapping, wrapped

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda one: st.lists(one) | st.dictionaries(st.text(), one),
)


@given(value=VALUES, indent=st.sampled_from([None, 2]), cuts=st.lists(st.integers(0, 99)))
def test_the_value_is_what_is_left(value, indent, cuts):
    """In whatever parts it comes, with blanks or without."""
    text, unwrapping = json.dumps({NAME: value}, indent=indent), Unwrapping()
    places = sorted({0, len(text), *(cut % len(text) for cut in cuts)})
    parts = [text[a:b] for a, b in pairwise(places)]
    left = "".join(unwrapping.push(part) for part in parts)
    assert json.loads(left) == value
    assert left == left.lstrip()


def test_references_lead_where_they_led():
    """To what is named, which stays at the root, and to a schema that has moved."""
    schema = {"anyOf": [{"$ref": "#/$defs/one"}, {"$ref": "#"}, {"$ref": "#/anyOf/0"}]}
    whole = wrapped({**schema, "$defs": {"one": {"type": "null"}}})
    assert whole["$defs"] == {"one": {"type": "null"}}
    assert whole["properties"][NAME] == {
        "anyOf": [
            {"$ref": "#/$defs/one"},
            {"$ref": f"#/properties/{NAME}"},
            {"$ref": f"#/properties/{NAME}/anyOf/0"},
        ]
    }


def test_steps_are_those_that_brought_some_of_the_value():
    """Each with what else could have come of it."""
    steps = [
        [('{"', 0.0)],
        [(NAME, 0.0)],
        [('":"y', -0.7), ('":"n', -0.8), ('":', -3.0)],
        [("es", -0.1), ("ep", -2.0)],
        [('"}', 0.0)],
    ]
    assert Unwrapping().steps(steps) == [
        [('"y', -0.7), ('"n', -0.8)],
        [("es", -0.1), ("ep", -2.0)],
        [('"', 0.0)],
    ]
