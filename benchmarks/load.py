"""Policies under load, in simulation: mean, p50 and p99 of each at 30, 60, 75 and 90 % of what the
engines can do, for the workloads of evaluation.md, and the chain (-O0, throughput) beside them:
advanced_rag alone, and with naive_rag on the same engines; the short one also naive_rag alone,
and the medium one with two replicas of the LLM.

One replica an engine, Poisson arrivals, lengths log-normal (sigma 0.5), every query with documents
of its own; nothing times out. Figures are of the queries of all seeds together. What the engines
can do is measured with the same queries, all coming at once. What engines cost is derived from
evaluation.md's data points: a 7B model on an RTX 3090 prefills 200 tokens in 76.0 ms and 800 in
215.9; 48 embeddings take 1.8 s at batch 4 and 1.35 s at batch 16. Not from there: a decode step
reads 14 GB at 936 GB/s (15 ms, and 0.5 ms a sequence); a reranker's pair costs an embedding; the
store a millisecond.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.report import save
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads import Workload as Lengths
from teola.compiler.api import compile_workflow
from teola.compiler.cost.sizes import Sizes, parse_sizes
from teola.compiler.plan import Plan
from teola.runtime.policies import POLICIES
from teola.runtime.simulation import (
    Application,
    Report,
    Workload,
    poisson_together,
    simulate_together,
)
from teola.runtime.simulation.report import Spread

QUERIES, SEEDS = 200, (0, 1, 2)
LOADS = (0.3, 0.6, 0.75, 0.9)
CHAIN, BEST = ("-O0", "throughput"), ("-O2", "remaining-work")
TOPOLOGY = ("-O2", "topology")
SIDES = (CHAIN, *(("-O2", policy) for policy in POLICIES))
BOTH = "naive_rag", "advanced_rag"


@dataclass(frozen=True, slots=True)
class Case:
    """Workflows that share engines, and how long everything is for them."""

    name: str
    lengths: Lengths
    workflows: Sequence[str] = ("advanced_rag",)
    llms: int = 1


SHORT, MEDIUM, _ = WORKLOADS
CASES = (
    *(Case(one.name, one) for one in WORKLOADS),
    Case("medium, two LLMs", MEDIUM, llms=2),
    Case("short, naive", SHORT, ("naive_rag",)),
    *(Case(f"{one.name}, naive and advanced", one, BOTH) for one in WORKLOADS),
)

TOKEN_MS = (215.9 - 76.0) / 600
EMBED_MS = (1350 / 3 - 1800 / 12) / 12
COSTS = (
    ("prefill", "llm", 1, 76.0 - 200 * TOKEN_MS, 0.0, TOKEN_MS),
    ("decode", "llm", 64, 15.0, 0.5, 0.0),
    ("embed", "embedder", 16, 1800 / 12 - 4 * EMBED_MS, EMBED_MS, 0.0),
    ("score", "reranker", 16, 1800 / 12 - 4 * EMBED_MS, EMBED_MS, 0.0),
    ("ingest", "store", 64, 1.0, 0.01, 0.0),
    ("search", "store", 64, 1.0, 0.1, 0.0),
)
NAMED = {
    "llm": {"backend": "transformers", "model": "smollm2-135m-instruct"},
    "embedder": {"backend": "sentence-transformers", "model": "all-minilm-l6-v2"},
    "reranker": {"backend": "maxsim", "model": "all-minilm-l6-v2"},
    "store": {"backend": "faiss"},
}
"""The engines that these costs stand in for: those of the bundled workflow."""


def profile(folder: Path) -> Path:
    """The costs as a profile."""
    entries = [
        {
            "operation": operation,
            "engine": {"kind": kind, **NAMED[kind]},
            "origin": "measured",
            "knee": knee,
            "base_ms": base,
            "item_ms": item,
            "token_ms": token,
        }
        for operation, kind, knee, base, item, token in COSTS
    ]
    file = folder / "profile.json"
    found = {"schema": "teola.profile/1", "machine": "evaluation.md", "entries": entries}
    file.write_text(json.dumps(found), encoding="utf-8")
    return file


@lru_cache
def compiled(workflow: str, level: str, lengths: Lengths, costs: Path) -> tuple[Plan, Sizes]:
    """A plan, and the sizes of its workload."""
    answer = f"{{max_tokens: {4 * lengths.answer}}}"
    sets = [f"modules.answer.with.sampling={answer}", "defaults.timeout=10h"]
    plan = compile_workflow(workflow, level=level[1:], sets=sets, profile=costs)
    tokens = {"expand": 3 * lengths.expansion, "answer": lengths.answer}
    sizes = [
        f"{node.id}:tokens={tokens[node.id.partition('.')[0]]}"
        for node in plan.graph.nodes
        if getattr(node, "operation", "") == "decode"
    ]
    sizes += ["documents=1", f"chunks.chunk={lengths.chunks}"]
    return plan, parse_sizes(sizes, plan.graph)


def run(
    case: Case, costs: Path, side: tuple[str, str], arrivals: Sequence[Sequence[float]], seed: int
) -> Report:
    """One simulation; no query fails."""
    level, policy = side
    applications = []
    for workflow, own in zip(case.workflows, arrivals, strict=True):
        plan, sizes = compiled(workflow, level, case.lengths, costs)
        applications.append(Application(plan, Workload(tuple(own), sizes, seed=seed)))
    replicas = {"llm": case.llms}
    report = simulate_together(applications, profile=costs, policy=policy, replicas=replicas)
    if report.failures:
        raise SystemExit(f"queries failed: {report.failures}")
    return report


def busy(case: Case, costs: Path, seed: int) -> Mapping[str, float]:
    """Engine -> how long each of its replicas is busy with queries that come at once (-O2, fullest
    batches)."""
    arrivals = [(0.0,) * (QUERIES // len(case.workflows))] * len(case.workflows)
    report = run(case, costs, ("-O2", "throughput"), arrivals, seed)
    return {engine.name: engine.busy_s / engine.replicas for engine in report.engines}


def latencies(
    case: Case, costs: Path, rate: float, side: tuple[str, str], seed: int
) -> Mapping[str, list[float]]:
    """Of all queries, and of those of each of several workflows."""
    rates = [rate / len(case.workflows)] * len(case.workflows)
    report = run(case, costs, side, poisson_together(rates, QUERIES, seed), seed)
    found = {"all": [one.latency_s or 0.0 for one in report.samples]}
    if len(case.workflows) > 1:
        for own in report.applications:
            found[own.name] = [one.latency_s or 0.0 for one in own.samples]
    return found


def measure(case: Case, costs: Path, workers: Executor) -> dict[str, Any]:
    """All policies at all loads."""
    times = list(workers.map(busy, *zip(*((case, costs, seed) for seed in SEEDS), strict=True)))
    most = QUERIES * len(SEEDS) / max(sum(one[name] for one in times) for name in times[0])
    jobs = list(product(LOADS, SIDES, SEEDS))
    found: dict[str, Any] = {"queries a second at most": round(most, 3)}
    arguments = [(case, costs, share * most, side, seed) for share, side, seed in jobs]
    results = dict(zip(jobs, workers.map(latencies, *zip(*arguments, strict=True)), strict=True))
    for share in LOADS:
        rows = {side: together([results[share, side, seed] for seed in SEEDS]) for side in SIDES}
        found[f"load {share:.0%}"] = {
            "seconds": {" ".join(side): row for side, row in rows.items()},
            "chain / best": ratio(rows[CHAIN], rows[BEST]),
            "remaining-work / topology": ratio(rows[BEST], rows[TOPOLOGY]),
        }
    return found


def together(parts: Sequence[Mapping[str, list[float]]]) -> dict[str, Any]:
    """The figures of some simulations as of one."""
    rows = {}
    for name in parts[0]:
        spread = Spread.of([seconds for part in parts for seconds in part[name]])
        if spread is not None:
            rows[name] = {
                "mean": round(spread.mean, 3),
                "p50": round(spread.p50, 3),
                "p99": round(spread.p99, 3),
            }
    return {**rows.pop("all"), **rows}


def ratio(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, float]:
    """The means and the 99th percentiles of one side over those of another."""
    return {name: round(one[name] / other[name], 3) for name in ("mean", "p99")}


def main() -> None:
    """Measure."""
    found: dict[str, Any] = {"queries": QUERIES * len(SEEDS)}
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor() as workers:
        costs = profile(Path(folder))
        for case in CASES:
            found[case.name] = measure(case, costs, workers)
            print(case.name, json.dumps(found[case.name], indent=1), flush=True)
    save("load", found)


if __name__ == "__main__":
    main()
