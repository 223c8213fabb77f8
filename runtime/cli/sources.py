"""What a command reads: a workflow, a plan or a graph in text form becomes a plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from teola.runtime.cli.ending import CommandError

if TYPE_CHECKING:
    from teola.compiler.api import Compilation
    from teola.compiler.plan import Plan


class Wishes(TypedDict, total=False):
    """What a command line says about compiling: see the options of the same names."""

    level: str | None
    passes: str | None
    disable: Sequence[str]
    sets: Sequence[str]
    profile: Path | None


def read_plan(name: str, **wishes: Unpack[Wishes]) -> Plan:
    """Compile or load what ``name`` means.

    Raises:
        CommandError: options of a compilation for a plan, which is compiled already.
        CompileError: the file is missing or not valid.
    """
    return read_compilation(name, **wishes).plan


def read_compilation(name: str, **wishes: Unpack[Wishes]) -> Compilation:
    """As ``read_plan``, with every step of the compilation.

    Raises:
        CommandError: as ``read_plan``.
        CompileError: as ``read_plan``.
    """
    from teola.compiler.api import DEFAULT_LEVEL, compilation
    from teola.compiler.passes.pipeline import parse_pipeline

    if is_plan(name) and any(value for key, value in wishes.items() if key != "sets"):
        raise CommandError(
            f"{name}: a plan is compiled already: give -O, -p, --disable and --profile when "
            "compiling it"
        )
    level, passes = wishes.get("level"), wishes.get("passes")
    return compilation(
        name,
        level=DEFAULT_LEVEL if level is None else f"O{level}",
        passes=None if passes is None else parse_pipeline(passes),
        disable=wishes.get("disable", ()),
        sets=wishes.get("sets", ()),
        profile=wishes.get("profile"),
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


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file that the user asked for.

    Raises:
        CommandError: it cannot be written.
    """
    try:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise CommandError(f"{path}: cannot be written: {error.strerror or error}") from error
