"""Whole workflows: optimised or not, quick or slow, alone or together, the answers are the same."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from teola.compiler.api import compile_workflow
from teola.runtime.result import plain
from teola.runtime.simulation.clock import pass_time
from tests.generators import documents, sentences, workflows
from tests.runtime.workbench import virtual

GENERATED = settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes, reading not
)


def compiled(text, level):
    """The plan of a workflow's text."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "w.yaml")
        file.write_text(text, encoding="utf-8")
        return compile_workflow(file, level=level)


def outputs(source, inputs, *, share=True):
    """What a run gives, in a pool of its own."""
    found = []

    @virtual
    async def run(bench):
        found.append(dict((await bench.run(source, share=share, **inputs)).outputs))

    run()
    return found[0]


@GENERATED
@given(text=workflows(), found=documents, question=sentences, level=st.sampled_from(["O1", "O2"]))
def test_optimised_workflows_answer_the_same(text, found, question, level):
    """Guarantee 1: whenever -O0 gives outputs, every level gives equal ones, shared or not."""
    inputs = {"documents": found, "question": question}
    expected = outputs(compiled(text, "O0"), inputs)
    optimised = compiled(text, level)
    assert outputs(optimised, inputs) == expected
    assert outputs(optimised, inputs, share=False) == expected
    assert compiled(text, level).to_json() == optimised.to_json()


@settings(GENERATED, max_examples=60)
@given(
    text=workflows(12),
    found=documents,
    questions=st.lists(sentences, min_size=2, max_size=5),
    cancelled=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 300)), max_size=3),
    level=st.sampled_from(["O1", "O2"]),
    share=st.booleans(),
)
def test_queries_of_one_pool_do_not_disturb_each_other(
    text, found, questions, cancelled, level, share
):
    """Many at once, some cancelled at any time: each of the others answers as if it were alone."""
    assume("collection: kb" not in text)  # who writes one named collection is seen by all
    assume("collection: other" not in text)
    source = compiled(text, level)
    alone = [outputs(source, {"documents": found, "question": q}) for q in questions]

    @virtual
    async def together(bench):
        async with bench.runner(source, share=share) as runner:
            running = [
                asyncio.ensure_future(runner.run(documents=found, question=q)) for q in questions
            ]
            for number, after_ms in cancelled:
                await pass_time(after_ms / 1000)
                running[number % len(running)].cancel()
            results = await asyncio.gather(*running, return_exceptions=True)
        for result, expected in zip(results, alone, strict=True):
            if not isinstance(result, asyncio.CancelledError):
                assert plain(dict(result.outputs)) == plain(expected)

    together()
