"""``simulate``: the queries of a workload, scheduled as on real engines, under a virtual clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from teola.compiler.cost.profile import load_profiles
from teola.compiler.graph.pgraph import PGraph, Region
from teola.compiler.plan import Plan
from teola.runtime.errors import InputError, RunError
from teola.runtime.observing.error_code import error_code
from teola.runtime.policies import DEFAULT_POLICY
from teola.runtime.pool import EnginePool
from teola.runtime.runner import Runner
from teola.runtime.simulation.clock import run_virtually
from teola.runtime.simulation.report import Report, Sample, Spread
from teola.runtime.simulation.stand_in import rough, simulated
from teola.runtime.simulation.watch import Watch
from teola.runtime.simulation.workload import Inputs, Workload


def simulate(
    plan: Plan,
    workload: Workload,
    *,
    profile: Path | None = None,
    policy: str = DEFAULT_POLICY,
    share: bool = True,
) -> Report:
    """Run a workload's queries on simulated engines in place of the plan's own.

    Runner, graph scheduler, engine schedulers and policies are those of real runs; engines take the
    time that ``profile`` and the shipped profiles say. Work that is done here (cutting documents,
    rendering prompts) is really done and takes no virtual time. Equal arguments give equal reports.
    Must not be called where an event loop runs.

    Raises:
        InputError: there are no arrivals, or an input cannot be made up.
        CompileError: the profile cannot be read.
        UnsupportedError: an engine is of a kind that cannot be simulated.
        RunError: there is no such policy.
    """
    if not workload.arrivals:
        raise InputError("a simulation needs arrivals")
    return run_virtually(_Simulation(plan, workload, profile, policy, share).run())


class _Simulation:
    def __init__(
        self, plan: Plan, workload: Workload, profile: Path | None, policy: str, share: bool
    ) -> None:
        self.plan, self.workload, self.policy, self.share = plan, workload, policy, share
        self.stand_in = simulated(plan, workload, profile)
        self.inputs = Inputs(plan.graph, workload)
        self.rough = rough(plan.graph, load_profiles(profile))
        self.watch = Watch(tuple(_main_calls(plan.graph)))
        self.samples: dict[int, Sample] = {}
        self.failures: Counter[str] = Counter()
        self.first_tokens: list[float] = []

    async def run(self) -> Report:
        async with EnginePool(policy=self.policy) as pool:
            pool.observe(self.watch)
            async with Runner(self.stand_in, pool=pool, share=self.share) as runner:
                async with asyncio.TaskGroup() as queries:
                    for number, arrival_s in enumerate(sorted(self.workload.arrivals)):
                        await asyncio.sleep(max(0.0, arrival_s - _now()))
                        queries.create_task(self._query(runner, number))
                return self._report(_now())

    async def _query(self, runner: Runner, number: int) -> None:
        arrival_s, latency_s = _now(), None
        try:
            result = await runner.run(**self.inputs.of_query(number))
        except RunError as error:
            self.failures[error_code(error)] += 1
        else:
            latency_s = _now() - arrival_s
            first_s = self.watch.first_tokens.pop(result.run_id, None)
            if first_s is not None:
                self.first_tokens.append(first_s - arrival_s)
        self.samples[number] = Sample(arrival_s, latency_s)

    def _report(self, seconds: float) -> Report:
        samples = tuple(sample for _, sample in sorted(self.samples.items()))
        latencies = [sample.latency_s for sample in samples if sample.latency_s is not None]
        structural, unknown = self.rough
        return Report(
            self.plan.name,
            self.plan.level,
            self.policy,
            self.workload.seed,
            len(samples),
            len(latencies),
            dict(sorted(self.failures.items())),
            seconds,
            len(latencies) / seconds if seconds else 0.0,
            Spread.of(latencies),
            Spread.of(self.first_tokens),
            self.watch.loads(seconds),
            structural,
            unknown,
            samples,
        )


def _now() -> float:
    return asyncio.get_running_loop().time()


def _main_calls(graph: PGraph) -> Iterator[str]:
    """The decodes that may give the main output."""
    waiting = [out.ref for out in graph.outputs[:1]]
    seen = set()
    while waiting:
        ref = waiting.pop()
        node = graph.by_id.get(ref.node)
        if node is None or node.id in seen:
            continue
        seen.add(node.id)
        if isinstance(node, Region):
            waiting += node.results.values()
        elif node.operation == "decode":
            yield node.id
