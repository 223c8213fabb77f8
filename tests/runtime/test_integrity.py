"""Whole workflows: optimised or not, quick or slow, alone or together, the answers are the same."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teola.compiler.api import compile_workflow
from teola.runtime.errors import RunError
from teola.runtime.result import plain
from tests.generators import documents, sentences, workflows
from tests.runtime.virtual_clock import pass_time
from tests.runtime.workbench import virtual

GENERATED = settings(
    max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def compiled(text, level):
    """The plan of a workflow's text."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "w.yaml")
        file.write_text(text, encoding="utf-8")
        return compile_workflow(file, level=level)


@virtual
async def ended(source, inputs, *, bench, share=True):
    """The outputs of a run, or its error."""
    try:
        ends.append(dict((await bench.run(source, share=share, **inputs)).outputs))
    except RunError as error:
        ends.append(error)


ends = []


def outputs(source, inputs, *, share=True):
    """What a run gives, in a pool of its own."""
    ends.clear()
    ended(source, inputs, share=share)
    (end,) = ends
    return end


@GENERATED
@given(text=workflows(), found=documents, question=sentences)
def test_optimised_workflows_answer_the_same(text, found, question):
    """Guarantee 1: whenever -O0 gives outputs, -O1 gives equal ones, shared or not."""
    inputs = {"documents": found, "question": question}
    plain_plan, optimised = compiled(text, "O0"), compiled(text, "O1")
    expected = outputs(plain_plan, inputs)
    assert not isinstance(expected, RunError), expected
    assert outputs(optimised, inputs) == expected
    assert outputs(optimised, inputs, share=False) == expected
    assert compiled(text, "O1").to_json() == optimised.to_json()


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    text=workflows(12),
    found=documents,
    questions=st.lists(sentences, min_size=2, max_size=5),
    cancelled=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 300)), max_size=3),
)
def test_queries_of_one_pool_do_not_disturb_each_other(text, found, questions, cancelled):
    """Many at once, some cancelled at any time: each of the others answers as if it were alone."""
    if "collection: kb" in text or "collection: other" in text:
        return  # queries that write one named collection do see each other
    source = compiled(text, "O1")
    alone = [outputs(source, {"documents": found, "question": q}) for q in questions]

    @virtual
    async def together(bench):
        async with bench.runner(source) as runner:
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
