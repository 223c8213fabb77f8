"""``teola viz``: draw a workflow."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from teola.runtime.cli.ending import CommandError, ending, say
from teola.runtime.cli.options import Debug, File, Optimization, Sets, examples, one_of
from teola.runtime.cli.sources import read_plan, write_file
from teola.runtime.cli.terminal import write_now

EXAMPLES = examples(
    "teola viz rag.yaml",
    "teola viz rag.yaml --level pgraph -O0",
    "teola viz rag.yaml --level pgraph -o rag.svg",
)


class View(StrEnum):
    """What is drawn."""

    module = "module"
    pgraph = "pgraph"


ENDINGS = {".txt": "text", ".dot": "dot", ".gv": "dot", ".svg": "svg"}
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
            help="Where to draw, the format by its ending: .txt, .dot, or .svg (needs Graphviz). "
            "Without it, text on standard output.",
        ),
    ] = None,
    view: Annotated[
        View,
        typer.Option(
            "--level",
            metavar="module|pgraph",
            help="The modules, or their primitives.",
            parser=one_of(View),
        ),
    ] = View.module,
    level: Optimization = None,
    sets: Sets,
    debug: Debug = False,
) -> None:
    """Draw the modules of a workflow, or the primitives it compiles to."""
    with ending(debug=debug):
        form = _format(output)
        from teola.compiler.draw import draw

        drawn = draw(read_plan(file, level=level, sets=sets).graph, form, view.value)
        if output is None:
            write_now(drawn)
        else:
            write_file(output, drawn)
            say(f"wrote {output}")


def _format(output: Path | None) -> str:
    if output is None:
        return "text"
    form = ENDINGS.get(output.suffix.lower())
    if form is None:
        what = f"ends in {output.suffix!r}" if output.suffix else "has no ending"
        raise CommandError(f"-o {output} {what}; it can end in {', '.join(ENDINGS)}")
    return form
