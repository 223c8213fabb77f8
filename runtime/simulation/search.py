"""The smallest replica counts with which objectives hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from teola.runtime.simulation.objective import Objective
from teola.runtime.simulation.report import Report, pressure
from teola.runtime.simulation.workload import Application

APART_S = 1e5
"""A query has ended long before the next one comes."""

Counts: TypeAlias = Mapping[str, int]
"""Engine -> replicas."""
Try: TypeAlias = Callable[[Counts], Report]
"""Simulates the load with so many replicas."""


@dataclass(frozen=True)
class Found:
    """The ``counts`` with which all ``objectives`` hold and their ``report``; or, where they do not
    with ``limit`` replicas of each engine (``holds`` is False), those, and ``alone``: how queries
    fare that meet no others."""

    objectives: Sequence[Objective]
    holds: bool
    counts: Counts
    report: Report
    limit: int
    alone: Report | None = None


def search(
    objectives: Sequence[Objective], least: Counts, limit: int, load: Try, alone: Try
) -> Found:
    """Give the bottleneck one replica more until all objectives hold, then take away what is not
    needed. No engine has fewer than ``least`` replicas or more than ``limit``.

    More replicas are taken to help, if they change anything: where the most do not hold, none do.
    """
    tried: dict[tuple[int, ...], Report] = {}

    def once(counts: Counts) -> Report:
        key = tuple(counts[name] for name in least)
        if key not in tried:
            tried[key] = load(counts)
        return tried[key]

    def holds(report: Report) -> bool:
        return all(objective.holds(report) for objective in objectives)

    most = {name: max(limit, count) for name, count in least.items()}
    counts, report = dict(least), once(least)
    if not holds(report):
        best = once(most)
        if not holds(best):
            return Found(objectives, False, most, best, limit, alone(most))
    while not holds(report):
        counts[_bottleneck(report, counts, most)] += 1
        report = once(counts)
    return _less(Found(objectives, True, counts, report, limit), least, once, holds)


def _bottleneck(report: Report, counts: Counts, most: Counts) -> str:
    """The busiest engine that may have another replica."""
    engines = sorted(report.engines, key=pressure, reverse=True)
    return next(one.name for one in engines if counts[one.name] < most[one.name])


def _less(found: Found, least: Counts, load: Try, holds: Callable[[Report], bool]) -> Found:
    """Without the replicas that nothing needs, taken one by one, from the idlest engine on."""
    for engine in sorted(found.report.engines, key=pressure):
        while found.counts[engine.name] > least[engine.name]:
            fewer = {**found.counts, engine.name: found.counts[engine.name] - 1}
            report = load(fewer)
            if not holds(report):
                break
            found = replace(found, counts=fewer, report=report)
    return found


def apart(applications: Sequence[Application]) -> list[Application]:
    """The same queries, but none meets another."""
    found = []
    for index, one in enumerate(applications):
        numbers = range(index, len(one.workload.arrivals) * len(applications), len(applications))
        arrivals = tuple(APART_S * number for number in numbers)
        found.append(replace(one, workload=replace(one.workload, arrivals=arrivals)))
    return found
