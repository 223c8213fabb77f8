"""Models in folders: relative to whoever names them, and there before anything starts."""

import json

import pytest
from typer.testing import CliRunner

from teola.compiler.api import compile_workflow
from teola.compiler.check import check
from teola.compiler.errors import CompileError
from teola.compiler.source import Source
from teola.runtime.cli.application import teola

WORKFLOW = """\
teola: 1
name: local
inputs: {question: text}
engines:
  llm: {kind: llm, path: models/mine}
modules:
  answer:
    uses: generate
    inputs: {question: inputs.question}
    with: {prompt: "{{ question }}"}
outputs: {answer: answer.text}
"""
FILES = ("config.json", "tokenizer.json", "model.safetensors")


def make_model(folder, names=FILES):
    """A folder with a model's files, empty."""
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.fixture
def workflow(tmp_path, monkeypatch):
    """A workflow with a model beside it; the current folder is another one."""
    make_model(tmp_path / "flows" / "models" / "mine")
    (tmp_path / "flows" / "local.yaml").write_text(WORKFLOW)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "flows" / "local.yaml"


def path_of(plan):
    """Where the plan's llm takes its model from."""
    return plan.graph.engines["llm"]["path"]


def problem_of(workflow, **options):
    """The only problem of a workflow."""
    with pytest.raises(CompileError) as caught:
        compile_workflow(workflow, **options)
    [problem] = caught.value.diagnostics
    return problem


def test_a_path_of_a_file_is_relative_to_the_file(workflow):
    """Wherever it is compiled; the plan holds no folder at all."""
    plan = compile_workflow(workflow)
    assert path_of(plan) == str(workflow.parent / "models" / "mine")
    assert json.loads(plan.to_json())["engines"]["llm"]["path"] is None


def test_an_adapter_is_relative_to_whoever_names_it(workflow, tmp_path):
    """As the model is; a plan says that there is one, not where."""
    text = WORKFLOW.replace("path: models/mine", "backend: vllm, path: models/mine, lora: mine")
    workflow.write_text(text)
    plan = compile_workflow(workflow)
    assert plan.graph.engines["llm"]["lora"] == str(workflow.parent / "mine")
    assert json.loads(plan.to_json())["engines"]["llm"]["lora"] == ""
    plan = compile_workflow(workflow, sets=["engines.llm.lora=other"])
    assert plan.graph.engines["llm"]["lora"] == str(tmp_path / "here" / "other")


def test_adapters_that_calls_name_are_found_like_the_only_one(workflow, tmp_path):
    """Each relative to whoever names it; a plan knows their names alone, and is given the rest."""
    given = "backend: vllm, path: models/mine, adapters: {legal: a, plain: b}"
    workflow.write_text(WORKFLOW.replace("path: models/mine", given))
    plan = compile_workflow(workflow, sets=["engines.llm.adapters.plain=other"])
    here, there = tmp_path / "here" / "other", workflow.parent / "a"
    assert plan.graph.engines["llm"]["adapters"] == {"legal": str(there), "plain": str(here)}
    kept = json.loads(plan.to_json())["engines"]["llm"]
    assert (kept["adapters"], kept["lora"]) == ({"legal": "", "plain": ""}, None)
    (tmp_path / "a.plan.json").write_text(plan.to_json())
    mine = make_model(tmp_path / "here" / "own")
    sets = [f"engines.llm.path={mine}", "engines.llm.adapters.legal=c"]
    found = compile_workflow(tmp_path / "a.plan.json", sets=sets).graph.engines["llm"]["adapters"]
    assert found == {"legal": str(tmp_path / "here" / "c"), "plain": ""}


def test_a_path_that_is_set_is_relative_to_the_current_folder(workflow, tmp_path):
    """Of a workflow, a text-form graph and a plan alike."""
    mine = make_model(tmp_path / "here" / "own")
    sets = ["engines.llm.path=own"]
    (tmp_path / "a.plan.json").write_text(compile_workflow(workflow).to_json())
    text = 'graph g\nengine llm = {"kind": "llm", "backend": "transformers", "model": "local"}\n'
    (tmp_path / "a.pgraph").write_text(text)
    for file in (workflow, tmp_path / "a.plan.json", tmp_path / "a.pgraph"):
        assert path_of(compile_workflow(file, sets=sets)) == str(mine)
        problem = problem_of(file, sets=["engines.llm.path=ow"])
        assert (problem.span.source.name, problem.help) == ("--set", "did you mean 'own'?")


