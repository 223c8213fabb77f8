"""Lowering: every module becomes its primitives, the chain and effects become edges."""

import json

import pytest

from teola.compiler.check import check
from teola.compiler.diagnostics import render
from teola.compiler.graph.lowering import lower
from teola.compiler.graph.pgraph import Const, Edge, Ref, Region
from teola.compiler.graph.verify import verify
from teola.compiler.prompts import render_messages, template
from teola.compiler.source import Source

HEAD = """\
teola: 1
name: tested
inputs:
  documents: list<document>
  question: text
  data: {type: json, default: {}}
  shelf: {type: text, default: books}
  count: {type: int, default: 2}
  history: {type: list<message>, default: []}
engines:
  llm: {kind: llm, backend: fake}
  embedder: {kind: embedder, backend: fake}
  reranker: {kind: reranker, backend: fake}
  store: {kind: store, backend: fake}
"""
INDEXED = """\
  chunks: {uses: chunk, inputs: {documents: inputs.documents}}
  indexed: {uses: index, inputs: {chunks: chunks.chunks}}
"""
FOUND = """\
  found: {uses: search, inputs: {query: inputs.question, collection: indexed.collection}}
"""


def lowered(modules, output):
    """The p-graph of a workflow with these modules; it passes the verifier."""
    text = f"{HEAD}modules:\n{modules}\noutputs: {{out: {output}}}\n"
    graph, diagnostics = check(Source("flow.yaml", text))
    assert not diagnostics.errors, render(diagnostics)
    result = lower(graph)
    verify(result)
    json.dumps([dict(node.config) for node in result.nodes])  # plain data
    return result


def operations(graph, module):
    """Id without the module, and operation, of a module's nodes."""
    return [
        (node.id.removeprefix(f"{module}."), getattr(node, "operation", getattr(node, "kind", "")))
        for node in graph.nodes
        if node.module == module
    ]


def synthesized(settings, inputs="question: inputs.question, passages: found.passages"):
    module = f"  answer: {{uses: synthesize, inputs: {{{inputs}}}, with: {settings}}}"
    return lowered(INDEXED + FOUND + module, "answer.text")


def test_chunk_counts_tokens_of_the_only_embedder():
    graph = lowered(INDEXED, "indexed.count")
    chunk = graph.by_id["chunks.chunk"]
    assert chunk.config == {"size": None, "overlap": 0, "by": "tokens", "tokenizer": "embedder"}
    assert chunk.inputs == {"documents": Ref("inputs", "documents")}
    assert graph.outputs[0].ref == Ref("indexed.ingest", "count")


def test_chunk_by_characters_needs_no_tokenizer():
    text = (
        "  c: {uses: chunk, inputs: {documents: inputs.documents}, with: {by: characters, size: 9}}"
    )
    assert lowered(text, "c.chunks").by_id["c.chunk"].config["tokenizer"] is None


def test_index_embeds_and_ingests():
    graph = lowered(INDEXED, "indexed.count")
    assert operations(graph, "indexed") == [("embed", "embed"), ("ingest", "ingest")]
    ingest = graph.by_id["indexed.ingest"]
    assert ingest.engine == "store"
    assert "named" not in ingest.config


def test_a_collection_named_at_run_time_is_marked():
    modules = INDEXED.replace("chunks.chunks}", "chunks.chunks, collection: inputs.shelf}")
    modules += "  found: {uses: search, inputs: {query: inputs.question, collection: inputs.shelf}}"
    graph = lowered(modules, "found.passages")
    assert graph.by_id["indexed.ingest"].config["named"] is True
    assert graph.by_id["found.search"].config["named"] is True
    assert Edge("effect", "indexed.ingest", "found.search") in graph.edges


def test_a_search_embeds_searches_flattens_and_drops_repetitions():
    graph = lowered(
        INDEXED + FOUND.replace("}}\n", "}, with: {limit: 4, min_score: 0.5}}\n"), "found.passages"
    )
    names = ["wrap", "embed", "search", "flatten", "distinct", "take"]
    assert operations(graph, "found") == [(name, name) for name in names]
    search = graph.by_id["found.search"]
    assert search.inputs["top_k"] == Const(5)
    assert search.config == {"embedder": "embedder", "min_score": 0.5}
    assert graph.by_id["found.take"].config == {"count": 4}
    assert graph.outputs[0].ref == Ref("found.take", "items")


def test_rerank_scores_each_and_keeps_the_best():
    module = "  best: {uses: rerank, inputs: {query: inputs.question, passages: found.passages}}"
    graph = lowered(INDEXED + FOUND + module, "best.passages")
    assert operations(graph, "best") == [("score", "score"), ("top", "top")]
    assert graph.by_id["best.top"].inputs["count"] == Const(3)


