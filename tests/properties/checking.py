"""What must hold of every case."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from teola.compiler.api import Compilation, compilation
from teola.compiler.graph.text import parse_graph, print_graph
from teola.compiler.graph.verify import verify
from teola.compiler.passes.pipeline import parse_pipeline
from teola.compiler.plan import Plan
from teola.compiler.source import Source
from teola.runtime.engines.fakes import llm
from teola.runtime.errors import RunError
from teola.runtime.graph_scheduler import GraphScheduler
from teola.runtime.instance.run import Run as Runs
from teola.runtime.result import RunResult, plain
from teola.runtime.simulation.clock import pass_time
from tests.properties.cases import Case
from tests.properties.faults import Failing
from tests.properties.features import features
from tests.properties.prompts import Prompts, Tokens
from tests.properties.results import Results
from tests.runtime.workbench import Bench, Spy, now, virtual

SAID = ("lake [1]", "brève", "river [2]", "dünn", "stone [3, 1]", "forêt", "cloud [1]", "blue")
"""What the fake LLM says beside a part of its hash: words of the documents, and what it cites."""
LONGEST_S = 50_000
"""Virtual seconds in which a case is over, however slow its engines are."""

Outputs = Mapping[str, Any]


@dataclass
class Run:
    """What a run under the schedule gave: outputs, or why there are none. ``stray`` is what was
    warmed up and is not the beginning of its call."""

    outputs: Outputs | RunError | None = None
    neighbour: Outputs | RunError | None = None
    stray: list[tuple[str, Tokens]] = field(default_factory=list)
    happened: dict[str, bool] = field(default_factory=dict)


@mock.patch.object(llm, "WORDS", SAID)
def check(case: Case, seen: Counter[str]) -> None:
    """Compile and run a case, and count in ``seen`` what was in it.

    Raises:
        AssertionError: something does not hold.
    """
    compiled = _compiled(case, scheduled=True)
    check_steps(compiled)
    again = _compiled(case, scheduled=True)
    assert compiled.plan.to_json() == again.plan.to_json(), "two plans of one file differ"
    question, neighbour = case.inputs["question"], case.schedule.neighbour
    reference = _compiled(case, scheduled=False, level="O0").plan
    expected = alone(reference, case.inputs)
    run = scheduled(case, compiled.plan)
    assert not run.stray, f"a warm-up does not begin its call: {run.stray}"
    _check_outputs("the query", run.outputs, expected)
    if neighbour is not None:
        told = expected if neighbour == question else None
        told = told or alone(reference, {**case.inputs, "question": neighbour})
        _check_outputs("the neighbour", run.neighbour, told)
    run.happened["-O0 gives outputs"] = expected is not None
    seen.update({"cases", *features(case, compiled)})
    seen.update(name for name, happened in run.happened.items() if happened)


def _check_outputs(who: str, found: Outputs | RunError | None, expected: Outputs | None) -> None:
    if expected is not None:
        assert not isinstance(found, RunError), f"{who} fails where -O0 does not: {found}"
        assert found == expected, f"{who} does not get what -O0 gives"


def check_steps(compiled: Compilation) -> None:
    """Each graph on the way is valid, all of it, and can be written and read."""
    graphs = [compiled.source, *(step.after for step in compiled.steps)]
    for graph in {id(graph): graph for graph in graphs}.values():
        verify(graph)
        text = print_graph(graph)
        again = parse_graph(Source("again.pgraph", text))
        assert again == graph, "the text form is read as another graph"
        assert print_graph(again) == text, "the text form is printed as another text"


def _compiled(case: Case, *, scheduled: bool, level: str = "O2", suffix: str = "") -> Compilation:
    with tempfile.TemporaryDirectory() as folder:
        file, profile = Path(folder, "w.yaml"), Path(folder, "profile.json")
        file.write_text(case.text(scheduled=scheduled, suffix=suffix), encoding="utf-8")
        profile.write_text(case.profile(), encoding="utf-8")
        if level == "O0":
            return compilation(file, level=level)
        return compilation(file, passes=parse_pipeline(case.passes), profile=profile)


def alone(plan: Plan, inputs: Mapping[str, Any]) -> Outputs | None:
    """What a plan gives in a pool of its own, on engines that take no time."""
    found: list[Outputs] = []

    @virtual
    async def run(bench: Bench) -> None:
        found.append(_outputs(await bench.run(plan, **inputs)))

    try:
        run()
    except RunError:
        return None
    return found[0]


def scheduled(case: Case, plan: Plan) -> Run:
    """What a plan gives under the case's schedule."""
    found = Run()

    @virtual
    async def run(bench: Bench) -> None:
        failures: list[str] = []
        failing = {kind: Failing(case.schedule.faults, failures) for kind in case.schedule.engines}

        def prepare(spy: Spy) -> None:
            spy.start_s = case.schedule.starts[spy.kind]
            failing[spy.kind].arrange(spy, case.schedule.tokens)

        bench.prepared.append(prepare)
        began = now()
        prompts = Prompts()
        results = Results()
        with prompts.watched(), results.watched(), _grouped(case):
            await _beside(bench, case, plan, found, prompts)
        found.happened |= results.happened
        found.happened["retried"] = bool(failures)
        assert now() - began < LONGEST_S, f"it took {now() - began:g} s"
        await bench.settle()
        found.happened["several replicas of one engine work"] = (
            max(_at_work(bench).values(), default=0) > 1
        )
        await _check_stores(bench, found)

    run()
    return found


