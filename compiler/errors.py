"""The compiler's errors.

TeolaError                    everything Teola raises on purpose
  CompileError                the workflow, graph or plan is not valid (carries diagnostics)
    GraphError                a p-graph breaks a rule of the operation table
      PassError               a pass broke the graph or did not settle; names the pass
    PlanError                 a plan file cannot be read, is damaged or too new
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teola.compiler.diagnostics import Diagnostic


class TeolaError(Exception):
    """Everything Teola raises on purpose; its message is written for the user."""


class CompileError(TeolaError):
    """The workflow cannot be compiled; ``diagnostics`` holds every problem found."""

    def __init__(self, message: str, diagnostics: Sequence[Diagnostic] = ()) -> None:
        super().__init__(message)
        self.diagnostics = tuple(diagnostics)


class GraphError(CompileError):
    """A p-graph breaks a rule of the operation table.

    ``problems`` are the rules broken, each as ``%node: what``, ``output NAME: what`` or a cycle.
    """

    def __init__(
        self,
        message: str,
        diagnostics: Sequence[Diagnostic] = (),
        *,
        problems: Sequence[str] = (),
    ) -> None:
        super().__init__(message, diagnostics)
        self.problems = tuple(problems)


class PassError(GraphError):
    """A pass broke the graph or did not settle; the message names the pass."""


class PlanError(CompileError):
    """A plan file cannot be read, is damaged, or was written by a newer Teola."""
