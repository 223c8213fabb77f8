"""Checking workflows: what is wrong is said where it is, what is right becomes a module graph."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.compiler.check import check
from teola.compiler.diagnostics import render
from teola.compiler.engine_settings import FakeLLM
from teola.compiler.graph.lowering import lower
from teola.compiler.graph.pgraph import Const, Ref
from teola.compiler.graph.verify import verify
from teola.compiler.source import Source

GOLDEN = Path(__file__).parent.parent / "golden" / "check"

HEAD = """\
teola: 1
name: tested
inputs: {documents: list<document>, question: text, shelf: {type: text, default: books}}
engines:
  llm: {kind: llm, backend: fake}
  embedder: {kind: embedder, backend: fake}
  reranker: {kind: reranker, backend: fake}
  store: {kind: store, backend: fake}
"""

RAG = (
    HEAD
    + """\
modules:
  chunks: {uses: chunk, inputs: {documents: inputs.documents}, with: {size: 256, overlap: 30}}
  indexed: {uses: index, inputs: {chunks: chunks.chunks}}
  expand: {uses: expand_query, inputs: {question: inputs.question}, with: {count: 2}}
  found:
    uses: search
    inputs: {queries: expand.queries, collection: indexed.collection}
    with: {top_k: 16}
  best:
    uses: rerank
    inputs: {query: inputs.question, passages: found.passages}
  answer:
    uses: synthesize
    inputs: {question: inputs.question, passages: best.passages}
    with: {mode: refine}
outputs: {answer: answer.text, sources: best.passages}
"""
)


def checked(text, *, sets=()):
    """The module graph of a workflow that has no errors."""
    graph, diagnostics = check(Source("rag.yaml", text), sets=sets)
    assert not diagnostics.errors, render(diagnostics)
    return graph


def problems(text, **options):
    """The codes of everything that is wrong, in file order."""
    _, diagnostics = check(Source("rag.yaml", text), **options)
    return [item.code for item in diagnostics]


def with_modules(text, outputs="{answer: last.text}"):
    return f"{HEAD}modules:\n{text}\noutputs: {outputs}\n"


# Golden cases: a bad file, and beside it what is said.


@pytest.mark.parametrize("case", sorted(GOLDEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_problems_are_drawn_as_expected(case, monkeypatch):
    """All problems of the file together, each with its line, what exists and the nearest."""
    monkeypatch.chdir(GOLDEN)
    _, diagnostics = check(Source.read(case.name))
    assert render(diagnostics) + "\n" == case.with_suffix(".txt").read_text(encoding="utf-8")


# What is right.


def test_a_checked_workflow_is_resolved_and_typed():
    graph = checked(RAG)
    assert [module.id for module in graph.modules] == [
        *("chunks", "indexed", "expand", "found", "best", "answer")
    ]
    found = graph.by_id["found"]
    assert found.inputs["queries"].operand == Ref("expand", "queries")
    assert found.inputs["top_k"].operand == Const(16)
    assert found.engines == {"embedder": "embedder", "store": "store"}
    assert graph.by_id["best"].inputs["top_k"].operand == Const(3), "a default"
    assert graph.by_id["chunks"].engines == {"tokenizer": "embedder"}
    assert [(output.name, str(output.type)) for output in graph.outputs] == [
        ("answer", "text"),
        ("sources", "list<passage>"),
    ]
    assert graph.by_id["answer"].line == 20


def test_edges_are_kept_apart_by_kind():
    graph = checked(RAG.replace("  found:\n", "  found:\n    needs: [chunks]\n"))
    edges = {(edge.kind, edge.source, edge.target) for edge in graph.edges}
    assert ("data", "expand", "found") in edges
    assert ("order", "indexed", "expand") in edges
    assert ("effect", "chunks", "found") in edges
    assert ("data", "indexed", "expand") not in edges


def test_the_chain_is_the_files_order_made_topological():
    """Only what must move moves."""
    graph = checked(
        with_modules(
            """\
  a: {uses: generate, inputs: {x: c.text}, with: {prompt: "{{ x }}"}}
  b: {uses: generate, inputs: {x: inputs.question}, with: {prompt: "{{ x }}"}}
  c: {uses: generate, inputs: {x: inputs.question}, with: {prompt: "{{ x }}"}}
  last: {uses: generate, inputs: {x: a.text, y: b.text}, with: {prompt: "{{ x }}{{ y }}"}}"""
        )
    )
    assert [module.id for module in graph.modules] == ["b", "c", "a", "last"]


def test_defaults_reach_modules_that_say_nothing():
    text = RAG.replace(
        "modules:\n",
        "defaults: {timeout: 60s, retry: {max: 2}, llm: llm}\ndeadline: 5m\nmodules:\n",
    ).replace("  best:\n", "  best:\n    timeout: 1s\n    idle_timeout: 500ms\n")
    graph = checked(text)
    retry = {"max": 2, "backoff": "exponential", "initial_s": 0.2, "on": []}
    assert graph.by_id["found"].control == {"timeout_s": 60.0, "retry": retry}
    best = {"timeout_s": 1.0, "idle_timeout_s": 0.5, "retry": retry}
    assert graph.by_id["best"].control == best
    assert graph.deadline_s == 300.0


def test_set_replaces_a_constant_as_if_written():
    graph = checked(RAG, sets=["modules.found.with.top_k=4", "modules.answer.with.mode=one_shot"])
    assert graph.by_id["found"].inputs["top_k"].operand == Const(4)
    assert graph.by_id["answer"].settings.mode == "one_shot"
    assert problems(RAG, sets=["modules.found.with.top_k=many"]) == ["type-mismatch"]


def test_a_reference_may_walk_into_records_and_have_a_default():
    text = with_modules(
        """\
  last:
    uses: generate
    inputs: {x: {from: inputs.data.title, default: none}, y: inputs.page.text}
    with: {prompt: "{{ x }}{{ y }}"}"""
    ).replace("inputs: {", "inputs: {data: json, page: document, ", 1)
    inputs = checked(text).by_id["last"].inputs
    assert inputs["x"].operand == Ref("inputs", "data", ("title",), default=("none",))
    assert str(inputs["y"].type) == "text"


@pytest.mark.parametrize(
    ("binding", "type_"),
    [
        ("collection: indexed.collection", "collection"),
        ("collection: inputs.shelf", "text"),
    ],
)
def test_a_collection_is_a_value_or_a_name(binding, type_):
    graph = checked(RAG.replace("collection: indexed.collection", binding))
    assert str(graph.by_id["found"].inputs["collection"].type) == type_


def test_a_collection_brings_its_store_and_embedder():
    """With several stores, a search of an index's collection need not say which."""
    text = RAG.replace(
        "  store: {kind: store, backend: fake}\n",
        "  store: {kind: store, backend: fake}\n  other: {kind: store, backend: fake}\n",
    ).replace(
        "inputs: {chunks: chunks.chunks}}", "inputs: {chunks: chunks.chunks}, with: {store: other}}"
    )
    assert checked(text).by_id["found"].engines["store"] == "other"


