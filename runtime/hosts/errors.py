"""What goes wrong between a caller and an engine's home.

RunError
  HostError               the engine cannot be reached: not started, closed, or broken
    EngineStartError      it could not start: why, and its process's last lines
    EngineDied            it ended on its own; calls in flight get this
    EngineCallError       a call raised an error that cannot cross: its type and text
"""

from __future__ import annotations

from collections.abc import Sequence

from teola.runtime.errors import RunError

SHOWN_LINES = 8


class HostError(RunError):
    """The engine cannot be reached: ``reason``, and the last lines its process wrote."""

    def __init__(self, reason: str, output: Sequence[str] = ()) -> None:
        super().__init__(reason, tuple(output))
        self.reason, self.output = reason, tuple(output)

    def __str__(self) -> str:
        if not self.output:
            return self.reason
        lines = "".join(f"\n    {line}" for line in self.output[-SHOWN_LINES:])
        return f"{self.reason}; its last lines:{lines}"


class EngineStartError(HostError):
    """The engine could not start."""


class EngineDied(HostError):
    """The engine ended on its own; calls in flight get this."""


class EngineCallError(HostError):
    """A call raised an error that cannot cross to the caller."""
