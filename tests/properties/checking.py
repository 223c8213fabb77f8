"""What must hold of every case."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teola.compiler.api import Compilation, compilation
from teola.compiler.graph.text import parse_graph, print_graph
from teola.compiler.graph.verify import verify
from teola.compiler.passes.pipeline import parse_pipeline
from teola.compiler.plan import Plan
from teola.compiler.source import Source
from teola.runtime.errors import RunError
from teola.runtime.result import RunResult, plain
from teola.runtime.simulation.clock import pass_time
from tests.properties.cases import Case
from tests.properties.features import features
from tests.runtime.workbench import Bench, Spy, now, virtual

LONGEST_S = 50_000
"""Virtual seconds in which a case is over, however slow its engines are."""

Outputs = Mapping[str, Any]


@dataclass
class Run:
    """What a run under the schedule gave; None: it failed."""

    outputs: Outputs | None = None
    neighbour: Outputs | None = None
    happened: dict[str, bool] = field(default_factory=dict)


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
    if expected is not None:
        assert run.outputs == expected, "not what -O0 gives"
    if neighbour is not None:
        told = expected if neighbour == question else None
        told = told or alone(reference, {**case.inputs, "question": neighbour})
        assert told is None or run.neighbour == told, "the neighbour does not get what -O0 gives"
    run.happened["-O0 gives outputs"] = expected is not None
    seen.update({"cases", *features(case, compiled)})
    seen.update(name for name, happened in run.happened.items() if happened)


def check_steps(compiled: Compilation) -> None:
    """Each graph on the way is valid, all of it, and can be written and read."""
    graphs = [compiled.source, *(step.after for step in compiled.steps)]
    for graph in {id(graph): graph for graph in graphs}.values():
        verify(graph)
        text = print_graph(graph)
        assert print_graph(parse_graph(Source("again.pgraph", text))) == text
        assert parse_graph(Source("again.pgraph", text)) == graph


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

        def prepare(spy: Spy) -> None:
            spy.start_s = case.schedule.starts[spy.kind]
            case.schedule.faults.arrange(spy, failures)

        bench.prepared.append(prepare)
        began = now()
        await _beside(bench, case, plan, found)
        found.happened["retried"] = bool(failures)
        assert now() - began < LONGEST_S, f"it took {now() - began:g} s"

    run()
    return found


async def _beside(bench: Bench, case: Case, plan: Plan, found: Run) -> None:
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
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, RunError):
                raise result
    given = [None if isinstance(one, BaseException) else one for one in results]
    found.outputs = _outputs(given[0])
    found.neighbour = _outputs(given[1]) if schedule.neighbour is not None else None
    found.happened |= {
        "warmed up": any(request.warm for spy in bench.spies for request in spy.submitted),
        "beside another query": schedule.neighbour is not None,
    }


def _renamed(case: Case, plan: Plan, suffix: str) -> Plan:
    """The same plan on named collections of its own: who writes one is seen by all."""
    named = any("collection" in m.get("with", {}) for m in case.workflow["modules"].values())
    return _compiled(case, scheduled=True, suffix=suffix).plan if named else plan


def _outputs(result: RunResult | None) -> Outputs | None:
    return None if result is None else plain(dict(result.outputs))
