"""What a query still needs: estimated, learned, and what ``remaining-work`` makes of it."""

from __future__ import annotations

import asyncio

import pytest

from teola.compiler.api import compile_workflow
from teola.compiler.cost.estimate import estimate
from teola.compiler.graph.expand import expand
from teola.runtime import EnginePool, RunError
from teola.runtime.outlook import LEARNING, Outlook
from teola.runtime.policies import POLICIES
from tests.runtime.workbench import call, now, plan, reply, virtual

TWO_CALLS = f"""
    input q: text
    {call("a", "first {{ q }}", "q=%inputs:q")}
    {call("b", "second {{ a }}", "a=%a.decode:text")}
    output answer: text = %b.decode:text
"""


def test_the_work_is_that_of_the_estimate():
    """One query alone: nothing is batched with another's, so engines work as long as predicted."""
    made = compile_workflow("advanced_rag", level="O0")
    found = estimate(expand(made.graph))
    outlook = Outlook(made.graph)
    engines = sum(ms for name, ms in found.engines.items() if name != "cpu")
    assert outlook.total_ms == pytest.approx(engines, rel=0.15)


def test_paths_and_depths_shrink_towards_the_output():
    """What comes first has most before it."""
    outlook = Outlook(plan(TWO_CALLS).graph)
    first, second = outlook.of("a.decode"), outlook.of("b.decode")
    assert first.path_ms > second.path_ms > 0
    assert first.depth > second.depth
    assert first.work_ms + second.work_ms == pytest.approx(outlook.total_ms)


def test_running_averages_follow_what_queries_did():
    """A decode ten times as long as assumed moves the expectation by what one query weighs."""
    outlook = Outlook(plan(TWO_CALLS).graph)
    before = outlook.of("a.decode").work_ms
    did = outlook.did("a.decode", 1, 10, 640)
    assert did > 5 * before
    assert outlook.of("a.decode").work_ms == pytest.approx(before + LEARNING * (did - before))
    total = outlook.total_ms
    outlook.ended(did)
    assert outlook.total_ms == pytest.approx(total + LEARNING * (did - total))


def test_what_is_not_known_counts_as_nothing():
    """A node of another plan, or one without an engine."""
    outlook = Outlook(plan(TWO_CALLS).graph)
    assert outlook.of("nobody").work_ms == 0
    assert outlook.did("nobody", 3, 3, 3) == 0


@pytest.mark.parametrize(
    ("policy", "ends"),
    [("fifo", [4, 5, 6]), ("topology", [4, 5, 6]), ("remaining-work", [2, 4, 6])],
)
@virtual
async def test_a_query_that_has_less_to_do_goes_first(bench, policy, ends):
    """The engine takes one call of a second at a time. Three queries of two calls come at once: in
    order of arrival each waits for all first calls, else each ends as soon as it can."""
    bench.pool.policy = policy
    made = plan(TWO_CALLS, llm={"max_requests": 1, "latency_ms": 250})
    ended = []
    async with bench.runner(made, share=False) as runner:
        begun = [asyncio.ensure_future(runner.run(q=q)) for q in ("x", "y", "z")]
        for one in begun:
            one.add_done_callback(lambda _: ended.append(round(now())))
        results = await asyncio.gather(*begun)
    assert ended == ends
    assert [result["answer"] for result in results] == [
        reply(f"second {reply(f'first {q}')}") for q in ("x", "y", "z")
    ]


def test_an_unknown_policy_is_refused():
    """The message names those that there are."""
    with pytest.raises(RunError, match="no policy 'lifo'; there are: " + ", ".join(POLICIES)):
        EnginePool(policy="lifo")
