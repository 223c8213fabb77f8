"""``teola profile``: measure what operations cost on a workflow's engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from teola.runtime.cli.ending import FAILED, CommandError, ending, say
from teola.runtime.cli.options import Debug, File, Quiet, Sets, examples
from teola.runtime.cli.sources import read_plan, write_file

EXAMPLES = examples(
    "teola profile rag.yaml -o profile.json",
    "teola profile rag.yaml --engine llm --quick",
    "teola profile rag.yaml --set engines.llm.dtype=float32 -o profile.json",
)


def profile(
    file: File,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The profile (JSON); without it only a table."
        ),
    ] = None,
    engines: Annotated[
        list[str],
        typer.Option(
            "--engine",
            metavar="NAME",
            help="Measure this engine only. Repeatable.",
            default_factory=list,
            show_default=False,
        ),
    ],
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Seconds instead of minutes: fewer sizes, fewer repetitions.",
            show_default=False,
        ),
    ] = False,
    sets: Sets,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Write one JSON object instead of the table: profile, fits, unmeasured.",
            show_default=False,
        ),
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure how long a workflow's engines take for batches of every size.

    Each engine is started and measured alone. Close other programs: what they take shows in the
    figures. Exit codes: 0 done, 1 something could not be measured, 2 bad input.
    """
    with ending(debug=debug):
        plan = read_plan(file, sets=sets)
        _check_output(file, output)
        from teola.runtime.cli.profiling import measure_plan, show
        from teola.runtime.profiling import to_json

        found = measure_plan(plan, engines, quick=quick, quiet=quiet)
        if output is not None and found.measured:
            write_file(output, to_json(found.file()))
            say(f"wrote {output}: {len(found.measured)} operations")
        show(found, as_json=as_json)
        if found.unmeasured:
            raise typer.Exit(FAILED)


def _check_output(file: str, output: Path | None) -> None:
    """Refuse now what would fail after minutes."""
    if output is None:
        return
    if not output.resolve().parent.is_dir():
        raise CommandError(f"-o {output}: there is no folder {output.parent}")
    if output.exists() and Path(file).exists() and output.samefile(file):
        raise CommandError(f"-o {output}: would overwrite what is measured")
