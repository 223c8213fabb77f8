"""How ``teola simulate`` shows what it found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple

from teola.runtime.simulation.report import EngineLoad, Outcome, Report

RANKS = ("mean", "p50", "p90", "p95", "p99", "most")


def table(report: Report) -> str:
    """The report as text."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    failed = ", ".join(f"{count} {code}" for code, count in report.failures.items())
    names = ", ".join(f"{one.name} {one.options}" for one in report.applications)
    yield (
        f"{names}, {report.policy}: {report.queries} queries "
        f"in {report.seconds:.1f} s, {report.throughput:.3g} a second"
    )
    yield f"failed: {failed}" if failed else "none failed"
    yield ""
    width = max(14, *(len(one.name) + 2 for one in report.applications))
    yield f"{'seconds':<{width}}" + "".join(f"{name:>9}" for name in RANKS)
    if len(report.applications) > 1:
        for one in report.applications:
            yield f"{one.name}: {_counts(one)}"
            yield from _spreads(one, width, "  ")
        yield "together"
        yield from _spreads(report, width, "  ")
    else:
        yield from _spreads(report, width)
    yield ""
    yield from _engines(report.engines)
    if report.bottleneck is not None:
        yield f"\nbottleneck: {report.bottleneck}"
    if report.structural:
        yield f"rough figures, not measured: {', '.join(report.structural)} (see `teola profile`)"
    if report.unknown:
        yield f"no profile, takes no time: {', '.join(report.unknown)}"


def _counts(outcome: Outcome) -> str:
    failed = outcome.queries - outcome.done
    return f"{outcome.queries} queries, {outcome.throughput:.3g} a second" + (
        f", {failed} failed" if failed else ""
    )


def _spreads(outcome: Outcome, width: int, indent: str = "") -> Iterator[str]:
    spreads = {"latency": outcome.latency, "first token": outcome.first_token}
    for name, spread in spreads.items():
        if spread is not None:
            yield f"{indent + name:<{width}}" + _numbers(astuple(spread))


def _engines(loads: Sequence[EngineLoad]) -> Iterator[str]:
    width = max([14, *(len(_name(load)) + 2 for load in loads)])
    yield f"{'engine':<{width}}{'busy':>7}{'running':>9}  {'work':<28}{'queued mean':>13}{'p95':>9}"
    for load in loads:
        spread = load.queued
        waits = "" if spread is None else f"{spread.mean:>13.3f}{spread.p95:>9.3f}"
        yield (
            f"{_name(load):<{width}}{load.utilisation:>7.0%}{load.running:>9.2f}  {_work(load):<28}"
            f"{waits}"
        ).rstrip()


def _name(load: EngineLoad) -> str:
    return f"{load.name} x{load.replicas}" if load.replicas > 1 else load.name


def _work(load: EngineLoad) -> str:
    if load.items is None:
        return f"{load.work} calls, {load.warm_ups} warm-ups"
    each = load.items / load.work if load.work else 0.0
    return f"{load.work} batches of {each:.1f}"


def _numbers(seconds: Sequence[float]) -> str:
    return "".join(f"{one:>9.3f}" for one in seconds)
