"""A warm-up's tokens begin the whole prompt's, whatever is known: with the real tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teola.compiler.prompts import render_messages, template
from teola.runtime.engines.tokenizer import ByteTokenizer, TemplateError, Tokenizer, load_tokenizer
from teola.runtime.work.known_prefix import UNSURE, KnownPrefix

Draw = Callable[[Any], Any]
PROMPTS = 500
SMOLLM = {"model": "smollm2-135m-instruct"}
NAMES = ("question", "items", "passages", "history")

PIECES = ["lake", " the river", "ing", "s", "1984", " ", "\n\n", "  ", "été", "湖の水", "🙂"]
PIECES += ["\u0301", "\u200d", "👩", "Ω", "<|im_end|>", "\t", "don't", ".", "://", "{{", "a" * 30]
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=6).map("".join)
literals = texts.map(lambda text: text.replace("{", "").replace("#", "").replace("%", ""))

OF_TEXT = ("{{ NAME }}", "{% set x = NAME %}{{ x }}", "{% if NAME %}yes{% else %}no{% endif %}")
OF_LIST = ("{% for one in NAME %}- {{ one }}\n{% endfor %}", "{{ NAME | join(', ') }}")
OF_LIST += ("{% set n = NAME | length %}{{ n }}{% for one in NAME %}{{ one }}{% endfor %}",)
OF_PASSAGES = ("{% for one in NAME %}[{{ one.text }}]{% endfor %}", "{{ NAME | length }}")
PARTS = {"question": OF_TEXT, "items": OF_LIST, "passages": OF_PASSAGES}


@dataclass(frozen=True)
class Prompt:
    """Messages, and the values of their variables."""

    entries: tuple[Mapping[str, str], ...]
    values: Mapping[str, Any]

    def cuts(self) -> Iterator[frozenset[str]]:
        """What can be known: nothing, then more and more in the order in which it is needed."""
        known: frozenset[str] = frozenset()
        yield known
        for entry in self.entries:
            needed = [{entry["splice"]}] if "splice" in entry else _needs(entry["template"])
            for names in needed:
                if not names <= known:
                    known |= names
                    yield known


def _needs(source: str) -> Iterator[frozenset[str]]:
    return (part.needs & frozenset(NAMES) for part in template(source).parts)


@st.composite
def prompts(draw: Draw) -> Prompt:
    """One to three messages; one may be a conversation that is spliced in."""
    entries: list[dict[str, str]] = []
    names = list(draw(st.permutations(sorted(PARTS))))
    for role in draw(st.sampled_from([("user",), ("system", "user"), ("system", "user", "user")])):
        text = ""
        for _ in range(draw(st.integers(0, 4))):
            name = draw(st.sampled_from(names))
            text += draw(literals) + draw(st.sampled_from(PARTS[name])).replace("NAME", name)
        entries.append({"role": role, "template": text + draw(literals)})
    if draw(st.booleans()):
        entries.insert(draw(st.integers(0, len(entries))), {"splice": "history"})
    messages = st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant"]), "content": texts}
    )
    passages = st.fixed_dictionaries({"id": texts, "text": texts, "document": texts})
    values = {
        "question": draw(texts),
        "items": draw(st.lists(texts, max_size=4)),
        "passages": draw(st.lists(passages, max_size=3)),
        "history": draw(st.lists(messages, max_size=3)),
    }
    return Prompt(tuple(entries), values)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """The embedded language model's."""
    return load_tokenizer(SMOLLM)


@pytest.mark.models
def test_a_warm_up_begins_the_prompt(tokenizer):
    """At every cut of 500 prompts; and it is no more than a few tokens short of what is known."""
    cuts = []

    @settings(max_examples=PROMPTS)
    @given(prompt=prompts())
    def every(prompt):
        whole = tokenizer.encode_chat(render_messages(prompt.entries, prompt.values))
        prefix = KnownPrefix(prompt.entries, tokenizer)
        before = 0
        for known in prompt.cuts():
            tokens = prefix.tokens({name: prompt.values[name] for name in known})
            assert list(tokens) == list(whole[: len(tokens)]), known
            assert len(tokens) >= before - UNSURE
            before = len(tokens)
            cuts.append(len(tokens))

    every()
    assert len(cuts) > 2 * PROMPTS
    assert sum(map(bool, cuts)) > len(cuts) / 2


@pytest.mark.models
def test_what_a_spliced_conversation_begins_with_is_not_guessed(tokenizer):
    """The chat template puts a system message before one that begins without: nothing is sure."""
    entries = [{"splice": "history"}, {"role": "system", "template": "x" * 100}]
    assert list(KnownPrefix(entries, tokenizer).tokens({})) == []
    assert list(KnownPrefix(entries[:1], tokenizer).tokens({})) == []
    ours = {"role": "system", "template": "Be kind to everybody who asks about lakes and rivers."}
    assert len(KnownPrefix([ours, *entries], tokenizer).tokens({})) > UNSURE


def test_ways_that_a_chat_template_refuses_do_not_count():
    """Where only one is left nothing is known; the call itself says what is wrong with it."""

    class Strict(ByteTokenizer):
        def encode_chat(self, messages):
            if any(message["role"] != "user" for message in messages):
                raise TemplateError("users only")
            return super().encode_chat(messages)

    begun = {"role": "user", "template": "known {{ a }}"}
    assert KnownPrefix([begun], Strict()).tokens({})
    refused = [{"role": "system", "template": "{{ a }}"}]
    assert KnownPrefix(refused, Strict()).tokens({"a": "b"}) == ()
