"""Plans: one portable file, the same bytes every time, refused when it is not whole."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings

from teola.compiler.api import compile_workflow
from teola.compiler.cost.profile import load_profiles
from teola.compiler.errors import GraphError, PlanError
from teola.compiler.graph.pgraph import InputPort, OutputPort, PGraph, Ref
from teola.compiler.passes.pipeline import LEVELS, PASSES, run_pipeline
from teola.compiler.plan import Plan, load_plan, plan_schema
from teola.compiler.version import VERSION
from tests.generators import pgraphs, workflows

WORKFLOW = """
teola: 1
name: one
deadline: 90s
inputs:
  documents: {type: list<document>, default: [docs, {name: a, text: b}], description: What to read}
  question: text
engines:
  llm: {kind: llm, backend: fake}
modules:
  answer:
    uses: generate
    inputs: {question: inputs.question}
    with: {prompt: "{{ question }}"}
outputs: {answer: answer.text}
"""


@pytest.fixture
def workflow(tmp_path):
    """A workflow file with a folder of documents beside it."""
    folder = tmp_path / "workflows"
    (folder / "docs").mkdir(parents=True)
    (folder / "docs" / "a.txt").write_text("text")
    (folder / "one.yaml").write_text(WORKFLOW)
    return folder / "one.yaml"


def damaged(plan, **changes):
    """The text of a plan with some of its keys changed."""
    return json.dumps({**json.loads(plan.to_json()), **changes})


@given(pgraphs())
def test_a_plan_comes_back_as_it_was(graph):
    """Read back: the same graph, the same bytes."""
    made, reports = run_pipeline(graph, ())
    text = Plan(made, "-O0", reports, 12.5).to_json()
    again = load_plan(text, "p", None)
    assert again.graph == graph
    assert [node.line for node in again.graph.nodes] == [node.line for node in graph.nodes]
    assert again.deadline_s == 12.5
    assert again.to_json() == text


@settings(max_examples=25)
@given(workflows(10))
def test_a_workflow_gives_the_same_bytes_every_time(text):
    """Compiled twice, at every level."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "w.yaml")
        file.write_text(text)
        for level in LEVELS:
            one, two = (compile_workflow(file, level=level) for _ in range(2))
            assert one.to_json() == two.to_json()
            assert load_plan(one.to_json(), "p", None).graph == one.graph


def test_a_plan_says_what_it_was_made_by(workflow):
    """Schema, compiler version, level, passes and a hash of its content."""
    data = json.loads(compile_workflow(workflow).to_json())
    assert data["schema"] == "teola.plan/1"
    assert data["compiler"] == VERSION
    assert data["options"] == "-O2"
    assert data["profile"] == load_profiles().digest
    assert data["deadline_s"] == 90
    assert {entry["name"] for entry in data["passes"]} == set(PASSES)
    assert len(data["content_hash"]) == 64


def test_a_plan_keeps_the_source_map(workflow):
    """Module and line of every primitive, for messages of a run."""
    nodes = json.loads(compile_workflow(workflow).to_json())["nodes"]
    line = WORKFLOW.splitlines().index("  answer:") + 1
    assert [(node["module"], node["line"]) for node in nodes] == [("answer", line)] * 2


def test_a_plan_holds_no_absolute_path(workflow, tmp_path):
    """Document defaults are relative to the plan's own folder, and mean the same files there."""
    elsewhere = tmp_path / "plans" / "deep"
    elsewhere.mkdir(parents=True)
    compile_workflow(workflow).save(elsewhere / "one.plan.json")
    text = (elsewhere / "one.plan.json").read_text()
    assert str(tmp_path) not in text
    (port,) = [p for p in json.loads(text)["inputs"] if p["name"] == "documents"]
    assert port["default"] == [["../../workflows/docs", {"name": "a", "text": "b"}]]
    loaded = Plan.load(elsewhere / "one.plan.json")
    assert (loaded.base / port["default"][0][0]).resolve() == workflow.parent / "docs"
    assert loaded.to_json(elsewhere) == text


def test_a_local_model_folder_is_not_in_a_plan(workflow, tmp_path):
    """It is written as `model: local` and bound where the plan runs."""
    models = tmp_path / "models" / "mine"
    models.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (models / name).touch()
    text = WORKFLOW.replace("backend: fake", f"backend: transformers, path: {models}")
    workflow.write_text(text)
    made = compile_workflow(workflow).to_json(workflow.parent)
    assert str(tmp_path) not in made
    assert json.loads(made)["engines"]["llm"]["model"] == "local"


