"""What compilation costs: lowering, passes and verifier (compiler.md, guarantee 5), and the parts
outside of that: reading YAML, checking, writing the plan.

Targets (first issue): at most 5 ms for advanced_rag, at most 20 ms for 100 modules.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.report import save, spread
from teola.compiler.check import check
from teola.compiler.diagnostics import Diagnostics
from teola.compiler.graph.lowering import lower
from teola.compiler.locations import find_workflow
from teola.compiler.passes.pipeline import DEFAULT_PIPELINE, run_pipeline
from teola.compiler.plan import Plan
from teola.compiler.source import Source, load_yaml

REPEATS = 30
T = TypeVar("T")

HEAD = """\
teola: 1
name: hundred
inputs:
  documents: list<document>
  question: text
engines:
  llm: {kind: llm, model: smollm2-135m-instruct}
  embedder: {kind: embedder, model: all-minilm-l6-v2}
  reranker: {kind: reranker, backend: maxsim, model: all-minilm-l6-v2}
  store: {kind: store, backend: faiss}
modules:
  chunks: {uses: chunk, inputs: {documents: inputs.documents}, with: {size: 256}}
  indexed: {uses: index, inputs: {chunks: chunks.chunks}}
"""
BLOCK = """\
  expand{i}:
    uses: expand_query
    inputs: {{question: {question}}}
    with: {{count: 3, keep_original: true}}
  found{i}:
    uses: search
    inputs: {{queries: expand{i}.queries, collection: indexed.collection}}
    with: {{top_k: 16}}
  best{i}:
    uses: rerank
    inputs: {{query: inputs.question, passages: found{i}.passages}}
    with: {{top_k: 3}}
  draft{i}:
    uses: synthesize
    inputs: {{question: inputs.question, passages: best{i}.passages}}
    with: {{mode: {mode}}}
  answer{i}:
    uses: generate
    inputs: {{draft: draft{i}.text, question: inputs.question}}
    with: {{prompt: "Shorten this: {{{{ draft }}}} It answers: {{{{ question }}}}"}}
"""


def hundred_modules() -> str:
    """A workflow of 102 modules: twenty rounds, each asking with the answer of the one before."""
    text = HEAD
    for i in range(20):
        question = f"answer{i - 1}.text" if i else "inputs.question"
        mode = ("refine", "tree", "one_shot")[i % 3]
        text += BLOCK.format(i=i, question=question, mode=mode)
    return text + "outputs:\n  answer: answer19.text\n"


def timed(work: Callable[[], T]) -> tuple[list[float], T]:
    """Milliseconds of REPEATS calls, after one to warm up, and the last result."""
    result = work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = work()
        times.append((time.perf_counter() - start) * 1e3)
    return times, result


def measure(source: Source, base: Path) -> dict[str, Any]:
    """The milliseconds of each part."""
    yaml, _ = timed(lambda: load_yaml(source, Diagnostics()))
    checking, (graph, diagnostics) = timed(lambda: check(source))
    diagnostics.raise_if_errors()
    if graph is None:
        raise SystemExit(f"{source.name} does not compile")
    compiling, (pgraph, reports) = timed(lambda: run_pipeline(lower(graph), DEFAULT_PIPELINE))
    writing, _ = timed(lambda: Plan(pgraph, "-O2", reports, base=base).to_json(base))
    return {
        "modules": len(graph.modules),
        "primitives": len(pgraph.nodes),
        "ms lowering, passes, verifier": spread(compiling),
        "ms reading YAML": spread(yaml),
        "ms reading and checking": spread(checking),
        "ms writing the plan": spread(writing),
    }


def main() -> None:
    """Measure advanced_rag and a workflow of 100 modules."""
    path = find_workflow("advanced_rag")
    figures = {
        "advanced_rag (target 5 ms)": measure(Source.read(path), path.parent),
        "100 modules (target 20 ms)": measure(Source("hundred.yaml", hundred_modules()), Path()),
    }
    save("compilation", figures)


if __name__ == "__main__":
    main()
