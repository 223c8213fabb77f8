"""``--set path=value``."""

import pytest

from teola.compiler.diagnostics import Diagnostics, render
from teola.compiler.overrides import apply_overrides
from teola.compiler.source import Source, load_yaml
from teola.compiler.spec import spec_from_tree

WORKFLOW = """\
teola: 1
name: example
inputs: {question: text}
engines:
  llm: {kind: llm, model: smollm2-135m-instruct}
modules:
  answer:
    uses: generate
    inputs: {q: inputs.question}
    with:
      messages:
        - {role: user, content: Hello}
  rest: {uses: chunk}
outputs: {answer: answer.text}
"""


def applied(*sets):
    """The tree after ``sets``, and the problems."""
    diagnostics = Diagnostics()
    tree = load_yaml(Source("x.yaml", WORKFLOW), diagnostics)
    assert tree is not None
    return apply_overrides(tree, sets, diagnostics), diagnostics


def value_after(option, *path):
    """What stands at ``path`` after one option without problems."""
    tree, diagnostics = applied(option)
    assert render(diagnostics) == ""
    data = tree.data
    for part in path:
        data = data[part]
    return data


@pytest.mark.parametrize(
    ("option", "path", "value"),
    [
        ("engines.llm.model=local", ("engines", "llm", "model"), "local"),
        ("engines.llm.dtype=float32", ("engines", "llm", "dtype"), "float32"),
        ("modules.rest.with.size=5", ("modules", "rest", "with", "size"), 5),
        ("modules.rest.retry.max=2", ("modules", "rest", "retry", "max"), 2),
        ("defaults.timeout=5s", ("defaults", "timeout"), "5s"),
        ("deadline=5m", ("deadline",), "5m"),
        ("modules.rest.needs=[answer]", ("modules", "rest", "needs"), ["answer"]),
        ("modules.rest.with={size: 5}", ("modules", "rest", "with"), {"size": 5}),
        ('name="other"', ("name",), "other"),
        ("name=a: b # c", ("name",), "a: b # c"),
        ("name={{ q }} and more", ("name",), "{{ q }} and more"),
        ("name=true", ("name",), True),
        ("name= no ", ("name",), "no"),
        ("name=a=b", ("name",), "a=b"),
    ],
)
def test_values_replace_or_are_added(option, path, value):
    """A constant of the file, or one that it leaves out; core scalars, flow values, plain texts."""
    assert value_after(option, *path) == value


def test_items_of_lists_are_named_by_position():
    """A prompt's second message, say."""
    path = ("modules", "answer", "with", "messages", 0, "content")
    assert value_after("modules.answer.with.messages.0.content=Hi", *path) == "Hi"


def test_short_forms_grow():
    """An input that is only a type gets a default."""
    found = value_after("inputs.question.default=Why?", "inputs", "question")
    assert found == {"type": "text", "default": "Why?"}
    found = value_after("outputs.answer.default=none", "outputs", "answer")
    assert found == {"from": "answer.text", "default": "none"}


def test_options_are_applied_in_order():
    """The later one wins."""
    tree, diagnostics = applied("deadline=5m", "deadline=6m")
    assert tree.data["deadline"] == "6m"
    assert len(diagnostics) == 0


def test_the_file_stays_as_it_was():
    """Options make a new tree."""
    diagnostics = Diagnostics()
    tree = load_yaml(Source("x.yaml", WORKFLOW), diagnostics)
    apply_overrides(tree, ["engines.llm.dtype=float32"], diagnostics)
    assert "dtype" not in tree.data["engines"]["llm"]


def test_problems_of_a_value_point_into_the_option():
    """It is checked as if written in the file, and shown where it was written."""
    tree, diagnostics = applied("engines.llm.dtype=fp32", "modules.rest.with.sise=5")
    spec_from_tree(tree, diagnostics)
    assert render(diagnostics) == (
        "--set:1:19: error[bad-value]: 'dtype' must be one of auto, float32, bfloat16, float16, "
        "got the text 'fp32'\n"
        "    1 | engines.llm.dtype=fp32\n"
        "      |                   ^^^^\n"
        "   help: did you mean 'float32'?"
    )
    assert tree.key_span(("modules", "rest", "with", "sise")).column == 19
    assert tree.value_span(("modules", "rest", "with", "sise")).column == 24


@pytest.mark.parametrize(
    ("option", "code", "column", "helped"),
    [
        ("engines.lm.dtype=float32", "unknown-path", 9, "'engines.llm'"),
        ("modules.anwser.with.a=1", "unknown-path", 9, "'modules.answer'"),
        ("inputs.new=text", "unknown-path", 8, None),
        ("modules.answer.uses.x=1", "unknown-path", 21, None),
        ("modules.answer.with.messages.7.role=a", "unknown-path", 30, "0 to 0"),
        ("modules.answer.with.messages.x=1", "unknown-path", 30, "0 to 0"),
        ("engines.llm.dtype", "bad-override", 1, "path=value"),
        ("engines..dtype=a", "bad-override", 1, "path=value"),
        ("=a", "bad-override", 1, "path=value"),
        ("", "bad-override", 1, "path=value"),
        ("name=", "bad-override", 6, '""'),
        ("name=[a", "bad-override", 6, "quotes and brackets"),
        ("name='a", "bad-override", 6, "quotes and brackets"),
        ("name={a: &b [*b]}", "alias-cycle", 14, None),
        ("deadline=.inf", "bad-number", 10, None),
    ],
)
def test_what_cannot_be_set_is_named(option, code, column, helped):
    """With the part that is wrong and the nearest right one; the tree stays as it is."""
    tree, diagnostics = applied(option)
    [problem] = diagnostics
    assert (problem.code, problem.span.column) == (code, column)
    assert problem.span.source.name == "--set"
    assert helped is None or helped in problem.help
    assert tree.data == applied()[0].data


def test_unknown_keys_of_the_top_are_the_files_affair():
    """They are reported like any unknown key."""
    tree, diagnostics = applied("dead_line=5m")
    spec_from_tree(tree, diagnostics)
    [problem] = diagnostics
    assert (problem.code, problem.span.source.name) == ("unknown-key", "--set")
