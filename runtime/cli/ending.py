"""How a command ends: every exception becomes a message on standard error and an exit code."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from teola.compiler.errors import CompileError, PassError, TeolaError
from teola.runtime.cli import INTERRUPTED
from teola.runtime.errors import InputError, UnsupportedError

DONE = 0
FAILED = 1
BAD_INPUT = 2
ROWS_FAILED = 3
BROKEN_PIPE = 141
TERMINATED = 143


class CommandError(TeolaError):
    """What was typed on the command line cannot be used; nothing has run."""


def launch(application: typer.Typer, name: str) -> None:
    """Run a command line application and leave the process with its exit code."""
    _open_streams()
    try:
        application(prog_name=name)
    finally:
        _flush_output()


def _open_streams() -> None:
    """Let closed streams (`>&-`) go nowhere, letters that a terminal lacks be replaced, and
    standard error do without a reader."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115  # open to the end
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  # open to the end
    else:
        told = io.BufferedWriter(_Heedless(sys.stderr.fileno(), "w", closefd=False))
        sys.stderr = io.TextIOWrapper(
            told, sys.stderr.encoding, errors="backslashreplace", line_buffering=True
        )


class _Heedless(io.FileIO):
    """A stream that goes nowhere once its reader has gone: progress is no reason to end a run."""

    def write(self, data: Any, /) -> int:
        """Write; after the first broken pipe into nothing."""
        try:
            return super().write(data)
        except BrokenPipeError:
            _forget(self.fileno())
            return super().write(data)


def _forget(descriptor: int) -> None:
    """Let a descriptor lead nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _flush_output() -> None:
    """Flush standard output; what cannot be written (the reader has gone) goes nowhere."""
    try:
        sys.stdout.flush()
    except OSError:
        _forget(sys.stdout.fileno())


def say(message: str) -> None:
    """Write a line to standard error."""
    typer.echo(message, err=True)


@contextmanager
def ending(*, debug: bool) -> Iterator[None]:
    """Turn whatever a command raises into a message and an exit code.

    Args:
        debug: show the traceback before the message.
    """
    try:
        yield
    except typer.Exit:
        raise
    except BrokenPipeError:  # the reader has gone (`| head`): as quiet as other Unix programs
        raise typer.Exit(BROKEN_PIPE) from None
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:  # noqa: BLE001  # the last frame before the user: nothing passes
        if debug:
            traceback.print_exception(error)
        say(message_of(error, debug=debug))
        raise typer.Exit(code_of(error)) from None


def message_of(error: Exception, *, debug: bool = False) -> str:
    """What to tell the user about an error."""
    if isinstance(error, CompileError) and error.diagnostics:
        return str(error).rstrip("\n")  # they are drawn already
    if isinstance(error, TeolaError):
        return f"error: {error}"
    what = f"internal error: {type(error).__name__}: {error}".rstrip(": ")
    return what if debug else f"{what}\nrun with --debug to see where it comes from"


def code_of(error: Exception) -> int:
    """The exit code of an error: 2 where what was given is at fault, else 1."""
    if isinstance(error, PassError):
        return FAILED
    given = (CommandError, CompileError, InputError, UnsupportedError)
    return BAD_INPUT if isinstance(error, given) else FAILED
