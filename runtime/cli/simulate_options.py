"""The options of ``teola simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

QUERIES, MOST_REPLICAS = 200, 32

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE",
        show_default=False,
        help="Workflows (*.yaml), plans (*.plan.json), graphs in text form (*.pgraph) or names of "
        "packaged workflows; several share one pool of engines. Where several are given, a NAME: "
        "(a file's name without its ending) before the value of --rate, --trace, --assume, --same, "
        "--set or --slo says for which.",
    ),
]
Rates = Annotated[
    list[str],
    typer.Option(
        "--rate",
        metavar="N",
        help="Queries a second on average, at random (Poisson), of each application or, as in "
        "--rate rag:0.5, of one.",
        default_factory=list,
        show_default=False,
    ),
]
Queries = Annotated[
    int | None,
    typer.Option(
        "--queries",
        metavar="N",
        min=1,
        help=f"How many, with --rate, of all applications together. Default: {QUERIES}.",
    ),
]
Traces = Annotated[
    list[str],
    typer.Option(
        "--trace",
        metavar="FILE",
        help='When queries come, instead of --rate: JSON lines {"at_s": 1.5}.',
        default_factory=list,
        show_default=False,
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", metavar="N", help="What arrivals and lengths are drawn with.")
]
Policy = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="NAME",
        help="The order of waiting tasks: fifo, per-invocation, throughput, topology or "
        "remaining-work (default).",
    ),
]
MaxWait = Annotated[
    float | None,
    typer.Option(
        "--max-wait",
        metavar="SECONDS",
        min=0,
        help="What has waited for so long on an engine goes next, whatever the policy says.",
    ),
]
MaxQueries = Annotated[
    int | None,
    typer.Option(
        "--max-queries",
        metavar="N",
        min=1,
        help="How many queries may be in at once; one more is refused and counted as a failure. "
        "Default: any number.",
        show_default=False,
    ),
]
Assume = Annotated[
    list[str],
    typer.Option(
        "--assume",
        metavar="NAME=N",
        help="A mean size, as in --assume chunks.chunk=48 or --assume answer.decode:tokens=32. "
        "Repeatable.",
        default_factory=list,
        show_default=False,
    ),
]
Deviation = Annotated[
    float,
    typer.Option(
        "--spread",
        metavar="SIGMA",
        min=0,
        help="How much the lengths of documents and answers vary (log-normal). 0: not at all.",
    ),
]
Same = Annotated[
    list[str],
    typer.Option(
        "--same",
        metavar="INPUT",
        help="An input that all queries have alike: what is made of it is shared. Repeatable.",
        default_factory=list,
        show_default=False,
    ),
]
NoShare = Annotated[
    bool,
    typer.Option("--no-share", help="Share no work between equal inputs.", show_default=False),
]
Replicas = Annotated[
    list[str],
    typer.Option(
        "--replicas",
        metavar="ENGINE=N",
        help="How many replicas an engine has. Repeatable.",
        default_factory=list,
        show_default=False,
    ),
]
Objectives = Annotated[
    list[str],
    typer.Option(
        "--slo",
        metavar="MEASURE=TIME",
        help="Search the fewest replicas with which latencies hold this, as in --slo p95=4s: mean, "
        "p50, p90, p95, p99 or most. --replicas is where it begins. Repeatable.",
        default_factory=list,
        show_default=False,
    ),
]
MostReplicas = Annotated[
    int,
    typer.Option(
        "--most-replicas", metavar="N", min=1, help="As many as --slo gives an engine, at most."
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Write one JSON object with everything.", show_default=False)
]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", help="Draw the latencies of all queries (*.svg)."),
]
Timeline = Annotated[
    Path | None,
    typer.Option(
        "--timeline",
        metavar="FILE",
        help="Draw when one query waited and ran on each engine, and others with it (*.svg).",
    ),
]
Query = Annotated[
    int | None,
    typer.Option(
        "--query",
        metavar="N",
        min=1,
        help="Which --timeline draws, from 1 in order of arrival; else one of median latency.",
    ),
]
Span = Annotated[
    float | None,
    typer.Option(
        "--span",
        metavar="SECONDS",
        min=0.001,
        help="How much of it --timeline draws, so that two drawings compare; else all.",
    ),
]
