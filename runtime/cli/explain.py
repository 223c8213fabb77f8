"""``teola explain``: what each pass did to a workflow, and what that is predicted to gain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from teola.runtime.cli.ending import CommandError, ending
from teola.runtime.cli.options import (
    Debug,
    Disable,
    Optimization,
    Passes,
    Profile,
    Sets,
    examples,
)
from teola.runtime.cli.sources import is_plan, read_compilation
from teola.runtime.cli.terminal import write_now
from teola.runtime.cli.until import stopped_after

if TYPE_CHECKING:
    from teola.compiler.api import Compilation

EXAMPLES = examples(
    "teola explain rag.yaml",
    "teola explain rag.yaml --assume documents=46 --bound",
    "teola explain rag.yaml --disable split-prefill --profile profile.json",
    "teola explain rag.yaml --until prune-order > rag.pgraph",
    "teola run rag.yaml --json > run.json; teola explain rag.yaml --run run.json",
)


def explain(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            show_default=False,
            help="A workflow (*.yaml), a graph in text form (*.pgraph), or the name of a packaged "
            "workflow.",
        ),
    ],
    *,
    level: Optimization = None,
    passes: Passes = None,
    disable: Disable,
    sets: Sets,
    profile: Profile = None,
    assume: Annotated[
        list[str],
        typer.Option(
            "--assume",
            metavar="NAME=N",
            help="A size to predict with: the items of a list, as in --assume documents=46, or "
            "the tokens of a text or of each item, as in --assume question:tokens=30. Repeatable.",
            default_factory=list,
            show_default=False,
        ),
    ],
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="FILE",
            help="A finished run of the same workflow and options, from `teola run … --json`: take "
            "the sizes from it, and show predicted beside measured.",
        ),
    ] = None,
    with_bound: Annotated[
        bool,
        typer.Option(
            "--bound",
            help="Show the least time that any schedule needs, and the share of the possible gain.",
            show_default=False,
        ),
    ] = False,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="PASS", help="Stop after a pass and print the graph."),
    ] = None,
    print_after_all: Annotated[
        bool,
        typer.Option(
            "--print-after-all",
            help="Print the graph after every pass that changed it.",
            show_default=False,
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Write one JSON object with everything.", show_default=False),
    ] = False,
    debug: Debug = False,
) -> None:
    """Show what each pass did to a workflow, and predict one query before and after.

    Nothing is run: times come from profiles (`teola profile` measures your machine's) and from
    sizes that are given, derived or assumed.
    """
    with ending(debug=debug):
        refuse_plan(file)
        graphs = until is not None or print_after_all
        if graphs and not as_json and (assume or run or with_bound):
            raise CommandError(
                "--until and --print-after-all print graphs: --assume, --run and --bound say "
                "nothing there (with --json everything goes together)"
            )
        compiled = read_compilation(
            file, level=level, passes=passes, disable=disable, sets=sets, profile=profile
        )
        if until is not None:
            compiled = stopped_after(compiled, until)
        if graphs and not as_json:
            write_now(after_each(compiled) if print_after_all else graph_text(compiled))
            return
        from teola.runtime.cli.explaining import explained, show, to_json

        found = explained(compiled, assume, run, with_bound=with_bound)
        if as_json:
            write_now(to_json(found, compiled, until=until, every=print_after_all))
        else:
            show(found, file)


def refuse_plan(file: str) -> None:
    """Refuse a plan.

    Raises:
        CommandError: a plan tells what came out, not how.
    """
    if is_plan(file):
        raise CommandError(
            f"{file}: a plan has the graph after all passes, but not the graphs before and between "
            "them: explain the workflow that it was compiled from, with the same options"
        )


def graph_text(compiled: Compilation) -> str:
    """The last graph in text form."""
    from teola.compiler.graph.text import print_graph

    return print_graph(compiled.plan.graph)


def after_each(compiled: Compilation) -> str:
    """The graph after every pass that changed it, each below a comment that names the pass."""
    from teola.compiler.graph.text import print_graph

    parts: list[str] = []
    told = set()
    for step in compiled.steps:
        changed = step.after is not step.before
        if changed or step.by.name not in told:
            note = "" if changed else ": no change"
            parts.append(f"# -----// after {step.by.name}{note} //-----\n")
            parts.append(print_graph(step.after) if changed else "")
        told.add(step.by.name)
    return "".join(parts)
