"""A bundled workflow with all its engines on one GPU, in float32: the passes change no answer."""

import asyncio
import json

import pytest

from teola.compiler.api import compile_workflow
from teola.runtime import Runner
from teola.runtime.pool import EnginePool


@pytest.mark.parametrize("model", ["smollm", "saying"])
def test_all_engines_share_a_gpu_and_both_plans_give_the_same_answer(
    model, device, request, tmp_path
):
    from benchmarks.gpu.weights import BERT_TINY, save_bert

    folder = request.getfixturevalue(model)
    embedder = save_bert(tmp_path / "embedder", BERT_TINY)
    scorer = save_bert(tmp_path / "reranker", BERT_TINY, scores=True)
    common = {"device": device, "dtype": "float32"}
    engines = {
        "llm": {"kind": "llm", "path": str(folder), "kv_pages": 1024, **common},
        "embedder": {"kind": "embedder", "path": str(embedder), **common},
        "reranker": {
            "kind": "reranker", "backend": "cross-encoder", "path": str(scorer), **common,
        },
    }  # fmt: skip
    sampling = "{max_tokens: 24, ignore_eos: true}"
    sets = [
        *(f"engines.{name}={json.dumps(config)}" for name, config in engines.items()),
        *(f"modules.{name}.with.sampling={sampling}" for name in ("answer", "expand")),
    ]

    async def answers():
        async with EnginePool() as pool:
            found = []
            for level in ("O0", "O2"):
                plan = compile_workflow("advanced_rag", level=level, sets=sets)
                async with Runner(plan, pool=pool, share=False) as runner:
                    documents = [{"name": "a", "text": "A journal is written before pages. " * 80}]
                    result = await runner.run(question="what is written?", documents=documents)
                    found.append(result["answer"])
            return found

    chain, best = asyncio.run(answers())
    assert chain == best
    assert len(chain) > 20
