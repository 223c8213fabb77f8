"""``estimate``: how long one query takes, by a small simulation of its e-graph on the engines.

Every replica of an engine serves one batch at a time; what waits is taken oldest first, by the one
that is free. With the profile's entry of operation and engine, a batch of n items of t tokens takes
``Entry.latency_ms``, about

    base_ms + n * (item_ms + t * token_ms)

where n is at most the engine's ``batch_size``, or the entry's knee. All work on a collection is
done by one replica of its store. LLMs batch continuously (see ``llm_server`` and ``llm_machine``):
a prefill of t new tokens is one item and gives the first token; each further token is one decode
step of the n sequences that run on its replica; a warm-up that ended before its call, and on its
replica, makes that call's prefill cost only its new tokens. Operations without an engine take no
time, or their entry's, one after another.
Engines are up, have served such a query before (the fixed heads of prompts are cached where
engines keep prefixes) and do nothing else. The same e-graph and profiles give the same figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teola.compiler.cost.costs import Costs
from teola.compiler.cost.profile import Profiles
from teola.compiler.cost.simulation import Run
from teola.compiler.graph.egraph import EGraph


@dataclass(frozen=True, slots=True)
class Timing:
    """When a task was ready, began and ended, in milliseconds after the query's start.

    ``cause`` is the task that it followed on: the last of those it waited for, or, where it was
    ready but had to queue (``queued``), what its engine did before.
    """

    task: str
    ready_ms: float
    start_ms: float
    end_ms: float
    cause: str | None
    queued: bool


@dataclass(frozen=True)
class Estimate:
    """The predicted run of one query.

    ``first_token_ms`` is when the first token of the main output is there (None: no output).
    ``engines`` is how long each engine works (all its replicas together), ``cpu`` among them.
    ``structural`` names the entries (``decode on llm``) that are rough figures, ``unknown`` the
    operations that have none and count as free.
    """

    timings: Mapping[str, Timing]
    total_ms: float
    first_token_ms: float | None
    engines: Mapping[str, float]
    modules: Mapping[str, float]
    structural: tuple[str, ...]
    unknown: tuple[str, ...]


def estimate(egraph: EGraph, profiles: Profiles | None = None) -> Estimate:
    """Predict one query's run on the engines of the e-graph's graph (no ``profiles``: those that
    are shipped)."""
    costs = Costs(egraph.graph, profiles)
    run = Run(egraph.tasks, costs)
    run.simulate()
    structural, unknown = costs.used(egraph.tasks)
    timings = {task.id: _timing(run, number) for number, task in enumerate(egraph.tasks)}
    work = [timings[task.id] for task in egraph.tasks if task.form != "hint"]
    return Estimate(
        timings,
        max((timing.end_ms for timing in work), default=0.0),
        _first_token(egraph, timings),
        {name: server.busy_ms for name, server in run.servers.items()},
        _modules(egraph, timings),
        structural,
        unknown,
    )


def _timing(run: Run, task: int) -> Timing:
    cause = run.cause[task]
    return Timing(
        run.tasks[task].id,
        run.ready_ms[task],
        run.start_ms[task],
        run.end_ms[task],
        run.tasks[cause].id if cause is not None else None,
        run.queued[task],
    )


def _first_token(egraph: EGraph, timings: Mapping[str, Timing]) -> float | None:
    """When the prefill of the call that gives the main output ends."""
    if not egraph.graph.outputs:
        return None
    latest = 0.0
    for name in egraph.outputs[egraph.graph.outputs[0].name]:
        task = egraph.by_id[name]
        while task.form == "decode":
            task = egraph.by_id[task.after[0]]
        latest = max(latest, timings[task.id].end_ms)
    return latest


def _modules(egraph: EGraph, timings: Mapping[str, Timing]) -> dict[str, float]:
    """Module -> how long anything of it was being done, warm-ups left out."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for task in egraph.tasks:
        if task.form not in ("join", "hint"):
            timing = timings[task.id]
            spans.setdefault(task.module, []).append((timing.start_ms, timing.end_ms))
    return {module: _covered(found) for module, found in spans.items()}


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    total = reached = 0.0
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