def test_expanding_keeps_the_question_before_the_new_queries():
    """The question need not wait for the model: `concat` is a scan."""
    module = (
        "  more: {uses: expand_query, inputs: {question: inputs.question, count: inputs.count}}"
    )
    graph = lowered(module, "more.queries")
    decode, concat = graph.by_id["more.decode"], graph.by_id["more.concat"]
    assert list(concat.inputs.values()) == [Ref("more.wrap", "items"), Ref("more.decode", "lines")]
    assert decode.inputs["count"] == Ref("inputs", "count")
    assert decode.inputs["exclude"] == Ref("inputs", "question")
    assert decode.config["output"] == {"shape": "lines", "on_short": "keep"}


def test_expanding_without_the_question_gives_the_lines():
    module = """\
  more: {uses: expand_query, inputs: {question: inputs.question}, with: {keep_original: false}}"""
    graph = lowered(module, "more.queries")
    assert operations(graph, "more") == [("prefill", "prefill"), ("decode", "decode")]
    assert graph.outputs[0].ref == Ref("more.decode", "lines")


def test_rewriting_gives_one_text():
    module = "  one: {uses: rewrite_query, inputs: {question: inputs.question}}"
    graph = lowered(module, "one.query")
    assert graph.outputs[0].ref == Ref("one.decode", "text")
    assert graph.by_id["one.prefill"].inputs["history"] == Const(None), "not bound"


def test_generating_binds_exactly_what_templates_use():
    module = """\
  last:
    uses: generate
    inputs: {x: inputs.question, history: inputs.history}
    with:
      messages: [{role: system, content: Be brief.}, history, {role: user, content: "{{ x }}"}]
      output: {lines: {count: 3, on_short: error}}
      sampling: {max_tokens: 9, stop: [".", "!"], temperature: 0.5, seed: 7}
      truncate: history"""
    graph = lowered(module, "last.lines")
    prefill, decode = graph.by_id["last.prefill"], graph.by_id["last.decode"]
    assert set(prefill.inputs) == {"x", "history"}
    assert prefill.config["messages"][1] == {"splice": "history"}
    assert prefill.config["sampling"] == {
        "max_tokens": 9, "temperature": 0.5, "ignore_eos": False, "stop": [".", "!"], "seed": 7,
    }  # fmt: skip
    assert prefill.config["truncate"] == "history"
    assert decode.inputs["count"] == Const(3)
    assert decode.config["output"] == {"shape": "lines", "on_short": "error"}
    messages = render_messages(prefill.config["messages"], {"x": "Why?", "history": []})
    assert [message["content"] for message in messages] == ["Be brief.", "Why?"]


def test_task_control_is_on_every_primitive_that_runs_on_an_engine():
    module = FOUND.replace("}}\n", "}, timeout: 5s, retry: {max: 1}}\n")
    graph = lowered(INDEXED + module, "found.passages")
    for node in graph.nodes:
        if node.module == "found":
            assert ("timeout_s" in node.config) == (node.engine is not None)
            assert ("retry" in node.config) == (node.engine is not None)


def test_one_shot_is_one_call():
    graph = synthesized("{mode: one_shot}")
    assert operations(graph, "answer") == [("prefill", "prefill"), ("decode", "decode")]
    assert set(graph.by_id["answer.prefill"].inputs) == {"question", "passages"}


def test_refining_is_a_fold_over_all_passages_but_the_first():
    graph = synthesized("{mode: refine}")
    assert operations(graph, "answer") == [
        ("take", "take"),
        ("prefill", "prefill"),
        ("decode", "decode"),
        ("take_2", "take"),
        ("refine", "fold"),
        ("refine.prefill", "prefill"),
        ("refine.decode", "decode"),
    ]
    fold = graph.by_id["answer.refine"]
    assert fold.inputs == {
        "items": Ref("answer.take_2", "items"),
        "initial": Ref("answer.decode", "text"),
    }
    assert graph.by_id["answer.take"].config == {"start": 0, "count": 1}
    assert graph.by_id["answer.take_2"].config == {"start": 1}
    body = graph.by_id["answer.refine.prefill"]
    assert body.inputs["passage"] == Ref("answer.refine", "item")
    assert body.inputs["answer"] == Ref("answer.refine", "state")
    assert body.region == "answer.refine"
    assert graph.outputs[0].ref == Ref("answer.refine", "text")


