"""Policies under load, in simulation: mean, p50 and p99 of each at 30, 60, 75 and 90 % of what the
engines can do, for the workloads of evaluation.md, and the chain (-O0, throughput) beside them.

advanced_rag, one replica an engine, Poisson arrivals, lengths log-normal (sigma 0.5), every query
with documents of its own; nothing times out. What engines cost is derived from evaluation.md's data
points: a 7B model on an RTX 3090 prefills 200 tokens in 76.0 ms and 800 in 215.9; 48 embeddings
take 1.8 s at batch 4 and 1.35 s at batch 16. Not from there: a decode step reads 14 GB at 936 GB/s
(15 ms, and 0.5 ms a sequence); a reranker's pair costs an embedding; the store a millisecond.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import save
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads import Workload as Lengths
from teola.compiler.api import compile_workflow
from teola.compiler.cost.sizes import parse_sizes
from teola.compiler.plan import Plan
from teola.runtime.policies import POLICIES
from teola.runtime.simulation import Workload, poisson, simulate

QUERIES = 300
LOADS = (0.3, 0.6, 0.75, 0.9)
CHAIN, BEST = ("-O0", "throughput"), ("-O2", "remaining-work")

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


class Load:
    """One workload on one profile."""

    def __init__(self, lengths: Lengths, costs: Path) -> None:
        self.costs = costs
        answer = f"{{max_tokens: {4 * lengths.answer}}}"
        sets = [f"modules.answer.with.sampling={answer}", "defaults.timeout=10h"]
        self.plans: dict[str, Plan] = {
            level: compile_workflow("advanced_rag", level=level[1:], sets=sets, profile=costs)
            for level in ("-O0", "-O2")
        }
        self.sizes = [
            "documents=1",
            f"chunks.chunk={lengths.chunks}",
            f"expand.decode:tokens={3 * lengths.expansion}",
            f"answer.decode:tokens={lengths.answer}",
            f"answer.refine.decode:tokens={lengths.answer}",
        ]

    def run(self, level: str, policy: str, arrivals: tuple[float, ...]) -> Any:
        """One simulation."""
        sizes = parse_sizes(self.sizes, self.plans[level].graph)
        return simulate(
            self.plans[level], Workload(arrivals, sizes), profile=self.costs, policy=policy
        )

    def most(self) -> float:
        """Queries a second that keep the busiest engine always busy: by its work for 30 queries
        that come at once (-O2, fullest batches)."""
        report = self.run("-O2", "throughput", (0.0,) * 30)
        return 30 / max(float(engine.busy_s) for engine in report.engines)


def measure(lengths: Lengths, costs: Path) -> dict[str, Any]:
    """All policies at all loads."""
    load = Load(lengths, costs)
    most = load.most()
    found: dict[str, Any] = {"queries a second at most": round(most, 3)}
    sides = [CHAIN, *(("-O2", policy) for policy in POLICIES)]
    for share in LOADS:
        arrivals = poisson(share * most, QUERIES)
        rows = {}
        for level, policy in sides:
            report = load.run(level, policy, arrivals)
            if report.latency is None or report.failures:
                raise SystemExit(f"queries failed: {report.failures}")
            rows[level, policy] = report.latency
        chain, best, topology = rows[CHAIN], rows[BEST], rows["-O2", "topology"]
        found[f"load {share:.0%}"] = {
            "seconds": {
                " ".join(side): {
                    "mean": round(one.mean, 2),
                    "p50": round(one.p50, 2),
                    "p99": round(one.p99, 2),
                }
                for side, one in rows.items()
            },
            "chain / best": {
                "mean": round(chain.mean / best.mean, 2),
                "p99": round(chain.p99 / best.p99, 2),
            },
            "remaining-work / topology": {
                "mean": round(best.mean / topology.mean, 3),
                "p99": round(best.p99 / topology.p99, 3),
            },
        }
    return found


def main() -> None:
    """Measure."""
    found: dict[str, Any] = {"queries": QUERIES}
    with tempfile.TemporaryDirectory() as folder:
        costs = profile(Path(folder))
        for lengths in WORKLOADS:
            found[lengths.name] = measure(lengths, costs)
            print(lengths.name, json.dumps(found[lengths.name], indent=1), flush=True)
    save("load", found)


if __name__ == "__main__":
    main()
