"""``teola simulate``: many queries of workflows under load, on simulated engines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from teola.runtime.cli.ending import FAILED, CommandError, ending, say
from teola.runtime.cli.options import (
    Debug,
    Disable,
    Optimization,
    Passes,
    Profile,
    Quiet,
    Sets,
    examples,
)
from teola.runtime.cli.simulate_options import (
    MOST_REPLICAS,
    AsJson,
    Assume,
    Deviation,
    Files,
    MaxQueries,
    MaxWait,
    MostReplicas,
    NoShare,
    Objectives,
    Plot,
    Policy,
    Queries,
    Query,
    Rates,
    Replicas,
    Same,
    Seed,
    Span,
    Timeline,
    Traces,
)
from teola.runtime.cli.simulated_applications import (
    Words,
    names_of,
    read_arrivals,
    read_replicas,
    read_same,
    read_sizes,
)
from teola.runtime.cli.sources import Wishes, is_plan, read_plan, write_file
from teola.runtime.cli.terminal import write_now

if TYPE_CHECKING:
    from teola.compiler.plan import Plan
    from teola.runtime.simulation import Application, Report

EXAMPLES = examples(
    "teola simulate rag.yaml --rate 0.05",
    "teola simulate rag.yaml --profile gpu.json --rate 3 --queries 2000 --policy topology",
    "teola simulate rag.yaml --rate 2 --same documents --assume documents=46 --plot latency.svg",
    "teola simulate rag.plan.json --trace arrivals.jsonl --json",
    "teola simulate rag.yaml chat.yaml --rate 0.05 --rate chat:2 --assume rag:documents=1",
    "teola simulate rag.yaml --rate 3 --profile gpu.json --slo p95=4s",
)


def simulate(
    files: Files,
    *,
    rate: Rates,
    queries: Queries = None,
    trace: Traces,
    seed: Seed = 0,
    policy: Policy = None,
    max_wait: MaxWait = None,
    max_queries: MaxQueries = None,
    assume: Assume,
    spread: Deviation = 0.5,
    same: Same,
    no_share: NoShare = False,
    replicas: Replicas,
    slo: Objectives,
    most_replicas: MostReplicas = MOST_REPLICAS,
    level: Optimization = None,
    passes: Passes = None,
    disable: Disable,
    sets: Sets,
    profile: Profile = None,
    as_json: AsJson = False,
    plot: Plot = None,
    timeline: Timeline = None,
    query: Query = None,
    span: Span = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Simulate many queries under load: latency, throughput, how busy engines are.

    The schedulers are those of real runs; engines take the time that profiles say, on a clock that
    jumps. Inputs are made up in the sizes that `teola explain` assumes. The same arguments print
    the same.
    """
    with ending(debug=debug):
        _check_drawings(plot, timeline, query, span)
        names = names_of(files)
        arrivals = read_arrivals(rate, queries, trace, seed, names)
        wishes = Wishes(level=level, passes=passes, disable=disable)
        plans = _plans(files, names, sets, wishes, profile)
        sizes, alike = read_sizes(assume, plans), read_same(same, plans)

        from teola.runtime.cli.simulated import table
        from teola.runtime.cli.simulation_search import (
            read_objectives,
            searched,
            verdict,
            verdict_data,
        )
        from teola.runtime.policies import DEFAULT_POLICY, POLICIES
        from teola.runtime.simulation import Application, Workload, simulate_together

        if policy is not None and policy not in POLICIES:
            raise CommandError(f"there is no policy {policy!r}; there are: {', '.join(POLICIES)}")
        applications = [
            Application(
                plan, Workload(arrivals[name], sizes[name], spread, seed, alike[name]), name
            )
            for name, plan in plans.items()
        ]
        load = partial(
            simulate_together,
            profile=profile,
            policy=DEFAULT_POLICY if policy is None else policy,
            max_wait_s=max_wait,
            max_queries=max_queries,
            share=not no_share,
        )
        counts, objectives = read_replicas(replicas), read_objectives(slo, names)
        found = None
        if objectives:
            tell = say if not quiet else lambda _: None
            found = searched(objectives, applications, counts, most_replicas, load, tell)
            counts = dict(found.counts)
        report = found.report if found is not None else load(applications, replicas=counts)
        if plot is not None:
            from teola.runtime.simulation.plot import latency_plot

            write_file(plot, latency_plot(report))
        if timeline is not None:
            write_file(timeline, _timeline(load, applications, counts, query, span))
        if as_json:
            data = report.to_json() | ({"slo": verdict_data(found)} if found is not None else {})
            write_now(json.dumps(data, indent=2) + "\n")
        else:
            write_now(table(report) + (f"\n{verdict(found)}\n" if found is not None else ""))
        if found is not None and not found.holds:
            raise typer.Exit(FAILED)


def _check_drawings(
    plot: Path | None, timeline: Path | None, query: int | None, span: float | None
) -> None:
    for option, path in (("--plot", plot), ("--timeline", timeline)):
        if path is not None and path.suffix != ".svg":
            raise CommandError(
                f"{option} {path}: it is drawn as SVG: give a name that ends in .svg"
            )
    if timeline is None and (query is not None or span is not None):
        raise CommandError("--query and --span say what --timeline draws: give it a file")


def _plans(
    files: Sequence[str],
    names: Sequence[str],
    sets: Sequence[str],
    wishes: Wishes,
    profile: Path | None,
) -> dict[str, Plan]:
    given, found = Words(sets, names), {}
    for name, file in zip(names, files, strict=True):
        own: Wishes = {**wishes, "sets": given.of(name)}
        if not is_plan(file):
            own["profile"] = profile
        found[name] = read_plan(file, **own)
    return found


def _timeline(
    load: Callable[..., Report],
    applications: Sequence[Application],
    counts: Mapping[str, int],
    query: int | None,
    span: float | None,
) -> str:
    """The same again, watched: keeping all that happens takes memory."""
    from teola.runtime.simulation.chronicle import Chronicle
    from teola.runtime.simulation.query_picture import query_picture

    chronicle = Chronicle()
    report = load(applications, replicas=counts, observers=[chronicle])
    story = chronicle.story(chronicle.median() if query is None else query)
    options = next(one.options for one in report.applications if one.name == story.workflow)
    return query_picture(story, f"{story.workflow} {options}, {report.policy}", span)