def _grouped(case: Case) -> AbstractContextManager[object]:
    """Groups are what the plan says where single items stay ``apart``."""

    def as_planned(_: GraphScheduler, run: Runs) -> tuple[int, int]:
        size = getattr(run.prepared.node, "group", None) or 1
        return size, size

    if not case.apart:
        return nullcontext()
    return mock.patch.object(GraphScheduler, "group_sizes", as_planned)


def _at_work(bench: Bench) -> Counter[str]:
    """Kind of engine -> how many of its replicas were given something."""
    return Counter(spy.kind for spy in bench.spies if spy.calls or spy.submitted)


async def _check_stores(bench: Bench, found: Run) -> None:
    """Nothing is half written, and each collection is on one replica."""
    stores = [spy.handle for spy in bench.spies if spy.kind == "store" and spy.alive]
    told = [await store.control("describe", {}) for store in stores]
    pending = [name for one in told for name in one["pending"]]
    assert not pending, f"not published and not discarded: {pending}"
    held = Counter(name for one in told for name in one["collections"])
    twice = [name for name, count in held.items() if count > 1]
    assert not twice, f"on several replicas: {twice}"
    filled = sum(bool(one["collections"]) for one in told)
    found.happened["collections on several replicas"] = filled > 1


async def _beside(bench: Bench, case: Case, plan: Plan, found: Run, prompts: Prompts) -> None:
    """The query, and beside it one that is cancelled and one that asks something else."""
    schedule, inputs = case.schedule, case.inputs
    async with (
        bench.runner(plan, share=schedule.share) as runner,
        bench.runner(_renamed(case, plan, "-b"), share=schedule.share) as second,
        bench.runner(_renamed(case, plan, "-c"), share=schedule.share) as third,
    ):
        running = [asyncio.ensure_future(runner.run(**inputs))]
        if schedule.neighbour is not None:
            asked = {**inputs, "question": schedule.neighbour}
            running.append(asyncio.ensure_future(second.run(**asked)))
        if schedule.cancelled_after is not None:
            doomed = asyncio.ensure_future(third.run(**inputs))
            await pass_time(schedule.cancelled_after)
            found.happened["cancelled on the way"] = not doomed.done()
            doomed.cancel()
            await asyncio.gather(doomed, return_exceptions=True)
        results = await asyncio.gather(*running, return_exceptions=True)
        given = [_given(result) for result in results]
        for one, by in zip(given, (runner, second), strict=False):
            if not isinstance(one, RunError):
                found.stray += prompts.stray(by)
    found.outputs = given[0]
    found.neighbour = given[1] if schedule.neighbour is not None else None
    found.happened |= {
        "warmed up": any(request.warm for spy in bench.spies for request in spy.submitted),
        "beside another query": schedule.neighbour is not None,
    }


def _renamed(case: Case, plan: Plan, suffix: str) -> Plan:
    """The same plan on named collections of its own: who writes one is seen by all."""
    named = any("collection" in m.get("with", {}) for m in case.workflow["modules"].values())
    return _compiled(case, scheduled=True, suffix=suffix).plan if named else plan


def _given(result: RunResult | BaseException) -> Outputs | RunError:
    if isinstance(result, RunError):
        return result
    if isinstance(result, BaseException):
        raise result
    return _outputs(result)


def _outputs(result: RunResult) -> Outputs:
    return plain(dict(result.outputs))
