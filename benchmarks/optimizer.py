"""What the passes gain: one query at a time, the chain (-O0) against -O2, and each pass alone off.

naive and advanced RAG, the three workloads of evaluation.md, embedded engines pinned to separate
cores, nothing shared between queries, both sides alternating in one process on the same engines:
the same documents, and questions that differ in their number only. Beside each: tokens of both
sides, what the cost model predicts for the sizes that were measured, the bound (and that of the
plain formula, which lets a search begin before its collection is complete), and the share of the
possible gain ``(T_chain - T) / (T_chain - T_bound)``. Costs are those of ``pinned_profile``, which
was measured at another time; "bound at the run's pace" is the bound as much longer or shorter as
the chain turned out than its prediction.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.pinned_profile import PROFILE
from benchmarks.report import save, spread
from benchmarks.workloads import WORKLOADS, Workload
from teola.compiler.api import compile_workflow
from teola.compiler.cost.bound import bound
from teola.compiler.cost.estimate import estimate
from teola.compiler.cost.profile import Profiles, load_profiles
from teola.compiler.cost.sizes import Sizes, measured_sizes
from teola.compiler.graph.expand import expand
from teola.compiler.passes.pipeline import DEFAULT_PIPELINE
from teola.compiler.plan import Plan
from teola.runtime import Runner
from teola.runtime.events import RunFinished, TextDelta
from teola.runtime.pool import EnginePool
from teola.runtime.result import RunResult

WORKFLOWS = ("naive_rag", "advanced_rag")
RUNS = 3
ABLATED = ("advanced_rag", "medium")
CHAIN, ALL = "-O0", "-O2"


@dataclass
class Side:
    """One plan and what its runs took."""

    plan: Plan
    seconds: list[float] = field(default_factory=list)
    first_token: list[float] = field(default_factory=list)
    results: list[RunResult] = field(default_factory=list)

    def forget(self) -> None:
        """Begin anew."""
        self.seconds, self.first_token, self.results = [], [], []

    async def run(self, pool: EnginePool, inputs: Mapping[str, object]) -> None:
        """One query, alone."""
        async with Runner(self.plan, pool=pool, share=False) as runner:
            start, first = time.perf_counter(), None
            async for event in runner.stream(**inputs):
                if isinstance(event, TextDelta) and event.output == "answer" and first is None:
                    first = time.perf_counter() - start
                if isinstance(event, RunFinished):
                    self.seconds.append(time.perf_counter() - start)
                    self.first_token.append(first or float("nan"))
                    self.results.append(event.result)


async def measure(workflow: str, workload: Workload, ablate: bool) -> dict[str, Side]:
    """All sides, alternating; the first round only warms the engines up."""
    sets = workload.sets(workflow)
    sides = {
        level: Side(compile_workflow(workflow, level=level[1:], sets=sets, profile=PROFILE))
        for level in (CHAIN, ALL)
    }
    if ablate:
        for step in DEFAULT_PIPELINE:
            plan = compile_workflow(workflow, disable=[step.name], sets=sets, profile=PROFILE)
            sides[f"{ALL} without {step.name}"] = Side(plan)
    async with EnginePool() as pool:
        for number in range(RUNS + 1):
            for side in sides.values():
                await side.run(pool, workload.inputs(number))
            if number == 0:
                for side in sides.values():
                    side.forget()
    return sides


def figures(sides: dict[str, Side]) -> dict[str, Any]:
    """What the runs say."""
    medians = {name: statistics.median(side.seconds) for name, side in sides.items()}
    chain, best = medians[CHAIN], medians[ALL]
    profiles = load_profiles(PROFILE)
    predicted = {name: _predicted(sides[name], profiles) for name in (CHAIN, ALL)}
    least = _bound(sides[ALL], profiles)
    limits = {
        "bound": least,
        "bound at the run's pace": least * chain / predicted[CHAIN],
        "plain formula": _bound(sides[ALL], profiles, path_only=True),
    }
    return {
        "seconds": {name: spread(side.seconds, 2) for name, side in sides.items()},
        "first answer token, seconds": {
            name: spread(side.first_token, 2) for name, side in sides.items()
        },
        "tokens in, out": {name: _tokens(side.results) for name, side in sides.items()},
        "ratio -O0 / -O2": round(chain / best, 3),
        "-O2 without one pass / -O2": {
            name: round(value / best, 3) for name, value in medians.items() if "without" in name
        },
        "predicted seconds": {name: round(value, 2) for name, value in predicted.items()},
        "prediction error": {
            name: f"{value / medians[name] - 1:+.0%}" for name, value in predicted.items()
        },
        "sizes of each run": {
            name: [_plain(sizes) for sizes in _sizes(sides[name])] for name in (CHAIN, ALL)
        },
        "bound, seconds": {name: round(limit, 2) for name, limit in limits.items()},
        "share of the possible gain": {
            name: round((chain - best) / (chain - limit), 2) if chain > limit else None
            for name, limit in limits.items()
        },
    }


def _sizes(side: Side) -> list[Sizes]:
    return [measured_sizes(result.to_json(), side.plan.graph) for result in side.results]


def _plain(sizes: Sizes) -> Mapping[str, Mapping[str, int]]:
    """Sizes as JSON data: with them everything that is not measured can be computed again."""
    return {"items": sizes.items, "tokens": sizes.tokens}


def _predicted(side: Side, profiles: Profiles) -> float:
    """The median of what each run's sizes say."""
    graphs = (expand(side.plan.graph, sizes) for sizes in _sizes(side))
    return statistics.median(estimate(graph, profiles).total_ms for graph in graphs) / 1000


def _bound(side: Side, profiles: Profiles, *, path_only: bool = False) -> float:
    """The same of the bound."""
    graph = side.plan.graph
    found = (bound(graph, one, profiles, path_only=path_only).total_ms for one in _sizes(side))
    return statistics.median(found) / 1000


def _tokens(results: Sequence[RunResult]) -> tuple[float, float]:
    return (
        statistics.mean(result.usage.prompt_tokens for result in results),
        statistics.mean(result.usage.completion_tokens for result in results),
    )


def main() -> None:
    """Measure."""
    if not PROFILE.exists():
        raise SystemExit(f"{PROFILE} is missing: python -m benchmarks.run pinned_profile")
    found: dict[str, Any] = {}
    for workflow in WORKFLOWS:
        for workload in WORKLOADS:
            name = f"{workflow}, {workload.name}"
            ablate = (workflow, workload.name) == ABLATED
            found[name] = figures(asyncio.run(measure(workflow, workload, ablate)))
            print(name, found[name], flush=True)
    save("optimizer", found)


if __name__ == "__main__":
    main()
