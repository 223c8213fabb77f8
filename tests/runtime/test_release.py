"""A query that has ended is gone: nothing of it is left for the garbage collector to find."""

import asyncio
import gc
from collections import Counter

import pytest

from teola.compiler.api import compile_workflow
from tests.runtime.workbench import virtual

KINDS = ("llm", "embedder", "reranker", "store")
FAKES = tuple(f"engines.{kind}={{kind: {kind}, backend: fake}}" for kind in KINDS)


@pytest.mark.parametrize("level", ["O0", "O2"])
@pytest.mark.parametrize("share", [True, False])
@virtual
async def test_an_ended_query_leaves_no_cycles(bench, level, share):
    """Reference counts free its runs, cells, tasks and scopes: memory does not wait for the garbage
    collector, which has little to do."""
    made = compile_workflow("advanced_rag", level=level, sets=FAKES)
    documents = [{"name": "d", "text": "some text of a document"}]
    async with bench.runner(made, share=share) as runner:
        await runner.run(question="first", documents=documents)
        await bench.settle()
        gc.collect()
        gc.disable()
        try:
            queries = (runner.run(question=f"q{n}", documents=documents) for n in range(3))
            await asyncio.gather(*queries)
            await bench.settle()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
        finally:
            gc.set_debug(0)
            gc.enable()
        left = Counter(
            type(one).__name__ for one in gc.garbage if type(one).__module__.startswith("teola.")
        )
        gc.garbage.clear()
    assert not left, left
