"""What a command reads: a workflow, a plan or a graph in text form becomes a plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from teola.runtime.cli.ending import CommandError

if TYPE_CHECKING:
    from teola.compiler.plan import Plan


def read_plan(
    name: str, *, level: str | None = None, passes: str | None = None, sets: Sequence[str] = ()
) -> Plan:
    """Compile or load what ``name`` means.

    Raises:
        CommandError: a level or passes for a plan, which is compiled already.
        CompileError: the file is missing or not valid.
    """
    from teola.compiler.api import DEFAULT_LEVEL, compile_workflow
    from teola.compiler.passes.pipeline import parse_pipeline

    if is_plan(name) and (level is not None or passes is not None):
        raise CommandError(f"{name}: a plan is compiled already: give -O and -p when compiling it")
    return compile_workflow(
        name,
        level=DEFAULT_LEVEL if level is None else f"O{level}",
        passes=None if passes is None else parse_pipeline(passes),
        sets=sets,
    )


def is_plan(name: str) -> bool:
    """Whether the file is a compiled plan, by its ending."""
    return Path(name).suffix == ".json"


def refuse_unknown(models: Sequence[str], others: Sequence[str] = ()) -> None:
    """Refuse names that are no models; ``others`` are names that may have been meant too.

    Raises:
        CommandError: names the first, what it may have meant, and what there is.
    """
    from teola.compiler.diagnostics import nearest
    from teola.runtime.models import list_models

    known = [info.name for info in list_models()]
    for name in models:
        if name not in known:
            near = nearest(name, [*known, *others])
            hint = f"; did you mean {near!r}?" if near else ""
            raise CommandError(
                f"there is no model {name!r}; `teola models list` knows {', '.join(known)}{hint}"
            )


def write_file(path: Path, text: str) -> None:
    """Write a file that the user asked for.

    Raises:
        CommandError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path}: cannot be written: {error.strerror or error}") from error
