"""The prediction of one graph: its e-graph, its estimate, its critical path."""

from __future__ import annotations

from dataclasses import dataclass

from teola.compiler.cost.critical_path import CriticalPath, critical_path
from teola.compiler.cost.estimate import Estimate, estimate
from teola.compiler.cost.profile import Profiles
from teola.compiler.cost.sizes import Sizes
from teola.compiler.explain.explanation import Moment
from teola.compiler.graph.egraph import EGraph
from teola.compiler.graph.expand import expand
from teola.compiler.graph.pgraph import PGraph


@dataclass(frozen=True)
class Prediction:
    """One query of one graph."""

    egraph: EGraph
    estimate: Estimate

    @property
    def graph(self) -> PGraph:
        """What is predicted."""
        return self.egraph.graph

    @property
    def moment(self) -> Moment:
        """Its end, and its first token."""
        return Moment(self.estimate.total_ms, self.estimate.first_token_ms)

    @property
    def path(self) -> CriticalPath:
        """What the query waits for, from its start to its end."""
        return critical_path(self.egraph, self.estimate)


def predict(graph: PGraph, sizes: Sizes, profiles: Profiles) -> Prediction:
    """Predict one query.

    Raises:
        ExpansionError: too many tasks for these sizes.
    """
    egraph = expand(graph, sizes)
    return Prediction(egraph, estimate(egraph, profiles))
