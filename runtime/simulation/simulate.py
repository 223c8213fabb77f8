"""``simulate``: the queries of workloads, scheduled as on real engines, under a virtual clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from teola.compiler.cost.profile import Profiles, load_profiles
from teola.compiler.graph.pgraph import PGraph, Region
from teola.compiler.plan import Plan
from teola.runtime.errors import InputError, RunError
from teola.runtime.observing.error_code import error_code
from teola.runtime.observing.observers import Observer
from teola.runtime.policies import DEFAULT_POLICY
from teola.runtime.pool import EnginePool
from teola.runtime.runner import Runner
from teola.runtime.simulation.clock import run_virtually
from teola.runtime.simulation.report import ApplicationReport, Outcome, Report, Sample
from teola.runtime.simulation.stand_in import rough, simulated
from teola.runtime.simulation.told_apart import told_apart
from teola.runtime.simulation.watch import Watch
from teola.runtime.simulation.workload import Application, Inputs, Workload


def simulate(
    plan: Plan,
    workload: Workload,
    *,
    profile: Path | None = None,
    policy: str = DEFAULT_POLICY,
    max_wait_s: float | None = None,
    max_queries: int | None = None,
    share: bool = True,
    replicas: Mapping[str, int] | None = None,
    observers: Sequence[Observer] = (),
) -> Report:
    """Run a workload's queries on simulated engines in place of the plan's own.

    Runner, graph scheduler, engine schedulers and policies are those of real runs; engines take the
    time that ``profile`` and the shipped profiles say. Work that is done here (cutting documents,
    rendering prompts) is really done and takes no virtual time. ``replicas`` (engine -> how many)
    counts before what the plan says; ``policy``, ``max_wait_s``, ``max_queries`` are those of the
    ``EnginePool``, ``observers`` see what it does. Equal arguments give equal reports. Must not be
    called where an event loop runs.

    Raises:
        InputError: there are no arrivals, an input cannot be made up, or ``replicas`` names no
            engine.
        CompileError: the profile cannot be read.
        UnsupportedError: an engine is of a kind that cannot be simulated.
        RunError: there is no such policy, or ``max_queries`` is below 1.
    """
    return simulate_together(
        [Application(plan, workload)],
        profile=profile,
        policy=policy,
        max_wait_s=max_wait_s,
        max_queries=max_queries,
        share=share,
        replicas=replicas,
        observers=observers,
    )


def simulate_together(
    applications: Sequence[Application],
    *,
    profile: Path | None = None,
    policy: str = DEFAULT_POLICY,
    max_wait_s: float | None = None,
    max_queries: int | None = None,
    share: bool = True,
    replicas: Mapping[str, int] | None = None,
    observers: Sequence[Observer] = (),
) -> Report:
    """As ``simulate``, of several applications on one pool: engines of equal settings are one.
    Different engines of one name go by ``application:engine``.

    Raises:
        InputError: as ``simulate``, or the workloads differ in their seed or spread.
        CompileError, UnsupportedError, RunError: as ``simulate``.
    """
    if not applications:
        raise InputError("a simulation needs an application")
    if len({(one.workload.seed, one.workload.spread) for one in applications}) > 1:
        raise InputError("the workloads of one simulation need one seed and one spread")
    for one in applications:
        if not one.workload.arrivals:
            raise InputError(f"a simulation needs arrivals: {one.name or one.plan.name} has none")
    apart = told_apart(applications)
    stand_ins = simulated(apart, profile, replicas or {})
    simulation = _Simulation(apart, stand_ins, policy, share, load_profiles(profile))
    settings = {"policy": policy, "max_wait_s": max_wait_s, "max_queries": max_queries}
    return run_virtually(simulation.run(observers, settings))


class _Simulation:
    def __init__(
        self,
        applications: Sequence[Application],
        stand_ins: Sequence[Plan],
        policy: str,
        share: bool,
        profiles: Profiles,
    ) -> None:
        self.applications, self.policy, self.share = applications, policy, share
        self.watch = Watch({one.name: _main_calls(one.plan.graph) for one in applications})
        alone = len(applications) == 1
        self.crowds = [
            _Crowd(one, stand_in, Inputs(one.plan.graph, one.workload, "" if alone else one.name))
            for one, stand_in in zip(applications, stand_ins, strict=True)
        ]
        self.rough = rough([one.plan.graph for one in applications], profiles)

    async def run(self, observers: Sequence[Observer], settings: Mapping[str, Any]) -> Report:
        async with EnginePool(**settings) as pool:
            for observer in (self.watch, *observers):
                pool.observe(observer)
            async with asyncio.TaskGroup() as crowds:
                for crowd in self.crowds:
                    crowds.create_task(crowd.run(pool, self.watch, self.share))
            return self._report(_now())

    def _report(self, seconds: float) -> Report:
        structural, unknown = self.rough
        failures: Counter[str] = Counter()
        for crowd in self.crowds:
            failures.update(crowd.failures)
        together = Outcome.of(
            chain.from_iterable(crowd.samples for crowd in self.crowds),
            failures,
            [first_s for crowd in self.crowds for first_s in crowd.first_tokens],
            seconds,
        )
        return Report(
            **vars(together),
            policy=self.policy,
            seed=self.applications[0].workload.seed,
            seconds=seconds,
            applications=tuple(crowd.report(seconds) for crowd in self.crowds),
            engines=self.watch.loads(seconds),
            structural=structural,
            unknown=unknown,
        )


class _Crowd:
    """The queries of one application: as they come and end."""

    def __init__(self, application: Application, stand_in: Plan, inputs: Inputs) -> None:
        self.application, self.stand_in, self.inputs = application, stand_in, inputs
        self.samples: list[Sample] = []
        self.failures: Counter[str] = Counter()
        self.first_tokens: list[float] = []

    async def run(self, pool: EnginePool, watch: Watch, share: bool) -> None:
        arrivals = sorted(self.application.workload.arrivals)
        runner = Runner(self.stand_in, pool=pool, share=share)
        async with runner, asyncio.TaskGroup() as queries:
            for number, arrival_s in enumerate(arrivals):
                await asyncio.sleep(max(0.0, arrival_s - _now()))
                queries.create_task(self._query(runner, watch, number))

    async def _query(self, runner: Runner, watch: Watch, number: int) -> None:
        arrival_s, latency_s = _now(), None
        try:
            result = await runner.run(**self.inputs.of_query(number))
        except RunError as error:
            self.failures[error_code(error)] += 1
        else:
            latency_s = _now() - arrival_s
            first_s = watch.first_tokens.pop(result.run_id, None)
            if first_s is not None:
                self.first_tokens.append(first_s - arrival_s)
        self.samples.append(Sample(arrival_s, latency_s))

    def report(self, seconds: float) -> ApplicationReport:
        outcome = Outcome.of(self.samples, self.failures, self.first_tokens, seconds)
        options = self.application.plan.options
        return ApplicationReport(**vars(outcome), name=self.application.name, options=options)


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
