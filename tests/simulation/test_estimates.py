"""Without load, the simulator and the cost model of the compiler say the same."""

from dataclasses import replace

import pytest

from teola.compiler.api import compile_workflow
from teola.compiler.cost.estimate import estimate
from teola.compiler.cost.sizes import parse_sizes
from teola.compiler.graph.expand import expand
from teola.runtime.simulation import Workload, poisson, simulate


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("assume", [[], ["documents=1", "chunks.chunk=48"]])
@pytest.mark.parametrize("level", ["O0", "O2"])
@pytest.mark.parametrize("name", ["naive_rag", "advanced_rag"])
def test_one_query_alone_takes_what_is_estimated(name, level, assume, replicas):
    """Within 3 % (its first token: 4 %), on engines that have served one before: cutting
    documents takes no time here, and what calls of one query find of each other in the cache is no
    part of an estimate."""
    plan = compile_workflow(name, level=level)
    engines = {one: {**own, "replicas": replicas} for one, own in plan.graph.engines.items()}
    plan = replace(plan, graph=plan.graph.with_(engines=engines))
    sizes = parse_sizes(assume, plan.graph)
    first, both = (
        simulate(plan, Workload(arrivals, sizes, spread=0)) for arrivals in ((0.0,), (0.0, 1000.0))
    )
    expected = estimate(expand(plan.graph, sizes))
    assert (first.failures, both.failures) == ({}, {})
    total_s = 2 * both.latency.mean - first.latency.mean
    assert total_s == pytest.approx(expected.total_ms / 1000, rel=0.03)
    token_s = 2 * both.first_token.mean - first.first_token.mean
    assert token_s == pytest.approx(expected.first_token_ms / 1000, rel=0.04)
    for one, two in zip(first.engines, both.engines, strict=True):
        busy_s = expected.engines[one.name] / 1000
        assert two.busy_s - one.busy_s == pytest.approx(busy_s, rel=0.05, abs=0.01), one.name


@pytest.mark.parametrize("tokens", [300, 1100])
def test_budgets_of_tokens_are_estimated_and_kept(tokens):
    """Batches of at most so many tokens: both know that there are more of them."""
    sets = [f"engines.{name}.batch_tokens={tokens}" for name in ("embedder", "reranker")]
    found = {}
    for some in ([], sets):
        plan = compile_workflow("advanced_rag", sets=some)
        sizes = parse_sizes(["documents=1", "chunks.chunk=48"], plan.graph)
        report = simulate(plan, Workload((0.0,), sizes, spread=0))
        expected = estimate(expand(plan.graph, sizes))
        assert report.latency.mean == pytest.approx(expected.total_ms / 1000, rel=0.02)
        found[bool(some)] = {one.name: one for one in report.engines}
    for name in ("embedder", "reranker"):
        with_budget, without = found[True][name], found[False][name]
        assert with_budget.items == without.items
        assert with_budget.work > without.work
        assert with_budget.items * 256 / with_budget.work <= tokens


def test_assumed_chunks_are_cut():
    """Documents are made as long as their chunks need."""
    plan = compile_workflow("naive_rag")
    sizes = parse_sizes(["documents=3", "chunks.chunk=50"], plan.graph)
    report = simulate(plan, Workload((0.0,), sizes, spread=0))
    (store,) = [engine for engine in report.engines if engine.kind == "store"]
    assert store.items == 50 + 1  # and one search


@pytest.mark.parametrize(("said", "expected"), [([], 64), (["found.distinct=22"], 22)])
def test_searches_find_as_many_different_passages_as_are_assumed(said, expected):
    """Four searches of 16 passages: all are different, unless somebody says how many are."""
    plan = compile_workflow("advanced_rag")
    sizes = parse_sizes(["documents=1", "chunks.chunk=20", *said], plan.graph)
    report = simulate(plan, Workload((0.0, 50.0), sizes, spread=0))
    (reranker,) = [engine for engine in report.engines if engine.kind == "reranker"]
    assert reranker.items == 2 * expected


def test_levels_and_policies_have_the_same_work():
    """What is compared differs in order and time alone: calls, items and tokens are the same."""
    found = set()
    for level, policy in (("O0", "throughput"), ("O2", "topology"), ("O2", "remaining-work")):
        plan = compile_workflow("advanced_rag", level=level)
        sizes = parse_sizes(["documents=1", "chunks.chunk=20"], plan.graph)
        report = simulate(plan, Workload(poisson(0.05, 12), sizes), policy=policy)
        assert report.done == 12
        engines = report.engines
        found.add(tuple((e.items, e.prompt_tokens, e.completion_tokens) for e in engines))
        assert {e.work for e in engines if e.kind == "llm"} == {4 * 12}
    assert len(found) == 1
