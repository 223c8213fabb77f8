"""Grammars over the vocabulary of a real model."""

import json

import pytest

from teola.runtime.engines.protocol import Grammar
from teola.runtime.errors import UnsupportedError
from teola.runtime.models import ensure

pytestmark = pytest.mark.models

END = 2


@pytest.fixture(scope="module")
def grammars():
    from teola.runtime.engines.transformers.grammars import Grammars

    folder = ensure({"kind": "llm", "model": "smollm2-135m-instruct"})
    return Grammars(folder, 49_160, {END})


def walk(grammars, grammar, pick=0):
    """The text that a model writes which always takes one of the first tokens allowed."""
    state, answer = grammars.begin(grammar), []
    for _ in range(200):
        allowed = state.tokens(answer).nonzero().flatten().tolist()
        if END in allowed:
            break
        answer.append(allowed[min(pick, len(allowed) - 1)])
    return grammars._tokenizer.decode_str(answer)


@pytest.mark.parametrize("choices", [("yes", "no"), ('a "b"\\c', "ü\tx"), ("x|y", "/r/", "line")])
def test_only_the_choices_can_be_written(grammars, choices):
    """Whatever signs they have."""
    written = {walk(grammars, Grammar(choices=choices), pick) for pick in range(8)}
    assert written <= set(choices)


def test_only_json_that_the_schema_allows_can_be_written(grammars):
    """Without blanks, in which small models lose themselves."""
    schema = {
        "type": "object",
        "properties": {"a": {"enum": [1, 2]}, "b": {"type": "boolean"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    for pick in range(4):
        text = walk(grammars, Grammar(json_schema=json.dumps(schema)), pick)
        assert text == json.dumps(json.loads(text), separators=(",", ":"))
        assert json.loads(text)["a"] in (1, 2)


def test_an_answer_that_was_begun_anew_goes_on_in_its_grammar(grammars):
    """A loop that is short of room computes a sequence again, with what it has of its answer."""
    grammar = Grammar(choices=("one two three", "four"))
    whole, state = grammars._tokenizer.tokenize_str("one two three"), grammars.begin(grammar)
    for count in range(len(whole)):
        assert state.tokens(whole[:count])[whole[count]]
    again = grammars.begin(grammar)
    assert again.tokens(whole[:2])[whole[2]]
    assert state.tokens(whole).nonzero().flatten().tolist() == [END]


def test_what_no_grammar_knows_is_left_to_the_reader_and_nonsense_is_refused(grammars):
    odd = {"type": "object", "properties": {"a": {"not": {"type": "string"}}}, "required": ["a"]}
    assert walk(grammars, Grammar(json_schema=json.dumps(odd))).startswith('{"a":')
    with pytest.raises(UnsupportedError, match="cannot be followed"):
        grammars.begin(Grammar(json_schema='{"type": "objekt"}'))


def test_a_token_that_is_not_allowed_ends_the_guidance(grammars):
    state = grammars.begin(Grammar(choices=("yes", "no")))
    assert state.tokens([END + 5]) is None
