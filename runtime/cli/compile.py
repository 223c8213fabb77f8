"""``teola compile``: turn a workflow into a plan, or show its primitive graph."""

from __future__ import annotations

from enum import StrEnum
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
from teola.runtime.cli.sources import read_plan, write_file
from teola.runtime.cli.terminal import write_now

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


ENDINGS = {
    ".json": Emit.plan,
    ".pgraph": Emit.text,
    ".txt": Emit.text,
    ".dot": Emit.dot,
    ".gv": Emit.dot,
}
"""File ending -> what to emit."""


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
            parser=one_of(Emit),
            help="What to write. Default: by the ending of -o (.json, .pgraph, .dot), else a plan.",
        ),
    ] = None,
    level: Optimization = None,
    passes: Passes = None,
    disable: Disable,
    profile: Profile = None,
    sets: Sets,
    debug: Debug = False,
) -> None:
    """Compile a workflow to a plan, one portable file.

    `teola run` takes a plan as it takes a workflow.
    """
    with ending(debug=debug):
        emit = emit or _by_ending(output)
        _keep_source(file, output)
        plan = read_plan(
            file, level=level, passes=passes, disable=disable, sets=sets, profile=profile
        )
        text = _emitted(plan, emit, output)
        if output is None:
            write_now(text)
        else:
            write_file(output, text)
            say(f"wrote {output}: {_summary(plan)}")


def _by_ending(output: Path | None) -> Emit:
    if output is None:
        return Emit.plan
    if output.suffix not in ENDINGS:
        raise CommandError(
            f"-o {output}: give --emit, or one of the endings {', '.join(ENDINGS)} "
            "(pictures are drawn by `teola viz`)"
        )
    return ENDINGS[output.suffix]


def _keep_source(file: str, output: Path | None) -> None:
    if output is not None and output.exists() and Path(file).exists() and output.samefile(file):
        raise CommandError(f"-o {output}: would overwrite what is compiled")


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
    return f"{modules} modules, {len(plan.graph.nodes)} primitives ({plan.options}{rewrites})"
