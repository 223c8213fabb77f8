"""The shape of a workflow file."""

import pytest
from pydantic import ValidationError

from teola.compiler.diagnostics import Diagnostics
from teola.compiler.source import Source, load_yaml
from teola.compiler.spec import RetrySpec, WorkflowSpec, spec_from_tree

WORKFLOW = """\
# yaml-language-server: $schema=../schemas/workflow.schema.json
$schema: ../schemas/workflow.schema.json
teola: 1
name: example
description: An example.
inputs:
  documents: {type: list<document>, default: [], description: Files}
  question: text
engines:
  llm: {kind: llm, model: smollm2-135m-instruct}
  small: {kind: llm, backend: fake}
  store: {kind: store}
defaults: {llm: llm, timeout: 60s, retry: {max: 2}}
deadline: 5m
modules:
  cut:
    uses: chunk
    inputs: {documents: inputs.documents}
    with: {size: 256}
    timeout: 2m
    idle_timeout: 500ms
    retry: {max: 1, backoff: constant, initial: 1h, on: [engine]}
    needs: []
outputs:
  chunks: cut.chunks
  rest: {from: cut.chunks, default: null}
"""


def read(text):
    """The spec of a text, and its problems."""
    diagnostics = Diagnostics()
    tree = load_yaml(Source("x.yaml", text), diagnostics)
    assert tree is not None
    return spec_from_tree(tree, diagnostics), list(diagnostics)


def spec_of(text):
    """The spec of a text without problems."""
    spec, problems = read(text)
    assert problems == []
    assert spec is not None
    return spec


def problems_of(line, instead):
    """(code, message, help) of the workflow's problems with one line changed."""
    assert line in WORKFLOW
    return [(p.code, p.message, p.help) for p in read(WORKFLOW.replace(line, instead))[1]]


def test_every_key_of_the_language_is_read():
    """Short and full forms give the same models; durations become seconds."""
    spec = spec_of(WORKFLOW)
    assert (spec.teola, spec.name, spec.deadline) == (1, "example", 300.0)
    assert spec.inputs["question"].type == "text"
    assert spec.inputs["documents"].default == []
    cut = spec.modules["cut"]
    assert (cut.uses, cut.with_, cut.timeout, cut.idle_timeout) == (
        "chunk",
        {"size": 256},
        120.0,
        0.5,
    )
    assert cut.inputs == {"documents": "inputs.documents"}
    assert cut.retry == RetrySpec(max=1, backoff="constant", initial="1h", on=("engine",))
    assert spec.outputs["chunks"].reference == "cut.chunks"
    assert spec.engine_names == {"llm": ("llm", "small"), "store": ("store",)}


def test_order_is_kept():
    """Modules are a chain and the first output is the main one."""
    text = WORKFLOW.replace("outputs:\n", "  a: {uses: chunk}\noutputs:\n  z: a.chunks\n")
    spec = spec_of(text)
    assert list(spec.modules) == ["cut", "a"]
    assert list(spec.outputs) == ["z", "chunks", "rest"]


def test_a_null_default_is_a_default():
    """Absent and null are told apart."""
    spec = spec_of(WORKFLOW)
    assert spec.outputs["rest"].has_default
    assert not spec.outputs["chunks"].has_default
    assert spec.inputs["documents"].has_default
    assert not spec.inputs["question"].has_default


def test_a_spec_cannot_be_changed():
    """It is what the file says."""
    with pytest.raises(ValidationError):
        spec_of(WORKFLOW).name = "other"


def test_a_retry_is_what_primitives_carry():
    """Plain data, with units in the names."""
    retry = RetrySpec(max=2, initial="1m")
    assert retry.config() == {"max": 2, "backoff": "exponential", "initial_s": 60.0, "on": []}


def test_the_smallest_workflow_is_four_keys():
    """Everything else has a default."""
    spec = spec_of("teola: 1\nname: a\nmodules: {m: {uses: chunk}}\noutputs: {o: m.chunks}\n")
    assert spec.defaults.timeout is None
    assert spec.inputs == {}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("200ms", 0.2), ("60s", 60), ("1.5s", 1.5), ("2m", 120), ("1h", 3600), ("10 s", 10)],
)
def test_durations_are_a_number_and_a_unit(text, seconds):
    """In seconds as soon as they are read."""
    spec = spec_of(WORKFLOW.replace("deadline: 5m", f"deadline: {text}"))
    assert spec.deadline == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "help_text"),
    [
        ("60", "for seconds write 60s"),
        ("60 sec", "write 60s"),
        ("5 Minutes", "write 5m"),
        ("5M", "write 5m"),
        ("5 days", "a duration is a number and its unit"),
        ("soon", "a duration is a number and its unit"),
        ("-5s", "a duration is a number and its unit"),
        ("0s", "a duration is a number and its unit"),
        ("9999h", "a duration is a number and its unit"),
        ("true", "a duration is a number and its unit"),
        ("[1]", "a duration is a number and its unit"),
    ],
)
def test_other_durations_say_what_to_write(text, help_text):
    """A number alone has no unit, and foreign units have ours."""
    [(code, _, helped)] = problems_of("deadline: 5m", f"deadline: {text}")
    assert code == "bad-duration"
    assert helped.startswith(help_text)


