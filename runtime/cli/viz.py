"""``teola viz``: draw a workflow."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from teola.runtime.cli.ending import CommandError, ending, say
from teola.runtime.cli.options import (
    Debug,
    Disable,
    File,
    Optimization,
    Passes,
    Profile,
    Sets,
    examples,
    one_of,
)
from teola.runtime.cli.sources import is_plan, read_compilation, write_file
from teola.runtime.cli.terminal import write_now
from teola.runtime.cli.until import stopped_after

if TYPE_CHECKING:
    from teola.compiler.api import Compilation
    from teola.compiler.cost.sizes import Sizes
    from teola.compiler.graph.pgraph import PGraph

EXAMPLES = examples(
    "teola viz rag.yaml -o rag.html",
    "teola viz rag.yaml",
    "teola viz rag.yaml --level pgraph --changes",
    "teola viz rag.yaml --level pgraph --until prune-order -o rag.svg",
    "teola run rag.yaml --json > run.json; teola viz rag.yaml --run run.json -o rag.html",
)

HTML = "html"


class View(StrEnum):
    """What is drawn."""

    module = "module"
    pgraph = "pgraph"
    egraph = "egraph"


ENDINGS = {
    ".html": HTML,
    ".htm": HTML,
    ".txt": "text",
    ".dot": "dot",
    ".gv": "dot",
    ".svg": "svg",
    ".png": "png",
}
"""File ending -> drawing format."""


def viz(
    file: File,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where to draw, the format by its ending: .html (one page with everything: "
            "modules, primitives before and after, what each pass changed, one query over time), "
            ".txt, .dot, .svg or .png (these two need Graphviz). Without it, text on standard "
            "output.",
        ),
    ] = None,
    view: Annotated[
        View | None,
        typer.Option(
            "--level",
            metavar="module|pgraph|egraph",
            help="The modules (default), their primitives, or the tasks of one query. An .html "
            "page has all of them.",
            parser=one_of(View),
        ),
    ] = None,
    level: Optimization = None,
    passes: Passes = None,
    disable: Disable,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="PASS", help="Draw what there is after this pass."),
    ] = None,
    changes: Annotated[
        bool,
        typer.Option(
            "--changes",
            help="Mark what the passes changed; with --until, what that pass changed.",
        ),
    ] = False,
    assume: Annotated[
        list[str],
        typer.Option(
            "--assume",
            metavar="NAME=N",
            help="A size of the query that is drawn, as in --assume documents=46. Repeatable.",
            default_factory=list,
            show_default=False,
        ),
    ],
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="FILE",
            help="A finished run of the same workflow and options, from `teola run … --json`: the "
            "query that is drawn has its sizes, but for those of --assume.",
        ),
    ] = None,
    profile: Profile = None,
    sets: Sets,
    debug: Debug = False,
) -> None:
    """Draw the modules of a workflow, the primitives it compiles to, or all of it as a page."""
    with ending(debug=debug):
        form = _format(output)
        if form == HTML and (view or changes):
            raise CommandError(f"-o {output}: a page has every level and all changes")
        if (assume or run) and form != HTML and view is not View.egraph:
            raise CommandError(
                f"{'--assume' if assume else '--run'} says how one query is unrolled: draw "
                "--level egraph or .html"
            )
        if changes and is_plan(file):
            raise CommandError(
                f"{file}: a plan does not tell what passes changed: draw its workflow"
            )
        compiled = read_compilation(
            file, level=level, passes=passes, disable=disable, sets=sets, profile=profile
        )
        sizes = _sizes(compiled, assume, run)
        before = compiled.source if changes else None
        if until is not None:
            compiled = stopped_after(compiled, until)
            before = compiled.steps[-1].before if changes else None
        drawn = _draw(compiled, form, view or View.module, sizes, before)
        if output is not None:
            write_file(output, drawn)
            say(f"wrote {output}")
        elif isinstance(drawn, str):
            write_now(drawn)


def _sizes(compiled: Compilation, assume: Sequence[str], run: Path | None) -> Sizes:
    """The sizes of a run, and before them those that were typed."""
    from teola.compiler.cost.sizes import parse_sizes
    from teola.compiler.explain import read_run

    given = parse_sizes(assume, compiled.source)
    return read_run(run, compiled).sizes.updated(given) if run is not None else given


def _draw(
    compiled: Compilation, form: str, view: View, sizes: Sizes, before: PGraph | None
) -> str | bytes:
    """A page, or one picture, marked by what is not as in ``before``."""
    if form == HTML:
        from teola.compiler.draw.page import draw_page

        return draw_page(compiled, sizes)
    from teola.compiler.draw import Level, draw
    from teola.compiler.draw.tasks import task_view

    level: Level = view.value
    if view is View.egraph:
        level = partial(task_view, sizes=sizes, profiles=compiled.context.profiles)
    return draw(compiled.plan.graph, form, level, before)


def _format(output: Path | None) -> str:
    if output is None:
        return "text"
    form = ENDINGS.get(output.suffix.lower())
    if form is None:
        what = f"ends in {output.suffix!r}" if output.suffix else "has no ending"
        raise CommandError(f"-o {output} {what}; it can end in {', '.join(ENDINGS)}")
    return form
