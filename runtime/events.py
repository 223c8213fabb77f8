"""What a run tells while it goes on (``Runner.stream``), in the order it happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from teola.runtime.result import RunResult


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """An engine of the pool: ``state`` is fetching, loading, ready or failed; ``fraction`` of a
    fetch, where known."""

    engine: str
    state: str
    fraction: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something about the inputs that the user should know; the run goes on."""

    message: str


@dataclass(frozen=True, slots=True)
class ModuleStarted:
    """The module's first primitive began, ``at_s`` seconds after the query's start."""

    module: str
    at_s: float


@dataclass(frozen=True, slots=True)
class ModuleProgress:
    """``done`` items of a primitive's ``total`` (None: not known yet)."""

    module: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class ModuleFinished:
    """The module's last primitive ended; ``detail`` says if its result was shared."""

    module: str
    at_s: float
    duration_s: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of an output; the deltas of an output add up to its value."""

    output: str
    text: str


@dataclass(frozen=True, slots=True)
class ItemAdded:
    """The next item of a list output."""

    output: str
    index: int
    value: Any


@dataclass(frozen=True, slots=True)
class OutputReady:
    """An output is complete."""

    output: str
    value: Any


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run is complete; always the last event."""

    result: RunResult


Event: TypeAlias = (
    EngineStatus
    | Warned
    | ModuleStarted
    | ModuleProgress
    | ModuleFinished
    | TextDelta
    | ItemAdded
    | OutputReady
    | RunFinished
)

Listener: TypeAlias = Callable[[Event], None]
