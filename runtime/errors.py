"""The runtime's errors.

TeolaError
  RunError                      a run did not give its outputs
    InputError                  an input value is missing, unknown or of the wrong type
    ModelError                  weights or a package are missing; says what to do
    UnsupportedError            the workflow asks for what a backend lacks
    Overloaded                  the pool has no room for another query; says when to come again
    QueryCancelled              the caller cancelled
    DeadlineExceeded            the query's ``deadline:`` passed
    ModuleError                 a module failed: names module, line, engine and cause
      TaskTimeout               a task's ``timeout`` or ``idle_timeout`` passed
      StateLost                 a collection was lost when its engine restarted
      StreamInterrupted         a call broke after part of its text had left
"""

from __future__ import annotations

from dataclasses import dataclass

from teola.compiler.errors import TeolaError


class RunError(TeolaError):
    """A run did not give its outputs."""


class InputError(RunError):
    """An input value is missing, unknown or of the wrong type."""


class ModelError(RunError):
    """Weights or a package are missing."""


class UnsupportedError(RunError):
    """The workflow asks for what a backend lacks."""


class Overloaded(RunError):
    """The pool has no room for another query: come again in ``retry_after_s`` seconds."""

    def __init__(self, running: int, retry_after_s: float) -> None:
        super().__init__(
            f"{running} queries run, as many as the pool takes: "
            f"come again in {retry_after_s:.1f} s (EnginePool(max_queries=…))"
        )
        self.running, self.retry_after_s = running, retry_after_s


class QueryCancelled(RunError):
    """The caller cancelled the query."""


class DeadlineExceeded(RunError):
    """The query's deadline passed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a workflow something happened."""

    workflow: str
    module: str
    line: int
    primitive: str
    engine: str | None = None

    def __str__(self) -> str:
        line = f" (line {self.line})" if self.line else ""
        engine = f" on engine '{self.engine}'" if self.engine else ""
        return f"{self.workflow}: module '{self.module}'{line}, {self.primitive}{engine}"


class ModuleError(RunError):
    """A module failed; ``place`` says where, ``cause`` why. ``kind`` is the error class that
    ``retry.on`` names: item, memory, engine, died or timeout."""

    def __init__(self, place: Place, cause: str, kind: str = "engine") -> None:
        super().__init__(f"{place}: {cause}")
        self.place, self.cause, self.kind = place, cause, kind

    def at(self, place: Place) -> ModuleError:
        """The error as the workflow of ``place`` calls it."""
        return self if place == self.place else type(self)(place, self.cause, self.kind)


class TaskTimeout(ModuleError):
    """A task's clock ran out."""

    def __init__(self, place: Place, cause: str, kind: str = "timeout") -> None:
        super().__init__(place, cause, kind)


class StateLost(ModuleError):
    """A handle is from before its engine restarted."""


class StreamInterrupted(ModuleError):
    """A call broke after part of its text had left; it cannot be repeated silently."""
