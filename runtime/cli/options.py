"""The options that several commands share, and how a command shows examples."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        show_default=False,
        help="A workflow (*.yaml), a plan (*.plan.json), a graph in text form (*.pgraph), "
        "or the name of a packaged workflow.",
    ),
]
Sets = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Replace a constant of the workflow, as in --set engines.llm.dtype=float32. "
        "Repeatable.",
        default_factory=list,
        show_default=False,
    ),
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", show_default=False)
]
Quiet = Annotated[
    bool,
    typer.Option(
        "-q",
        "--quiet",
        help="No progress: only what was asked for, warnings and errors.",
        show_default=False,
    ),
]


Optimization = Annotated[
    str | None,
    typer.Option(
        "-O",
        metavar="0|1|2",
        help="-O0: the chain of modules as written. -O1: independent work in parallel, equal work "
        "once. -O2 (default): and long lists, decoded items and prompts flow in parts.",
        show_default=False,
    ),
]


Passes = Annotated[
    str | None,
    typer.Option(
        "-p",
        "--passes",
        metavar="LIST",
        help="Run exactly these passes, comma-separated, instead of those of -O.",
    ),
]
Disable = Annotated[
    list[str],
    typer.Option(
        "--disable",
        metavar="PASS",
        help="Leave out a pass of -O or -p. Repeatable.",
        default_factory=list,
        show_default=False,
    ),
]
Profile = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        metavar="FILE",
        help="What the engines cost, as `teola profile` has measured it.",
    ),
]


BatchFile = Annotated[
    str | None,
    typer.Option(
        "--batch",
        metavar="FILE",
        help="Run once for each line of a file: JSON objects of inputs, and an id if you like. "
        "- is standard input. -i gives inputs that all rows share.",
        show_default=False,
    ),
]
Answers = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Where --batch writes a JSON object for each row, as rows end. A file that is there "
        "is gone on with. - is standard output.",
        show_default=False,
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        metavar="N",
        min=1,
        help="Rows of --batch that run at once. Default: 64.",
        show_default=False,
    ),
]
IgnoreExtra = Annotated[
    bool,
    typer.Option(
        "--ignore-extra",
        help="Leave out what rows of --batch have besides inputs and id; else it is their error.",
        show_default=False,
    ),
]
RetryErrors = Annotated[
    bool,
    typer.Option(
        "--retry-errors", help="Make rows of --out that failed again.", show_default=False
    ),
]
AcceptChanges = Annotated[
    bool,
    typer.Option(
        "--accept-changes",
        help="Keep the answers in --out although workflow, inputs or rows have changed since.",
        show_default=False,
    ),
]


Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        metavar="N",
        help="What calls above temperature 0 draw with: runs of equal seeds are equal. Default: 0.",
        show_default=False,
    ),
]
ShowTimeline = Annotated[
    bool,
    typer.Option(
        "--timeline",
        help="Draw when each step waited and worked, and what was predicted, on standard error.",
        show_default=False,
    ),
]
Trace = Annotated[
    Path | None,
    typer.Option(
        "--trace",
        metavar="FILE",
        help="Write a trace that opens on ui.perfetto.dev: modules, batches, engines.",
        show_default=False,
    ),
]


Word = TypeVar("Word", bound=StrEnum)


def one_of(words: type[Word]) -> Callable[[str], Word]:
    """The reader of an option whose value is one of some words."""

    def read(text: str) -> Word:
        if text not in list(words):
            raise typer.BadParameter(f"there is no {text!r}; there are: {', '.join(words)}")
        return words(text)

    return read


def examples(*commands: str) -> str:
    """The text below a command's options."""
    # A backspace tells the help formatter to keep these lines as they are.
    return "\n".join(["\b", "Examples:", *(f"  {command}" for command in commands)])
