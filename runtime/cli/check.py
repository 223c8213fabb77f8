"""``teola check``: report every problem of workflow files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from teola.runtime.cli.ending import BAD_INPUT, CommandError, ending
from teola.runtime.cli.options import Debug, Sets, examples, one_of
from teola.runtime.cli.terminal import write_now

if TYPE_CHECKING:
    from teola.compiler.diagnostics import Diagnostic

EXAMPLES = examples(
    "teola check rag.yaml",
    "teola check workflows/*.yaml",
    "teola check rag.yaml --set engines.llm.dtype=float32",
    "teola check rag.yaml --format json",
)


class Format(StrEnum):
    """How problems are written."""

    text = "text"
    json = "json"


def check(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Workflow files, or names of packaged workflows."),
    ],
    *,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            metavar="text|json",
            help="For people, or for editors.",
            parser=one_of(Format),
        ),
    ] = Format.text,
    sets: Sets,
    debug: Debug = False,
) -> None:
    """Check workflow files and report every problem found.

    Problems go to standard output. The exit code is 2 where one is an error.
    """
    with ending(debug=debug):
        checked = [(file, check_file(file, sets)) for file in files]
        write = _write_json if form is Format.json else _write_text
        write(checked)
        if any(_errors(problems) for _, problems in checked):
            raise typer.Exit(BAD_INPUT)


def check_file(name: str, sets: Sequence[str]) -> list[Diagnostic]:
    """Return every problem of one workflow file; that it cannot be read is one too.

    Raises:
        CommandError: the file is no workflow file but something compiled.
    """
    from teola.compiler.check import check as check_source
    from teola.compiler.diagnostics import Diagnostic
    from teola.compiler.errors import CompileError
    from teola.compiler.locations import find_workflow
    from teola.compiler.source import Source

    if Path(name).suffix in (".json", ".pgraph"):
        raise CommandError(
            f"{name}: check reads workflow files; `teola compile {name}` checks this one"
        )
    try:
        _, found = check_source(Source.read(find_workflow(name)), sets=sets)
    except CompileError as error:
        what = str(error).removeprefix(f"{name}: ")
        missing = Diagnostic("no-such-file", what, Source(name, "").start())
        return list(error.diagnostics) or [missing]
    return list(found)


def _write_json(checked: Sequence[tuple[str, list[Diagnostic]]]) -> None:
    from teola.compiler.diagnostics import to_json

    found = [entry for _, problems in checked for entry in to_json(problems)]
    write_now(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def _write_text(checked: Sequence[tuple[str, list[Diagnostic]]]) -> None:
    from teola.compiler.diagnostics import render

    for name, problems in checked:
        if problems:
            write_now(f"{render(problems)}\n\n")
        if not _errors(problems):
            write_now(f"{name}: ok\n")
    errors = sum(_errors(problems) for _, problems in checked)
    if errors:
        bad = sum(1 for _, problems in checked if _errors(problems))
        write_now(f"{_count(errors, 'error')} in {_count(bad, 'file')}\n")


def _errors(problems: Sequence[Diagnostic]) -> int:
    return sum(problem.severity == "error" for problem in problems)


def _count(number: int, noun: str) -> str:
    """``1 error``, ``2 errors``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
