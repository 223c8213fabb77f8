"""What a caller's side and an engine's side tell each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from teola.runtime.engines.protocol import TokenEvent

# Caller to engine.


@dataclass(frozen=True, slots=True)
class Call:
    """Call ``method`` of the engine; ``start`` makes it first."""

    number: int
    method: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Cancel:
    """The caller no longer waits for this call."""

    number: int


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message to a process: the engine to make, its ``folder`` for temporary files, the
    paths to import it from, and the cores to run on (None: all)."""

    factory: str
    config: Mapping[str, Any]
    folder: str
    paths: tuple[str, ...] = ()
    cores: tuple[int, ...] | None = None


# Engine to caller.


@dataclass(frozen=True, slots=True)
class Result:
    """What a call returned."""

    number: int
    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """What a call raised."""

    number: int
    error: Exception


@dataclass(frozen=True, slots=True)
class Events:
    """The token events of one engine step."""

    events: Sequence[TokenEvent]


@dataclass(frozen=True, slots=True)
class Died:
    """The engine says that it cannot go on."""

    reason: str


Order = Call | Cancel
Report = Result | Raised | Events | Died
