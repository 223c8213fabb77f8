"""``teola compile``: turn a workflow into a plan, or show its primitive graph."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from teola.runtime.cli.ending import ending, say
from teola.runtime.cli.options import Debug, File, Optimization, Sets, examples
from teola.runtime.cli.sources import read_plan, write_file

if TYPE_CHECKING:
    from teola.compiler.plan import Plan

EXAMPLES = examples(
    "teola compile rag.yaml -o rag.plan.json",
    "teola compile rag.yaml --emit text",
    "teola compile rag.yaml -O0 --emit dot -o rag.dot",
    "teola compile graph.pgraph -p prune-order,remove-dead --emit text",
)


class Emit(StrEnum):
    """What a compilation gives."""

    plan = "plan"
    text = "text"
    dot = "dot"


ENDINGS = {".pgraph": Emit.text, ".txt": Emit.text, ".dot": Emit.dot, ".gv": Emit.dot}
"""File endings that say what to emit; any other is a plan."""


def compile_file(
    file: File,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Where to write; standard output without it."
        ),
    ] = None,
    emit: Annotated[
        Emit | None,
        typer.Option(
            "--emit",
            metavar="plan|text|dot",
            help="What to write. Default: what the ending of -o says (.pgraph, .dot), else plan.",
        ),
    ] = None,
    level: Optimization = None,
    passes: Annotated[
        str | None,
        typer.Option(
            "-p",
            "--passes",
            metavar="LIST",
            help="Run exactly these passes, comma-separated, instead of those of -O.",
        ),
    ] = None,
    sets: Sets,
    debug: Debug = False,
) -> None:
    """Compile a workflow to a plan: one portable file that `teola run` takes."""
    with ending(debug=debug):
        plan = read_plan(file, level=level, passes=passes, sets=sets)
        text = _emitted(plan, emit or _by_ending(output), output)
        if output is None:
            sys.stdout.write(text)
        else:
            write_file(output, text)
            say(f"wrote {output}: {_summary(plan)}")


def _by_ending(output: Path | None) -> Emit:
    return Emit.plan if output is None else ENDINGS.get(output.suffix, Emit.plan)


def _emitted(plan: Plan, emit: Emit, output: Path | None) -> str:
    if emit is Emit.text:
        from teola.compiler.graph.text import print_graph

        return print_graph(plan.graph)
    if emit is Emit.dot:
        from teola.compiler.draw import draw

        return draw(plan.graph, "dot")
    return plan.to_json(output.resolve().parent if output else None)


def _summary(plan: Plan) -> str:
    modules = len({node.module for node in plan.graph.nodes})
    changed = [report.name for report in plan.reports if report.changed]
    rewrites = f", rewritten by {', '.join(changed)}" if changed else ""
    return f"{modules} modules, {len(plan.graph.nodes)} primitives (-{plan.level}{rewrites})"
