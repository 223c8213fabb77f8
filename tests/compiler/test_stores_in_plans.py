"""What a store's settings mean to a plan."""

import json

import pytest

from teola.compiler.api import compile_workflow
from teola.compiler.engines import fingerprint, identity, portable
from teola.compiler.errors import CompileError
from teola.compiler.plan import load_plan
from teola.compiler.rebind import rebind_engines

FLOW = """
teola: 1
name: flow
inputs: {documents: list<document>}
engines:
  embedder: {kind: embedder, backend: fake}
  store: {kind: store, backend: faiss, SETTINGS}
modules:
  chunks: {uses: chunk, inputs: {documents: inputs.documents}, with: {by: characters, size: 40}}
  indexed: {uses: index, inputs: {chunks: chunks.chunks}, with: {mode: MODE}}
outputs: {count: indexed.count}
"""
EMBEDDER = {"kind": "embedder", "model": "all-minilm-l6-v2"}


def compiled(tmp_path, settings="index: flat", mode="dense"):
    path = tmp_path / "flow.yaml"
    path.write_text(FLOW.replace("SETTINGS", settings).replace("MODE", mode))
    return compile_workflow(path)


def ingest(plan):
    return plan.graph.by_id["indexed.ingest"]


@pytest.mark.parametrize("index", ["hnsw", "ivf"])
@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_an_index_that_must_gather_gets_all_at_once(tmp_path, index, mode):
    """Embedding flows group by group; what is ingested is there as a whole."""
    plan = compiled(tmp_path, f"index: {index}", mode)
    node = ingest(plan)
    assert node.config["ordered"] is True
    assert not any(ref.stream for _, ref in node.references)
    assert any(ref.stream for _, ref in plan.graph.by_id["indexed.embed"].references)


@pytest.mark.parametrize(
    ("settings", "mode"), [("index: flat", "dense"), ("index: hnsw", "keyword")]
)
def test_others_are_filled_group_by_group(tmp_path, settings, mode):
    node = ingest(compiled(tmp_path, settings, mode))
    assert "ordered" not in node.config
    assert all(ref.stream for _, ref in node.references)


def test_a_compiled_plan_keeps_what_may_be_cut(tmp_path):
    flat, graph = compiled(tmp_path).graph, compiled(tmp_path, "index: hnsw").graph
    with pytest.raises(CompileError, match="set it when compiling"):
        rebind_engines(flat, ["engines.store.index=ivf"], "flow")
    found = rebind_engines(graph, ["engines.store.index=flat"], "flow")
    assert found.engines["store"]["index"] == "flat"


def test_a_plan_knows_that_there_is_a_folder_but_not_which(tmp_path):
    """It must be named anew: else collections would be lost in silence."""
    plan = compiled(tmp_path, "path: kept")
    assert plan.graph.engines["store"]["path"] == str(tmp_path / "kept")
    text = plan.to_json()
    assert str(tmp_path) not in text
    assert json.loads(text)["engines"]["store"]["path"] == ""
    loaded = load_plan(text, "plan", None)
    found = rebind_engines(loaded.graph, [f"engines.store.path={tmp_path / 'other'}"], "plan")
    assert found.engines["store"]["path"] == str(tmp_path / "other")
    assert portable({"kind": "store"})["path"] is None


def test_embedders_that_make_the_same_vectors_are_alike():
    for more in ({"threads": 2}, {"batch_size": 8}, {"device": "cpu"}, {"replicas": 3}):
        assert fingerprint({**EMBEDDER, **more}) == fingerprint(EMBEDDER)
    assert identity({**EMBEDDER, "threads": 2}) != identity(EMBEDDER)
    for more in ({"dtype": "float32"}, {"truncate": True}):
        assert fingerprint({**EMBEDDER, **more}) != fingerprint(EMBEDDER)