@pytest.mark.parametrize("word", ["steps", "nodes", "jobs", "tasks", "components", "pipeline"])
def test_words_for_modules_lead_to_modules(word):
    """What other tools call their list of parts."""
    [(code, _, helped)] = problems_of("deadline: 5m", f"{word}: []")
    assert (code, "'modules:'" in helped) == ("unknown-key", True)


@pytest.mark.parametrize(
    ("key", "helped"),
    [
        ("depends_on: [a]", "needs: [id]"),
        ("dependsOn: a", "needs: [id]"),
        ("type: chunk", "uses:"),
        ("parameters: {a: 1}", "with:"),
        ("top_k: 5", "with: {top_k: …}"),
        ("Needs: []", "'needs'"),
        ("time_out: 5s", "'timeout'"),
    ],
)
def test_keys_from_elsewhere_have_a_name_here(key, helped):
    """An unknown key of a module says what was probably meant."""
    [(code, _, shown)] = problems_of("needs: []", key)
    assert code == "unknown-key"
    assert helped in shown


@pytest.mark.parametrize("key", ["if: x.y", "foreach: a.b", "loop: {}", "on_error: skip"])
def test_keys_of_no_rule_are_unknown(key):
    """They are named plainly, beside the keys that exist."""
    [(code, message, _)] = problems_of("needs: []", key)
    assert code == "unknown-key"
    assert message == f"a module has no key '{key.split(':')[0]}'"


@pytest.mark.parametrize("name", ["inputs", "outputs", "state", "loop", "item", "if", "not", "for"])
def test_reserved_words_are_no_module_ids(name):
    """References and templates would read them otherwise."""
    codes = [code for code, _, _ in problems_of("  cut:", f"  {name}:")]
    assert codes == ["reserved-id"]


@pytest.mark.parametrize("name", ["Cut", "cut-it", "1st", "_cut", "cut it", "été", "a" * 65])
def test_other_names_are_no_ids(name):
    """Ids are lower case letters, digits and underscores."""
    codes = [code for code, _, _ in problems_of("  cut:", f"  {name}:")]
    assert codes == ["bad-id"]


def test_types_are_checked_where_they_stand():
    """An input's type is read as one."""
    [(code, message, helped)] = problems_of("question: text", "question: list[text]")
    assert code == "bad-type"
    assert "angle brackets" in message
    assert helped == "write list<text>"


def test_wrong_optional_values_leave_the_rest():
    """A spec comes back, so that references are checked in the same go; the error stays."""
    spec, problems = read(WORKFLOW.replace("timeout: 2m", "timeout: soon\n    extra: 1"))
    assert [p.code for p in problems] == ["bad-duration", "unknown-key"]
    assert isinstance(spec, WorkflowSpec)
    assert spec.modules["cut"].timeout is None


def test_what_is_missing_ends_the_check_of_shapes():
    """A module that uses nothing cannot be guessed."""
    spec, problems = read(WORKFLOW.replace("    uses: chunk\n", ""))
    assert spec is None
    assert [p.code for p in problems] == ["missing-key"]
    assert (problems[0].span.line, problems[0].span.column) == (16, 3)


def test_all_problems_are_reported_together():
    """Engines, inputs, modules and outputs in one go, each where it stands."""
    text = (
        WORKFLOW.replace("backend: fake", "backend: fakee")
        .replace("deadline: 5m", "deadline: 5")
        .replace("question: text", "question: txt")
    )
    _, problems = read(text)
    assert [p.code for p in problems] == ["bad-type", "unknown-backend", "bad-duration"]


@pytest.mark.parametrize("wrong", ["5", "[1]", "{a: 1}", "text", "true", "null", "1.5", '""'])
def test_messages_are_our_own(wrong):
    """Nothing of pydantic's wording gets through, whatever type stands where."""
    for line in WORKFLOW.splitlines()[1:]:
        diagnostics = Diagnostics()
        text = WORKFLOW.replace(line, f"{line.split(':')[0]}: {wrong}")
        tree = load_yaml(Source("x.yaml", text), diagnostics)
        if tree is not None:
            spec_from_tree(tree, diagnostics)
        for problem in diagnostics:
            words = f"{problem.message} {problem.help}".lower()
            assert "input should" not in words
            assert "extra inputs" not in words
            assert "cannot be" not in words
