"""The module vocabulary: tables that hold together, built-in prompts, plug-ins."""

import importlib.metadata

import pytest

from teola.compiler.check import check
from teola.compiler.diagnostics import render
from teola.compiler.graph.pgraph import Ref
from teola.compiler.modules import MODULES, find_module, register_module
from teola.compiler.modules.definition import ModuleDefinition, Settings, Value
from teola.compiler.modules.synthesize import SynthesizeSettings
from teola.compiler.modules.synthesize_prompts import ANSWER, COMBINE, REFINE, numbered
from teola.compiler.prompts import template
from teola.compiler.source import Source
from teola.compiler.types import parse_type
from teola.compiler.values import mismatch

PASSAGES = [{"id": str(n), "text": f"Fact {n}.", "document": "d"} for n in (1, 2)]

EVERY_SETTING = [
    (definition, settings)
    for definition in MODULES.values()
    for settings in (
        [SynthesizeSettings(mode=mode, cite=cite) for mode in ("one_shot", "refine", "tree")
         for cite in (False, True)]
        if definition.name == "synthesize"
        else [definition.settings()]
    )
]  # fmt: skip


@pytest.mark.parametrize("definition", MODULES.values(), ids=MODULES)
def test_a_definition_agrees_with_itself(definition):
    """No name is both value and setting, defaults fit, engines are settings, all is described."""
    fields = definition.settings.model_fields
    assert not set(definition.values) & set(fields)
    assert set(definition.engines) <= set(fields)
    assert all(field.description for field in fields.values())
    for value in definition.values.values():
        assert value.doc
        if value.default is not None:
            assert mismatch(value.default[0], value.types[0]) is None
    for group in definition.one_of:
        assert all(not definition.values[name].required for name in group)


@pytest.mark.parametrize(
    ("definition", "settings"), EVERY_SETTING, ids=[d.name for d, _ in EVERY_SETTING]
)
def test_built_in_prompts_use_only_what_is_documented(definition, settings):
    for prompt in definition.prompts(settings).values():
        for entry in prompt.entries:
            if entry.template is not None:
                used = set(template(entry.template).variables)
                assert used <= {*definition.values, *prompt.variables}


@pytest.mark.parametrize(
    ("source", "late"), [(ANSWER, {"passages"}), (REFINE, {"answer"}), (COMBINE, {"answers"})]
)
def test_what_comes_late_stands_last_in_built_in_prompts(source, late):
    """The question needs no passage, the passage no earlier answer: early prefills live on that."""
    needs = [set(part.needs) for part in template(source).parts if part.needs]
    assert needs[0] == {"question"}
    assert needs[-1] == late


def test_the_answer_prompt_holds_question_and_passages():
    text = template(ANSWER).render({"question": "Why?", "passages": PASSAGES})
    assert text.index("Question: Why?") < text.index("Fact 1.") < text.index("Fact 2.")


def test_without_passages_the_prompt_says_that_nothing_was_found():
    text = template(ANSWER).render({"question": "Why?", "passages": []})
    assert "No passages were found" in text
    assert "Passages:" not in text


def test_without_a_question_passages_are_summed_up():
    for source in (ANSWER, REFINE, COMBINE):
        values = {"passages": PASSAGES, "passage": PASSAGES[0], "answer": "A", "answers": ["A"]}
        assert "uestion" not in template(source).render({**values, "question": None})


def test_citing_prompts_number_passages_in_order():
    """Leaves of a tree and steps of refining go on counting."""
    prompts = numbered()
    text = template(prompts["answer"]).render({"question": "Q", "passages": PASSAGES, "index": 3})
    assert "[4] Fact 1." in text
    assert "[5] Fact 2." in text
    values = {"question": "Q", "passage": PASSAGES[0], "answer": "A", "index": 0}
    assert "[2] Fact 1." in template(prompts["refine"]).render(values)
    for name, source in (("answer", ANSWER), ("refine", REFINE), ("combine", COMBINE)):
        assert prompts[name] != source


# Plug-ins.


class ShoutSettings(Settings):
    """No settings."""


def lower_shout(build):
    joined = build.add("concat", {"items": build.input("texts")})
    return {"texts": Ref(joined, "items")}


SHOUT = ModuleDefinition(
    name="shout",
    doc="Say it again.",
    values={"texts": Value((parse_type("list<text>"),), "What to say")},
    settings=ShoutSettings,
    outputs=lambda _: {"texts": parse_type("list<text>")},
    lower=lower_shout,
)

SHOUTING = """
teola: 1
name: shouting
inputs: {question: text}
modules:
  loud: {uses: shout, inputs: {texts: inputs.question}}
outputs: {texts: loud.texts}
"""


@pytest.fixture
def entry_points(monkeypatch):
    """Entry points of a distribution that is not installed."""

    def put(**loaded):
        class Point:
            def __init__(self, name):
                self.name = name
                self.value = f"plugin:{name}"

            def load(self):
                if isinstance(loaded[self.name], Exception):
                    raise loaded[self.name]
                return loaded[self.name]

        def found(*, group, name):
            assert group == "teola.modules"
            return [Point(name)] if name in loaded else []

        monkeypatch.setattr("teola.compiler.modules.entry_points", found)

    before = dict(MODULES)
    yield put
    MODULES.clear()
    MODULES.update(before)


def test_a_plugin_is_loaded_when_it_is_named(entry_points):
    entry_points(shout=SHOUT)
    assert "shout" not in MODULES
    graph, diagnostics = check(Source("shout.yaml", SHOUTING))
    assert not diagnostics.errors
    assert graph.by_id["loud"].definition is SHOUT
    assert MODULES["shout"] is SHOUT


def test_a_plugin_that_breaks_is_named(entry_points):
    entry_points(shout=ImportError("no module named loudspeaker"))
    _, diagnostics = check(Source("shout.yaml", SHOUTING))
    assert "'shout' cannot be loaded: no module named loudspeaker" in render(diagnostics)


def test_a_plugin_must_give_a_definition_of_its_name(entry_points):
    entry_points(cry=SHOUT, text="no definition")
    for name in ("cry", "text"):
        with pytest.raises(ValueError, match="gives no module"):
            find_module(name)


def test_definitions_that_contradict_themselves_are_not_registered(entry_points):
    entry_points()
    with pytest.raises(ValueError, match="exists already"):
        register_module(MODULES["chunk"])

    class Both(Settings):
        texts: str = ""

    with pytest.raises(ValueError, match="are value and setting"):
        register_module(ModuleDefinition(**{**vars(SHOUT), "settings": Both}))
    with pytest.raises(ValueError, match="no setting names"):
        register_module(ModuleDefinition(**{**vars(SHOUT), "engines": ("llm",)}))


def test_unknown_words_are_looked_up_and_not_found():
    assert find_module("no_such_module") is None
    assert importlib.metadata.entry_points(group="teola.modules", name="no_such_module") == ()
