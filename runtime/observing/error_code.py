"""Errors by few, fixed names: what metrics and spans call them."""

from __future__ import annotations

from teola.runtime.errors import (
    DeadlineExceeded,
    InputError,
    ModelError,
    ModuleError,
    Overloaded,
    QueryCancelled,
    RunError,
)

CODES: tuple[tuple[type[RunError], str], ...] = (
    (InputError, "input"),
    (ModelError, "model"),
    (Overloaded, "overloaded"),
    (DeadlineExceeded, "deadline"),
    (QueryCancelled, "cancelled"),
    (RunError, "run"),
)
"""Errors of a whole query -> their codes."""


def error_code(error: RunError) -> str:
    """A module's error is its class for ``retry.on`` (item, engine, …)."""
    if isinstance(error, ModuleError):
        return error.kind
    return next(code for kind, code in CODES if isinstance(error, kind))
