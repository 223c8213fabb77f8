"""``teola simulate``: many queries of a workflow under load, on simulated engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from teola.runtime.cli.ending import CommandError, ending
from teola.runtime.cli.options import (
    Debug,
    Disable,
    File,
    Optimization,
    Passes,
    Profile,
    Sets,
    examples,
)
from teola.runtime.cli.sources import is_plan, read_plan, write_file
from teola.runtime.cli.terminal import write_now

if TYPE_CHECKING:
    from teola.compiler.plan import Plan
    from teola.runtime.simulation import Workload

EXAMPLES = examples(
    "teola simulate rag.yaml --rate 0.05",
    "teola simulate rag.yaml --profile gpu.json --rate 3 --queries 2000 --policy topology",
    "teola simulate rag.yaml --rate 2 --same documents --assume documents=46 --plot latency.svg",
    "teola simulate rag.plan.json --trace arrivals.jsonl --json",
)
QUERIES = 200


def simulate(
    file: File,
    *,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate", metavar="N", help="Queries a second on average, at random (Poisson)."
        ),
    ] = None,
    queries: Annotated[
        int | None,
        typer.Option(
            "--queries", metavar="N", min=1, help=f"How many, with --rate. Default: {QUERIES}."
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace",
            metavar="FILE",
            help='When queries come, instead of --rate: JSON lines {"at_s": 1.5}.',
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="What arrivals and lengths are drawn with.")
    ] = 0,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            metavar="NAME",
            help="The order of waiting tasks: fifo, per-invocation, throughput, topology or "
            "remaining-work (default).",
        ),
    ] = None,
    assume: Annotated[
        list[str],
        typer.Option(
            "--assume",
            metavar="NAME=N",
            help="A mean size, as in --assume chunks.chunk=48 or --assume answer.decode:tokens=32. "
            "Repeatable.",
            default_factory=list,
            show_default=False,
        ),
    ],
    spread: Annotated[
        float,
        typer.Option(
            "--spread",
            metavar="SIGMA",
            min=0,
            help="How much the lengths of documents and answers vary (log-normal). 0: not at all.",
        ),
    ] = 0.5,
    same: Annotated[
        list[str],
        typer.Option(
            "--same",
            metavar="INPUT",
            help="An input that all queries have alike: what is made of it is shared. Repeatable.",
            default_factory=list,
            show_default=False,
        ),
    ],
    no_share: Annotated[
        bool,
        typer.Option("--no-share", help="Share no work between equal inputs.", show_default=False),
    ] = False,
    level: Optimization = None,
    passes: Passes = None,
    disable: Disable,
    sets: Sets,
    profile: Profile = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Write one JSON object with everything.", show_default=False),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw the latencies of all queries (*.svg)."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Simulate many queries under load: latency, throughput, how busy engines are.

    The schedulers are those of real runs; engines take the time that profiles say, on a clock that
    jumps. Inputs are made up in the sizes that `teola explain` assumes. The same arguments print
    the same.
    """
    with ending(debug=debug):
        if plot is not None and plot.suffix != ".svg":
            raise CommandError(f"--plot {plot}: it is drawn as SVG: give a name that ends in .svg")
        plan = read_plan(
            file,
            level=level,
            passes=passes,
            disable=disable,
            sets=sets,
            profile=None if is_plan(file) else profile,
        )
        from teola.runtime import simulation
        from teola.runtime.cli.simulated import table
        from teola.runtime.policies import DEFAULT_POLICY, POLICIES

        if policy is not None and policy not in POLICIES:
            raise CommandError(f"there is no policy {policy!r}; there are: {', '.join(POLICIES)}")
        workload = _workload(
            plan, _arrivals(rate, queries, trace, seed), assume, spread, seed, same
        )
        report = simulation.simulate(
            plan,
            workload,
            profile=profile,
            policy=DEFAULT_POLICY if policy is None else policy,
            share=not no_share,
        )
        if plot is not None:
            from teola.runtime.simulation.plot import latency_plot

            write_file(plot, latency_plot(report))
        write_now(json.dumps(report.to_json(), indent=2) + "\n" if as_json else table(report))


def _arrivals(
    rate: float | None, queries: int | None, trace: Path | None, seed: int
) -> tuple[float, ...]:
    from teola.runtime.simulation import poisson, read_trace

    if (rate is None) == (trace is None):
        raise CommandError("when do queries come? Give either --rate N or --trace FILE")
    if trace is not None:
        if queries is not None:
            raise CommandError("--queries goes with --rate: a trace has as many as it has lines")
        return read_trace(trace)
    return poisson(rate or 0.0, QUERIES if queries is None else queries, seed)


def _workload(
    plan: Plan,
    arrivals: tuple[float, ...],
    assume: list[str],
    spread: float,
    seed: int,
    same: list[str],
) -> Workload:
    from teola.compiler.cost.sizes import parse_sizes
    from teola.runtime.simulation import Workload

    return Workload(arrivals, parse_sizes(assume, plan.graph), spread, seed, frozenset(same))