def test_a_path_of_a_text_form_is_relative_to_its_file(workflow, tmp_path):
    """Its problems stand at the engine's line."""
    file = workflow.with_name("a.pgraph")
    line = 'engine llm = {"kind": "llm", "backend": "transformers", "path": "models/mine"}'
    file.write_text(f"graph g\n{line}\n")
    assert path_of(compile_workflow(file)) == str(workflow.parent / "models" / "mine")
    file.write_text(f"graph g\n{line.replace('mine', 'nine')}\n")
    problem = problem_of(file)
    assert (problem.code, problem.span.line) == ("missing-folder", 2)


def test_absolute_paths_and_the_users_folder_stay_as_they_are(workflow, tmp_path, monkeypatch):
    """``~`` is the user's folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    mine = make_model(tmp_path / "own")
    for written in (str(mine), "~/own"):
        workflow.write_text(WORKFLOW.replace("models/mine", written))
        assert path_of(compile_workflow(workflow)) == str(mine)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (FILES[1:], "no config.json"),
        (("config.json",), "no tokenizer.json, no weights (*.safetensors)"),
        ((), "no config.json, no tokenizer.json, no weights (*.safetensors)"),
    ],
)
def test_a_folder_without_a_model_is_refused(workflow, names, missing):
    """The message has the file's line, what is missing and what is there."""
    make_model(workflow.parent / "empty", names)
    workflow.write_text(WORKFLOW.replace("models/mine", "empty"))
    problem = problem_of(workflow)
    assert (problem.code, problem.span.line, problem.span.column) == ("not-a-model", 5, 26)
    assert problem.message.endswith(f"it has {missing}")
    assert problem.notes == (f"it holds: {', '.join(sorted(names)) or 'nothing'}",)


@pytest.mark.parametrize(
    ("path", "code", "helped"),
    [
        ("models/mien", "missing-folder", "did you mean 'models/mine'?"),
        ("nowhere/at/all", "missing-folder", None),
        ("models/mine/config.json", "not-a-model", None),
        ('"a\\0b"', "missing-folder", None),
    ],
)
def test_a_folder_that_is_not_there_is_refused(workflow, path, code, helped):
    """With the nearest that is."""
    workflow.write_text(WORKFLOW.replace("models/mine", path))
    problem = problem_of(workflow)
    assert (problem.code, problem.help) == (code, helped)


def test_a_run_ends_before_anything_starts(workflow):
    """With exit status 2, file and line."""
    workflow.write_text(WORKFLOW.replace("models/mine", "models"))
    ended = CliRunner().invoke(teola, ["run", str(workflow), "-i", "question=x"])
    assert ended.exit_code == 2
    assert f"{workflow}:5:26: error[not-a-model]" in ended.stderr
    assert "it holds: mine" in ended.stderr


@pytest.mark.parametrize(
    ("said", "warned"),
    [
        ('{"max_seq_length": 128}', True),
        ('{"max_seq_length": 256}', False),
        ('{"max_seq_length": null}', False),
        ("[]", False),
        ("", False),
        (None, False),
    ],
)
def test_chunks_that_a_folders_model_refuses_are_told(tmp_path, said, warned):
    """Where the folder says its limit, `check` says where a chunk's size is above it."""
    folder = make_model(tmp_path / "minilm")
    if said is not None:
        (folder / "sentence_bert_config.json").write_text(said)
    text = """\
teola: 1
name: folder
inputs: {documents: list<document>}
engines: {embedder: {kind: embedder, path: minilm}}
modules:
  chunks: {uses: chunk, inputs: {documents: inputs.documents}, with: {size: 200}}
outputs: {chunks: chunks.chunks}
"""
    (tmp_path / "folder.yaml").write_text(text)
    _, found = check(Source.read(tmp_path / "folder.yaml"))
    places = [(one.code, one.severity, one.span.line, one.span.column) for one in found]
    assert places == ([("too-long", "warning", 6, 77)] if warned else [])
