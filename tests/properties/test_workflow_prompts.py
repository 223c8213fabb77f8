"""The LLM calls of the bundled workflows, with the real tokenizer: prompts and warm-ups."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teola.compiler.api import compile_workflow
from teola.runtime.engines.fakes import llm
from teola.runtime.engines.fakes.llm import answer
from teola.runtime.engines.tokenizer import ByteTokenizer, load_tokenizer
from teola.runtime.pool_engine import PooledEngine
from tests.properties.prompts import Prompts
from tests.properties.test_warm_up_tokens import SMOLLM, texts
from tests.runtime.workbench import virtual

EXAMPLES = 40
ENGINES = {
    "naive_rag": ("llm", "embedder", "store"),
    "advanced_rag": ("llm", "embedder", "reranker", "store"),
}
CALLS = {
    "naive_rag": {"answer.leaves.prefill", "answer.tree.prefill"},
    "advanced_rag": {"expand.prefill", "answer.prefill", "answer.refine.prefill"},
}
"""The calls of each workflow."""

pages = st.lists(texts, min_size=1, max_size=5).map(" ".join)
documents = st.lists(pages, max_size=5).map(
    lambda found: [{"name": f"d{number}", "text": text} for number, text in enumerate(found)]
)


@pytest.fixture
def real_tokens(monkeypatch):
    """Fake LLMs whose prompts and answers are of the embedded language model's tokens."""
    tokenizer = load_tokenizer(SMOLLM)
    of_fakes = PooledEngine.tokenizer
    monkeypatch.setattr(
        PooledEngine,
        "tokenizer",
        lambda engine: tokenizer if engine.kind == "llm" else of_fakes(engine),
    )

    def answered(prompt, max_tokens, **how):
        text = ByteTokenizer().decode(answer(prompt, max_tokens, **how))
        return tokenizer.encode(text)[:max_tokens]

    monkeypatch.setattr(llm, "answer", answered)


@pytest.mark.models
@pytest.mark.usefixtures("real_tokens")
@pytest.mark.parametrize("name", CALLS)
def test_every_call_gets_the_tokens_that_it_has_without_passes(name):
    """Of any question and any documents each call of -O2 has exactly the tokens of -O0, and each
    warm-up the first of them; all calls were seen, and the last module's were warmed up."""
    fakes = [
        f"engines.{kind}={{kind: {kind}, backend: fake, latency_ms: 20, per_item_ms: 5}}"
        for kind in ENGINES[name]
    ]
    plans = [compile_workflow(name, level=level, sets=fakes) for level in ("O0", "O2")]
    seen: Counter[str] = Counter()
    begun: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES)
    @given(question=texts, documents=documents)
    def every(question, documents):
        told = [watched(plan, question=question, documents=documents) for plan in plans]
        (plain, _), (optimised, begins) = told
        assert optimised == plain
        seen.update(plain.keys())
        begun.update(begins)

    every()
    assert seen.keys() == CALLS[name]
    assert {call for call in CALLS[name] if call.startswith("answer")} == begun.keys()
    assert min(begun.values()) >= EXAMPLES / 4


def watched(plan, **inputs):
    """The prompts of a run by call, and how many warm-ups each call had."""
    found = []

    @virtual
    async def run(bench):
        prompts = Prompts()
        async with bench.runner(plan) as runner:
            with prompts.watched():
                await runner.run(**inputs)
            assert not list(prompts.stray(runner))
            begun = {call: sum(map(bool, every)) for (_, call), every in prompts.begun.items()}
            found.append((prompts.of(runner), begun))

    run()
    return found[0]