def test_a_tree_answers_from_each_passage_then_combines():
    graph = synthesized("{mode: tree, fan_in: 3}")
    kinds = [kind for _, kind in operations(graph, "answer")]
    assert kinds == ["windows", "each", "prefill", "decode", "reduce", "prefill", "decode"]
    assert graph.by_id["answer.windows"].config == {"size": 1, "keep_empty": True}
    tree = graph.by_id["answer.tree"]
    assert isinstance(tree, Region)
    assert tree.config == {"fan_in": 3}
    assert tree.inputs == {"items": Ref("answer.leaves", "text")}
    leaf = graph.by_id["answer.leaves.prefill"]
    assert leaf.inputs["passages"] == Ref("answer.leaves", "item")


@pytest.mark.parametrize("mode", ["one_shot", "refine", "tree"])
def test_citing_numbers_passages_and_keeps_those_cited(mode):
    graph = synthesized(f"{{mode: {mode}, cite: true}}")
    cited = graph.by_id["answer.cited"]
    assert cited.inputs["text"] == graph.outputs[0].ref
    assert cited.inputs["passages"] == Ref("found.distinct", "items")
    prefills = [node for node in graph.nodes if getattr(node, "operation", "") == "prefill"]
    for node in prefills:
        names = set()
        for message in node.config["messages"]:
            names |= set(template(message["template"]).variables)
        assert names == set(node.inputs)
    assert any("index" in node.inputs for node in prefills)


def test_texts_are_converted_where_passages_are_taken():
    module = """\
  more: {uses: expand_query, inputs: {question: inputs.question}}
  answer: {uses: synthesize, inputs: {passages: more.queries}}"""
    graph = lowered(module, "answer.text")
    convert = graph.by_id["answer.convert"]
    assert convert.config == {"from": "text", "to": "passage"}
    assert graph.by_id["answer.prefill"].inputs["passages"] == Ref("answer.convert", "items")


def test_one_text_is_cast_and_wrapped():
    module = (
        "  answer: {uses: synthesize, inputs: {passages: inputs.question}, with: {mode: refine}}"
    )
    graph = lowered(module, "answer.text")
    assert [kind for _, kind in operations(graph, "answer")][:2] == ["cast", "wrap"]
    assert graph.by_id["answer.wrap"].inputs == {"value": Ref("answer.cast", "value")}


def test_inputs_of_a_regions_body_are_widened_outside_it():
    """A body stands together; what it needs from outside is made before."""
    module = """\
  answer:
    uses: synthesize
    inputs: {passages: inputs.question, question: inputs.question}
    with: {mode: tree, prompts: {combine: "{{ passages | length }}{{ answers | length }}"}}"""
    graph = lowered(module, "answer.text")
    regions = [node.region for node in graph.nodes]
    assert regions == ["", "", "", "", "answer.leaves", "answer.leaves", "",
                       "answer.tree", "answer.tree"]  # fmt: skip


def test_chunks_are_passages_at_run_time():
    module = "  best: {uses: rerank, inputs: {query: inputs.question, passages: chunks.chunks}}"
    graph = lowered(INDEXED.splitlines()[0] + "\n" + module, "best.passages")
    assert graph.by_id["best.score"].inputs["passages"] == Ref("chunks.chunk", "chunks")


def test_the_chain_links_all_tails_to_all_heads():
    module = """\
  more: {uses: expand_query, inputs: {question: inputs.question}}
  again: {uses: expand_query, inputs: {question: inputs.question}}"""
    order = {edge for edge in lowered(module, "again.queries").edges if edge.kind == "order"}
    assert order == {
        Edge("order", "more.concat", "again.prefill"),
        Edge("order", "more.concat", "again.wrap"),
    }


def test_a_need_is_an_effect():
    modules = (
        INDEXED
        + """\
  last:
    uses: generate
    inputs: {x: inputs.question}
    needs: [indexed]
    with: {prompt: "{{ x }}"}"""
    )
    graph = lowered(modules, "last.text")
    assert Edge("effect", "indexed.ingest", "last.prefill") in graph.edges


def test_primitives_know_their_module_and_line():
    graph = lowered(INDEXED + FOUND, "found.passages")
    assert {node.module: node.line for node in graph.nodes} == {
        "chunks": 16, "indexed": 17, "found": 18,
    }  # fmt: skip


def test_fields_and_defaults_of_references_are_kept():
    module = """\
  last:
    uses: generate
    inputs: {x: {from: inputs.data.a.b, default: 3}}
    with: {prompt: "{{ x }}"}"""
    graph = lowered(module, "last.text")
    assert graph.by_id["last.prefill"].inputs["x"] == Ref(
        "inputs", "data", ("a", "b"), default=(3,)
    )
