"""The bound, and how near to it the prediction comes."""

from __future__ import annotations

from teola.compiler.cost.bound import EngineBound, bound
from teola.compiler.cost.profile import Profiles
from teola.compiler.cost.sizes import Sizes
from teola.compiler.explain.explanation import BoundFact
from teola.compiler.explain.prediction import Prediction


def bound_fact(
    chain: Prediction, optimised: Prediction, sizes: Sizes, profiles: Profiles
) -> BoundFact:
    """``T_bound`` of the optimised graph, against the chain of modules and the prediction."""
    found = bound(optimised.graph, sizes, profiles)
    total = found.total_ms
    engine, part = max(
        found.engines.items(), key=lambda one: one[1].total_ms, default=(None, EngineBound(0, 0, 0))
    )
    if part.total_ms <= found.path_ms:
        engine, part = None, EngineBound(0, 0, 0)
    chain_ms, predicted_ms = chain.estimate.total_ms, optimised.estimate.total_ms
    possible = chain_ms - total
    return BoundFact(
        chain_ms,
        predicted_ms,
        total,
        found.path_ms,
        engine,
        part.head_ms,
        part.work_ms,
        part.tail_ms,
        part.replicas,
        (chain_ms - predicted_ms) / possible if possible > 0 else None,
    )
