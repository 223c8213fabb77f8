"""The error of a batch as a whole; those of its rows are recorded beside their rows."""

from __future__ import annotations

from teola.runtime.errors import InputError, RunError


class BatchError(RunError):
    """A batch cannot go on; the rows it has finished are kept."""


class BatchInputError(InputError):
    """Questions and answers that cannot be used together, or at all; nothing has run."""
