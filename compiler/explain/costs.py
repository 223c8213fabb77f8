"""Where the costs of a prediction come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from teola.compiler.cost.costs import CPU, Costs
from teola.compiler.cost.profile import Entry, Profiles, load_profiles
from teola.compiler.explain.explanation import CostFacts
from teola.compiler.explain.prediction import Prediction
from teola.compiler.graph.pgraph import PGraph


def cost_facts(predictions: Iterable[Prediction], profiles: Profiles) -> CostFacts:
    """The operations that count, sorted by the origin of their entries."""
    shipped = load_profiles().entries
    found: dict[str, dict[str, None]] = {"given": {}, "shipped": {}, "rough": {}, "unknown": {}}
    for one in predictions:
        costs = Costs(one.graph, profiles)
        for task in one.egraph.tasks:
            entry = costs.entry(task)
            if entry is not None or task.engine is not None:
                name = f"{costs.operation(task)} on {task.engine or CPU}"
                found[_origin(entry, shipped)][name] = None
    return CostFacts(*(tuple(names) for names in found.values()))


def several(graph: PGraph, profiles: Profiles) -> Mapping[str, int]:
    """The replicas of the engines that have more than one."""
    costs = Costs(graph, profiles)
    counts = {name: costs.replicas(home) for name, home in costs.homes.items()}
    return {name: count for name, count in counts.items() if count > 1}


def cached_heads(prediction: Prediction) -> Mapping[str, int]:
    """Call -> what of its prompt counts as cached since an earlier query."""
    tasks = prediction.egraph.tasks
    return {task.primitive: task.cached for task in tasks if task.form == "prefill" and task.cached}


def _origin(entry: Entry | None, shipped: tuple[Entry, ...]) -> str:
    if entry is None:
        return "unknown"
    if entry.origin == "structural":
        return "rough"
    return "shipped" if any(entry is one for one in shipped) else "given"