def test_prompts_may_stand_in_files_of_the_workflows_folder(tmp_path):
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "ask.txt").write_text("Ask {{ x }}.")
    (tmp_path / "prompts" / "more.txt").write_text("{{ passage }} {{ answer }}")
    path = tmp_path / "flow.yaml"
    path.write_text(
        with_modules(
            """\
  last: {uses: generate, inputs: {x: inputs.question}, with: {prompt_file: prompts/ask.txt}}
  more:
    uses: synthesize
    inputs: {passages: last.text}
    with: {mode: refine, prompts: {refine: {file: prompts/more.txt}}}""",
            "{answer: more.text}",
        )
    )
    graph, diagnostics = check(Source.read(path))
    assert not diagnostics.errors, render(diagnostics)
    assert graph.by_id["last"].settings.prompt == "Ask {{ x }}."
    [prefill] = [node for node in lower(graph).nodes if node.id == "more.refine.prefill"]
    assert set(prefill.inputs) == {"passage", "answer"}


def test_no_link_leads_out_of_the_folder(tmp_path):
    (tmp_path / "secret.txt").write_text("{{ x }}")
    folder = tmp_path / "flows"
    folder.mkdir()
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    path = folder / "flow.yaml"
    path.write_text(
        with_modules(
            "  last: {uses: generate, inputs: {x: inputs.question}, with: {prompt_file: link.txt}}"
        )
    )
    _, diagnostics = check(Source.read(path))
    assert [item.code for item in diagnostics.errors] == ["outside-folder"]


