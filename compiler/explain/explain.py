"""``explain``: a compilation becomes an explanation."""

from __future__ import annotations

from teola.compiler.api import Compilation
from teola.compiler.cost.sizes import Sizes
from teola.compiler.explain.bound_fact import bound_fact
from teola.compiler.explain.costs import cached_heads, cost_facts, several
from teola.compiler.explain.explanation import Explanation
from teola.compiler.explain.path import path_steps
from teola.compiler.explain.prediction import predict
from teola.compiler.explain.run_file import FinishedRun
from teola.compiler.explain.size_facts import size_facts
from teola.compiler.explain.stories import stories


def explain(
    compilation: Compilation,
    given: Sizes | None = None,
    run: FinishedRun | None = None,
    *,
    with_bound: bool = False,
) -> Explanation:
    """Tell what each pass of a compilation did, and predict one query before and after.

    ``given`` sizes come before those that ``run`` measured. The same arguments give the same
    explanation.

    Raises:
        ExpansionError: too many tasks for these sizes.
    """
    given = given or Sizes()
    measured = run.sizes if run is not None else Sizes(origin="measured")
    sizes, profiles = measured.updated(given), compilation.context.profiles
    after = predict(compilation.plan.graph, sizes, profiles)  # first: too large a size fails here
    before = predict(compilation.source, sizes, profiles)
    return Explanation(
        compilation.plan.graph.name,
        tuple(stories(compilation, before, sizes)),
        before.moment,
        after.moment,
        tuple(path_steps(before, after)),
        tuple(size_facts(after.graph, given, measured)),
        cost_facts((before, after), profiles),
        several(after.graph, profiles),
        cached_heads(after),
        bound_fact(before, after, sizes, profiles) if with_bound else None,
        run.beside(after) if run is not None else None,
    )
