"""What a query still needs: estimated, learned, and what ``remaining-work`` makes of it."""

from __future__ import annotations

import asyncio
import json
from unittest import mock

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


def test_a_graph_that_is_too_large_is_not_looked_at():
    """Runners start at once; their queries are all alike."""
    made = plan("""
        input texts: list<text>
        %e.embed = embed texts=~%inputs:texts {group = 1, engine = emb} @e
        %f.embed = embed texts=["x"] {engine = emb} @f
        output out: list<embedding> = %e.embed:embeddings
    """)
    assert Outlook(made.graph).of("f.embed").work_ms > 0
    with mock.patch("teola.runtime.outlook.MOST_TASKS", 3):
        found = Outlook(made.graph)
    assert (found.total_ms, found.of("f.embed").work_ms) == (0, 0)


def test_the_work_is_that_of_the_estimate():
    """Of one query alone, whose batches are nobody else's: what engines of items work."""
    made = compile_workflow("advanced_rag", level="O0")
    found = estimate(expand(made.graph))
    works = sum(one.work_ms for one in Outlook(made.graph).nodes.values() if one.goes_on is None)
    engines = sum(ms for name, ms in found.engines.items() if name not in ("cpu", "llm"))
    assert works == pytest.approx(engines, rel=0.15)


def test_a_decode_is_its_share_of_the_steps(tmp_path):
    """Eight sequences share a step well: one is an eighth of that, however long it takes alone."""
    found = {}
    for knee in (1, 8):
        step = {"operation": "decode", "knee": knee, "base_ms": 7, "item_ms": 1}
        prompt = {"operation": "prefill", "knee": 1, "base_ms": 0, "item_ms": 0}
        file = tmp_path / f"{knee}.json"
        file.write_text(json.dumps({"schema": "teola.profile/1", "entries": [step, prompt]}))
        graph = plan(TWO_CALLS, llm={"backend": "simulated", "profile": str(file)}).graph
        found[knee] = Outlook(graph).of("a.decode")
    assert found[8].work_ms == pytest.approx(found[1].work_ms * (7 + 8) / 8 / (7 + 1))
    assert found[8].path_ms == found[1].path_ms
    assert found[8].did(1, 1, 101) == pytest.approx(100 * 15 / 8)


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
    did = outlook.of("a.decode").did(1, 10, 640)
    assert did > 5 * before
    assert outlook.of("a.decode").work_ms == pytest.approx(before + LEARNING * (did - before))
    total = outlook.total_ms
    outlook.ended(did)
    assert outlook.total_ms == pytest.approx(total + LEARNING * (did - total))


def test_what_is_not_known_counts_as_nothing():
    """A node of another plan, or one without an engine."""
    outlook = Outlook(plan(TWO_CALLS).graph)
    assert outlook.of("nobody").work_ms == 0
    assert outlook.of("nobody").did(3, 3, 3) == 0


def test_work_that_is_done_here_is_no_work_of_engines():
    """Cutting documents takes time, but nobody waits for an engine meanwhile."""
    chunk = Outlook(compile_workflow("advanced_rag", level="O0").graph).of("chunks.chunk")
    assert (chunk.work_ms, chunk.did(1000, 0, 0)) == (0, 0)


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


@virtual
async def test_shared_work_is_learned_from_once(bench):
    """Three queries at once that share two calls teach as much as one that is alone."""
    made = plan(TWO_CALLS, llm={"latency_ms": 250})
    learned = []
    for queries in (1, 3):
        async with bench.runner(made) as runner:
            results = await asyncio.gather(*(runner.run(q="x") for _ in range(queries)))
            outlook = runner._scheduler.outlook
            learned.append({name: one.work_ms for name, one in outlook.nodes.items()})
            assert all(result["answer"] == results[0]["answer"] for result in results)
    assert len(bench.spy("llm").submitted) == 4
    assert learned[0] == learned[1]


@virtual
async def test_shared_work_is_that_of_one_query(bench):
    """The others have ended having done nothing: what a query needs on average is less."""
    made = plan(TWO_CALLS, llm={"latency_ms": 250})
    totals = []
    for queries in (1, 2):
        async with bench.runner(made) as runner:
            await asyncio.gather(*(runner.run(q="x") for _ in range(queries)))
            totals.append(runner._scheduler.outlook.total_ms)
    assert totals[1] == pytest.approx(totals[0] * (1 - LEARNING))


EMBEDDED = """
    input texts: list<text>
    %e.embed = embed texts=~%inputs:texts {engine = emb, group = 2} @e
    output vectors: list<embedding> = %e.embed:embeddings
"""


@virtual
async def test_a_query_is_as_much_work_as_its_lists_are_long(bench):
    """The engine takes one item a second. Queries of eight, four and six items come at once: each
    ends as soon as it can, whatever queries of this plan need on average."""
    made = plan(EMBEDDED, emb={"batch_size": 1, "latency_ms": 1000})
    ended = {}
    async with bench.runner(made, share=False) as runner:

        async def ask(items):
            await runner.run(texts=[f"{items} {number}" for number in range(items)])
            ended[items] = round(now())

        await asyncio.gather(*(ask(items) for items in (8, 4, 6)))
    assert list(ended) == [4, 6, 8]
    assert ended[8] == 18


def test_simulated_engines_are_known_by_their_own_profile(tmp_path):
    """Not by those that are shipped: a simulation's policy sees the costs that it simulates."""
    entry = {"operation": "embed", "knee": 1, "base_ms": 0, "item_ms": 1234}
    file = tmp_path / "profile.json"
    file.write_text(json.dumps({"schema": "teola.profile/1", "entries": [entry]}))
    graph = plan(EMBEDDED, emb={"backend": "simulated", "profile": str(file)}).graph
    assert Outlook(graph).of("e.embed").item_ms == 1234