# What is wrong, beyond the golden cases.


def test_a_problem_does_not_draw_others_after_it():
    """What builds on something broken is left out."""
    assert problems(RAG.replace("uses: rerank", "uses: rernk")) == ["unknown-uses"]
    assert problems(RAG.replace("question: text", "question: txt")) == ["bad-type"]
    assert problems(RAG.replace("queries: expand.queries", "queries: expand.query")) == [
        "unknown-port"
    ]


def test_a_broken_shape_does_not_hide_what_is_wrong_inside():
    text = RAG.replace("teola: 1\n", "teola: 1\ncolour: red\n").replace("best.passages}", "best.x}")
    assert problems(text) == ["unknown-key", "unknown-port", "unknown-port"]


def test_template_problems_point_into_the_yaml():
    text = with_modules(
        """\
  last:
    uses: generate
    inputs: {x: inputs.question}
    with:
      prompt: |
        One {{ x }}
          Two {{ y }}
      sampling: {max_tokens: 5}"""
    )
    _, diagnostics = check(Source("rag.yaml", text))
    [problem] = diagnostics
    line = text.splitlines()[problem.span.line - 1]
    assert line[problem.span.column - 1 : problem.span.end_column - 1] == "y"


@pytest.mark.parametrize(
    ("prompt", "caret"),
    [('"{{ x }} {{ yy }}"', "yy"), ("'{{ x.yy }} {{ yy }}'", "yy"), ('"{{ x }}\\n{{ yy }}"', "yy")],
)
def test_template_problems_point_into_quoted_prompts(prompt, caret):
    text = with_modules(
        f"  last: {{uses: generate, inputs: {{x: inputs.question}}, with: {{prompt: {prompt}}}}}"
    ).replace("question: text", "question: json")
    _, diagnostics = check(Source("rag.yaml", text))
    [problem] = diagnostics
    line = text.splitlines()[problem.span.line - 1]
    shown = line[problem.span.column - 1 : problem.span.end_column - 1]
    assert shown in (caret, prompt)
    assert line[: problem.span.column - 1].count("{{ x.") in (0, 1)


WORDS = [
    *("null", "[]", "{}", "1", "-1.5", "true", '"x"', "a.b", "inputs.question", "best.passages"),
    *("{from: a.b}", "{from: inputs.question, default: 1}", "[a, b]", "{a: 1}", "{{ x }}", "|"),
    *(".inf", "found", '"{{ q }}"', "list<text>", "llm", "{mode: tree}", "[{role: user}]", "~"),
]


@given(st.data())
def test_whatever_is_written_is_accepted_whole_or_explained(data):
    """No exception, and a graph exactly where there is no error; it lowers to a valid p-graph."""
    lines = RAG.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        if data.draw(st.integers(0, 4)) == 0:
            lines[at : at + 1] = data.draw(st.sampled_from([[], [lines[at]] * 2]))
        elif ": " in lines[at]:
            key, _, value = lines[at].partition(": ")
            words = value.split(" ")
            words[data.draw(st.integers(0, len(words) - 1))] = data.draw(st.sampled_from(WORDS))
            lines[at] = f"{key}: {' '.join(words)}"
        lines = lines or [""]
    graph, diagnostics = check(Source("rag.yaml", "\n".join(lines)))
    assert (graph is None) == bool(diagnostics.errors)
    assert render(diagnostics) or graph is not None
    if graph is not None:
        verify(lower(graph))


def test_sampling_that_a_backend_is_known_to_lack_is_refused(monkeypatch):
    """With the backends that have it; a plug-in that says nothing is believed to have it all."""
    monkeypatch.setattr(FakeLLM, "sampling", frozenset({"stop"}))
    text = with_modules(
        "  last:\n    uses: generate\n    inputs: {q: inputs.question}\n    with:\n"
        '      prompt: "{{ q }}"\n      sampling: {temperature: 0.5, seed: 3, stop: [x]}'
    )
    _, diagnostics = check(Source("rag.yaml", text))
    said = render(diagnostics)
    assert [item.code for item in diagnostics] == ["unsupported-sampling"] * 2
    assert "engine 'llm' has no sampling.temperature (its backend is 'fake')" in said
    assert "backends that have it: transformers" in said
    monkeypatch.setattr(FakeLLM, "sampling", None)
    assert checked(text) is not None
