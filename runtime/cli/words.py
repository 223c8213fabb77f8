"""Words on the command line of ``run`` that are no options: most often an input's name."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from teola.compiler.errors import TeolaError
from teola.runtime.cli.ending import CommandError
from teola.runtime.cli.sources import read_plan

if TYPE_CHECKING:
    import typer


def refuse_words(context: typer.Context, file: str) -> NoReturn:
    """Say what the words that are left over should have been.

    Raises:
        CommandError: always.
    """
    from teola.compiler.diagnostics import nearest

    words = [file, *context.args]
    inputs = _inputs(words)
    word, *rest = words if file.startswith("-") else context.args
    if not word.startswith("-"):
        how = " ".join(f"-i {name}=…" for name in inputs)
        raise CommandError(f"one file at a time: what is {word!r} for? Inputs are given as {how}")
    option, equals, value = word.partition("=")
    name = option.lstrip("-").replace("-", "_")
    if name in inputs:
        value = value if equals else next(iter(rest), "…")
        raise CommandError(
            f"there is no option {option}; write the input as -i {name}={shlex.quote(value)}"
        )
    options = [name for parameter in context.command.params for name in parameter.opts]
    near = nearest(option, options) if option.startswith("--") else None
    raise CommandError(f"there is no option {option}" + (f"; did you mean {near}?" if near else ""))


def _inputs(words: Sequence[str]) -> list[str]:
    """The names of the inputs of the workflow among ``words``, if one can be read."""
    for word in words:
        if not word.startswith("-"):
            with suppress(TeolaError):
                return [port.name for port in read_plan(word).graph.inputs]
    return []
