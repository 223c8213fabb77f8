"""First token of an answer with and without split-prefill, prefixes of 100 to 3,000 tokens.

The beginning of the prompt is known at once, its end (a passage) only when the documents are
indexed and searched; the LLM has a core of its own and is idle meanwhile. Measured from the moment
at which the passage is there. Both sides alternate; no prefix is used twice.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.report import save, spread
from benchmarks.workloads import PINNED, Workload
from teola.compiler.api import compile_workflow
from teola.compiler.plan import Plan
from teola.runtime import EnginePool, Runner
from teola.runtime.events import ModuleFinished, TextDelta

PREFIXES = (100, 300, 1000, 3000)
RUNS = 3
WORKFLOW = """\
teola: 1
name: early
inputs: {background: text, question: text, documents: list<document>}
engines:
  llm: {kind: llm, model: smollm2-135m-instruct}
  embedder: {kind: embedder, model: all-minilm-l6-v2}
  store: {kind: store, backend: faiss}
modules:
  chunks: {uses: chunk, inputs: {documents: inputs.documents}, with: {size: 256}}
  indexed: {uses: index, inputs: {chunks: chunks.chunks}}
  found:
    uses: search
    inputs: {query: inputs.question, collection: indexed.collection}
    with: {top_k: 1}
  answer:
    uses: generate
    inputs: {background: inputs.background, passages: found.passages}
    with:
      prompt: |
        {{ background }}
        {% for passage in passages %}{{ passage }}{% endfor %}
      sampling: {max_tokens: 8, ignore_eos: true}
outputs: {answer: answer.text}
"""
WORDS = "lake river stone cloud seven blue query index answer slow green table".split()

_salts = count(1)


def background(tokens: int) -> str:
    """About ``tokens`` tokens that no earlier prompt began with: these words are one each."""
    salt = next(_salts)
    return " ".join(WORDS[(i * 7 + salt * (i % 5)) % len(WORDS)] for i in range(tokens))


async def first_token(plan: Plan, pool: EnginePool, tokens: int) -> float:
    """Seconds from the passage to the first token."""
    inputs = {
        **Workload("index", 20 + tokens // 25, 0, 0).inputs(),
        "background": background(tokens),
    }
    arrived = float("nan")
    async with Runner(plan, pool=pool, share=False) as runner:
        async for event in runner.stream(**inputs):
            if isinstance(event, ModuleFinished) and event.module == "found":
                arrived = time.perf_counter()
            if isinstance(event, TextDelta):
                return time.perf_counter() - arrived
    raise SystemExit("the model gave no token")


def compiled() -> dict[str, Plan]:
    """The two sides."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "early.yaml")
        file.write_text(WORKFLOW, encoding="utf-8")
        return {
            "with": compile_workflow(file, sets=PINNED),
            "without": compile_workflow(file, sets=PINNED, disable=["split-prefill"]),
        }


async def measure() -> dict[str, Any]:
    """All prefixes."""
    found: dict[str, Any] = {}
    plans = compiled()
    async with EnginePool() as pool:
        await first_token(plans["with"], pool, 50)
        for tokens in PREFIXES:
            times: dict[str, list[float]] = {name: [] for name in plans}
            for _ in range(RUNS):
                for name, plan in plans.items():
                    times[name].append(await first_token(plan, pool, tokens))
            found[f"prefix of about {tokens} tokens, seconds"] = {
                f"{name} split-prefill": spread(values, 3) for name, values in times.items()
            }
            print(tokens, times, flush=True)
    return found


def main() -> None:
    """Measure."""
    save("prefill", asyncio.run(measure()))


if __name__ == "__main__":
    main()