def test_packaged_defaults_keep_their_package():
    """Files of the gallery are named by their package: a plan finds them wherever it is."""
    gallery = Path(next(iter(find_spec("teola.workflows").submodule_search_locations))).resolve()
    ports = (InputPort("d", "list<document>", (["data", "data/x.md"],)),)
    graph = PGraph("g", ports, (OutputPort("o", "list<document>", Ref("inputs", "d")),), ())
    data = json.loads(Plan(graph, "-O0", base=gallery).to_json(Path("/")))
    assert data["inputs"][0]["default"] == [["teola.workflows:data", "teola.workflows:data/x.md"]]
    again = load_plan(json.dumps(data), "p", Path("/"))
    assert again.to_json(Path("/")) == json.dumps(data, indent=1) + "\n"


def test_paths_of_other_types_are_texts():
    """Only documents are paths: a text that looks like one stays as it is."""
    ports = (InputPort("t", "text", ("docs/a.txt",)),)
    graph = PGraph("g", ports, (), ())
    data = json.loads(Plan(graph, "-O0", base=Path("/somewhere")).to_json(Path("/")))
    assert data["inputs"][0]["default"] == ["docs/a.txt"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "3", "null", '"teola.plan/1"', "{}"),
        *('{"schema": 1}', '{"schema": "other/1"}', "[" * 100_000, '{"a":' * 100_000),
    ],
)
def test_what_is_no_plan_is_said_to_be_none(text):
    """Not JSON, not an object, no schema of ours, or nested without end."""
    with pytest.raises(PlanError, match="^my.json: not a plan file"):
        load_plan(text, "my.json", None)


def test_a_newer_plan_is_refused(workflow):
    """The message names both schemas and what to do."""
    newer = damaged(compile_workflow(workflow), schema="teola.plan/2")
    with pytest.raises(PlanError, match="teola.plan/2.*reads teola.plan/1: update Teola"):
        load_plan(newer, "p", None)


@pytest.mark.parametrize(
    ("changes", "where", "said"),
    [
        ({"nodes": 3}, "nodes", "expected a list, got the int 3"),
        ({"nodes": [{"id": "x"}]}, "nodes.0.inputs", "the key is missing"),
        ({"options": None}, "options", r"expected a text, got nothing \(null\)"),
        ({"more": 1}, "more", "no plan has such a key"),
        ({"outputs": [{"name": "x", "type": "text"}]}, "outputs.0.ref", "the key is missing"),
        (
            {"edges": [{"kind": "hint", "source": "a", "target": "b"}]},
            "edges.0.kind",
            "expected 'order' or 'effect', got the text 'hint'",
        ),
        ({"deadline_s": "soon"}, "deadline_s", "expected a number, got the text 'soon'"),
        ({"nodes": [{"id": "x", "inputs": {"a": 3}}]}, "nodes.0.inputs.a", "expected a map"),
    ],
)
def test_a_damaged_plan_says_where(workflow, changes, where, said):
    """A key that is missing, wrong or unknown, and what belongs there."""
    with pytest.raises(PlanError, match=f"^p: the plan is damaged at {where}: {said}") as caught:
        load_plan(damaged(compile_workflow(workflow), **changes), "p", None)
    assert str(caught.value).endswith(": compile the workflow again")


@pytest.mark.parametrize(
    "changes", [{"name": "two"}, {"content_hash": "0" * 64}, {"compiler": "0.0.0"}]
)
def test_a_changed_plan_is_refused(workflow, changes):
    """Its content hash does not match."""
    with pytest.raises(PlanError, match="changed after it was compiled"):
        load_plan(damaged(compile_workflow(workflow), **changes), "p", None)


def test_a_plan_of_a_wrong_graph_is_refused():
    """A plan is verified like any graph."""
    graph = PGraph("g", (), (OutputPort("o", "text", Ref("gone", "text")),), ())
    with pytest.raises(GraphError, match="%gone:text does not exist"):
        load_plan(Plan(graph, "-O0").to_json(), "p", None)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    """Missing, or no text."""
    file = tmp_path / "x.plan.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PlanError, match="x.plan.json: the plan cannot be read"):
        Plan.load(file)


def test_every_cut_of_a_plan_is_refused(workflow):
    """A file that was not written to its end is never taken for a plan."""
    text = compile_workflow(workflow).to_json()
    for end in range(0, len(text) - 2, 37):
        with pytest.raises(PlanError, match="p: not a plan file"):
            load_plan(text[:end], "p", None)


def test_the_published_schema_takes_a_plan(workflow):
    """Every key that a plan has is in its JSON Schema."""
    schema = plan_schema()
    data = json.loads(compile_workflow(workflow).to_json())
    assert set(data) <= set(schema["properties"])
    assert set(schema["required"]) <= set(data)
