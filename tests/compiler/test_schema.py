"""The published JSON Schemas."""

import json

import pytest
import yaml
from jsonschema import Draft7Validator

from teola.compiler.engines import BACKENDS
from teola.compiler.modules import MODULES
from teola.compiler.schema import FOLDER, main, schemas, text_of, workflow_schema

WORKFLOW = """\
$schema: ../schemas/workflow.schema.json
teola: 1
name: example
inputs:
  documents: {type: list<document>, default: [], description: Files}
  question: text
engines:
  llm: {kind: llm, model: smollm2-135m-instruct, dtype: float32}
  fake: {kind: llm, backend: fake, latency_ms: 5}
  store: {kind: store}
defaults: {timeout: 60s, retry: {max: 2, initial: 200ms}}
modules:
  cut:
    uses: chunk
    inputs: {documents: inputs.documents}
    with: {size: 256}
  found:
    uses: search
    inputs: {query: inputs.question, collection: {from: cut.x, default: a}}
    with: {top_k: 3}
  answer:
    uses: generate
    inputs: {anything: inputs.question}
    with: {prompt: Hi, output: {lines: {count: 3}}, sampling: {max_tokens: 5}}
  more:
    uses: somebodys_plug_in
    inputs: {a: inputs.question}
    with: {whatever: 5}
outputs:
  answer: answer.text
  rest: {from: answer.lines, default: []}
"""


@pytest.fixture(scope="module")
def validator():
    """A draft-07 validator of workflow files."""
    return Draft7Validator(workflow_schema())


def problems(validator, text):
    """Where the schema finds fault."""
    return [list(error.path) for error in validator.iter_errors(yaml.safe_load(text))]


@pytest.mark.parametrize("name", schemas())
def test_schemas_are_draft_07(name):
    """The newest that the common YAML language server reads."""
    schema = schemas()[name]
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(schema)


@pytest.mark.parametrize("name", schemas())
def test_schemas_use_no_newer_keyword(name):
    """And nothing stands beside a reference, where draft-07 does not look."""
    newer = {"$defs", "prefixItems", "unevaluatedProperties", "dependentRequired", "$anchor"}

    def check(node):
        if isinstance(node, list):
            for item in node:
                check(item)
        elif isinstance(node, dict):
            assert not newer & node.keys()
            assert not isinstance(node.get("$ref"), str) or len(node) == 1
            for value in node.values():
                check(value)

    check(schemas()[name])


def test_the_same_models_give_the_same_bytes():
    """Otherwise staleness could not be checked."""
    assert text_of(workflow_schema()) == text_of(workflow_schema())


def test_the_published_schemas_are_fresh(capsys):
    """``python -m teola.compiler.schema`` was run after the last change of a model."""
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_stale_schemas_are_named(tmp_path, capsys):
    """The check writes nothing and fails; writing makes it pass."""
    assert main(["--check", "--folder", str(tmp_path)]) == 1
    assert "stale" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert main(["--folder", str(tmp_path)]) == 0
    assert main(["--check", "--folder", str(tmp_path)]) == 0
    (tmp_path / "plan.schema.json").write_text("{}")
    assert main(["--check", "--folder", str(tmp_path)]) == 1
    assert {path.name for path in FOLDER.glob("*.json")} == {p.name for p in tmp_path.iterdir()}


def test_workflows_fit(validator):
    """Short and full forms, default and named backends, modules of plug-ins."""
    assert problems(validator, WORKFLOW) == []


@pytest.mark.parametrize(
    ("part", "wrong", "path"),
    [
        ("teola: 1", "teola: 2", ["teola"]),
        ("name: example", "name: An Example", ["name"]),
        ("question: text", "question: list[text]", ["inputs", "question"]),
        ("question: text", "Question: text", ["inputs"]),
        ("dtype: float32", "dtype: fp32", ["engines", "llm", "dtype"]),
        ("latency_ms: 5", "latency: 5", ["engines", "fake"]),
        ("kind: store", "kind: stor", ["engines", "store", "kind"]),
        ("timeout: 60s", "timeout: 60", ["defaults", "timeout"]),
        ("max: 2", "maximum: 2", ["defaults", "retry"]),
        ("uses: chunk", "use: chunk", ["modules", "cut"]),
        ("size: 256", "sise: 256", ["modules", "cut", "with"]),
        ("size: 256", "size: many", ["modules", "cut", "with", "size"]),
        ("documents: inputs", "docs: inputs", ["modules", "cut", "inputs"]),
        ("  cut:", "  loop:", ["modules"]),
        ("max_tokens: 5", "max_token: 5", ["modules", "answer", "with", "sampling"]),
        ("answer: answer.text", "answer: 5", ["outputs", "answer"]),
        ("name: example", "name: example\nsteps: []", []),
    ],
)
def test_what_the_compiler_refuses_does_not_fit(validator, part, wrong, path):
    """Editors underline it while it is typed."""
    assert part in WORKFLOW
    assert path in problems(validator, WORKFLOW.replace(part, wrong))


def test_editors_can_explain_everything():
    """Every module, backend and key has a description."""
    schema = workflow_schema()
    described = {each["const"] for each in _uses(schema) if each.get("description")}
    assert described == set(MODULES)
    assert len(schema["definitions"]["EngineSettings"]["allOf"]) == len(BACKENDS)
    for name, each in schema["properties"].items():
        assert each.get("description"), name


def _uses(schema):
    options = schema["definitions"]["ModuleSpec"]["properties"]["uses"]["anyOf"]
    return [option for option in options if "const" in option]


def test_schemas_are_json():
    """The files are what the models give."""
    for name, schema in schemas().items():
        assert json.loads((FOLDER / name).read_text(encoding="utf-8")) == schema
