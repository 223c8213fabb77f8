"""``teola simulate --slo``: the search for replica counts, as it is asked for and told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isinf

from teola.runtime.cli.ending import CommandError
from teola.runtime.cli.simulated_applications import Words
from teola.runtime.simulation import Application, Report
from teola.runtime.simulation.objective import Objective
from teola.runtime.simulation.search import Found, apart, search
from teola.runtime.simulation.told_apart import replicas_of, told_apart


def read_objectives(words: Sequence[str], names: Sequence[str]) -> list[Objective]:
    """What ``--slo`` asks for.

    Raises:
        InputError: it cannot be read.
    """
    given = Words(words, names)
    found = [Objective.parse(word) for word in given.for_all]
    return found + [Objective.parse(word, name) for name in names for word in given.own[name]]


def searched(
    objectives: Sequence[Objective],
    applications: Sequence[Application],
    replicas: Mapping[str, int],
    limit: int,
    load: Callable[..., Report],
    tell: Callable[[str], None],
) -> Found:
    """Search; ``load`` simulates applications with ``replicas``, ``tell`` is told of each try.

    Raises:
        CommandError: an engine begins with more than ``limit``.
    """
    least = {**replicas_of(told_apart(applications)), **replicas}
    for name, count in least.items():
        if count > limit:
            raise CommandError(f"{name}={count}, but --most-replicas is {limit}: raise it")

    def attempt(what: str, of: Sequence[Application], counts: Mapping[str, int]) -> Report:
        report = load(of, replicas=counts)
        tell(f"{_counts(counts)}{what}: {', '.join(_reached(one, report) for one in objectives)}")
        return report

    alone = partial(attempt, ", each query alone", apart(applications))
    return search(objectives, least, limit, partial(attempt, "", applications), alone)


def verdict(found: Found) -> str:
    """What was found, in words."""
    wanted = " and ".join(map(str, found.objectives))
    reached = ", ".join(_reached(one, found.report) for one in found.objectives)
    if found.holds:
        return f"replicas: {_counts(found.counts)}\nhold {wanted}: {reached}"
    words = f"no replicas hold {wanted}: {found.limit} of each engine have {reached}"
    if found.alone is None or all(one.holds(found.alone) for one in found.objectives):
        return f"{words}\nqueries that meet no others hold it: try --most-replicas"
    alone = ", ".join(_reached(one, found.alone) for one in found.objectives)
    return f"{words}\nqueries that meet no others are too slow already: {alone}"


def verdict_data(found: Found) -> dict[str, object]:
    """What was found, as plain data."""
    reports = {"load": found.report} | ({"alone": found.alone} if found.alone else {})
    return {
        "holds": found.holds,
        "replicas": dict(found.counts),
        "most_replicas": found.limit,
        "objectives": [
            {
                "measure": one.measure,
                "seconds": one.seconds,
                "application": one.application,
                **{name: _finite(one.reached(report)) for name, report in reports.items()},
            }
            for one in found.objectives
        ],
    }


def _counts(counts: Mapping[str, int]) -> str:
    return " ".join(f"{name}={count}" for name, count in sorted(counts.items()))


def _reached(objective: Objective, report: Report) -> str:
    of = objective.reached(report)
    told = [
        f"{name} {seconds:.3g} s" if len(of) > 1 else f"{seconds:.3g} s"
        for name, seconds in of.items()
    ]
    return f"{objective.measure} {', '.join(told)}"


def _finite(reached: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no infinity: where queries failed there is none."""
    return {name: None if isinf(seconds) else seconds for name, seconds in reached.items()}
