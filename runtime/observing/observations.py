"""What a pool tells its observers while it works. Times are seconds on the loop's clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from teola.runtime.engines.protocol import Figure
    from teola.runtime.errors import RunError
    from teola.runtime.result import TimelineEntry

Outcome: TypeAlias = Literal["done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """An engine of the pool; its ``name`` is unique there. Work is told with the number of the
    ``replica`` that does it."""

    name: str
    kind: str
    backend: str
    model: str | None = None
    replica: int = 1


@dataclass(frozen=True, slots=True)
class EngineReady:
    """An engine takes work; it began to start, or to start again, at ``began_s``."""

    engine: EngineFacts
    began_s: float
    ready_s: float


@dataclass(frozen=True, slots=True)
class PrimitiveKey:
    """One instance of a primitive: of the query with this ``run_id``, in a region's ``path``."""

    run_id: str
    primitive: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QueryBegan:
    """A query was accepted; ``label`` is what its caller calls it (``observing.label``)."""

    run_id: str
    workflow: str
    at_s: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class QueryRefused:
    """The pool had no room for a query."""

    workflow: str
    at_s: float


@dataclass(frozen=True, slots=True)
class QueryEnded:
    """A query has its outputs, or an error."""

    run_id: str
    workflow: str
    began_s: float
    ended_s: float
    error: RunError | None = None


@dataclass(frozen=True, slots=True)
class PrimitiveBegan:
    """A primitive of a query has something to do; one that is shared began for each query."""

    key: PrimitiveKey
    module: str
    engine: str | None
    at_s: float


@dataclass(frozen=True, slots=True)
class PrimitiveEnded:
    """A primitive of a query is over. The times of ``entry`` count from ``query_began_s``."""

    key: PrimitiveKey
    entry: TimelineEntry
    query_began_s: float
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Part:
    """Items of one task in a batch, for one primitive (of several queries, where it is shared)."""

    keys: tuple[PrimitiveKey, ...]
    items: int
    queued_s: float


@dataclass(frozen=True, slots=True)
class BatchEnded:
    """An engine has done a batch, told before its results are delivered. ``failure`` is the first
    one's kind."""

    engine: EngineFacts
    operation: str
    began_s: float
    ended_s: float
    parts: tuple[Part, ...]
    failure: str | None = None

    @property
    def items(self) -> int:
        """Of all tasks."""
        return sum(part.items for part in self.parts)


@dataclass(frozen=True, slots=True)
class CallEnded:
    """An LLM has done a call, or a warm-up (``warm``).

    Of its ``prompt_tokens`` so many were ``cached_tokens``: what the engine says, else our own
    account of what it keeps. ``first_token_s`` is missing where it gave none, ``finish_reason``
    where it failed (``failure``: its kind) or was aborted. ``waited_s`` of the time since it was
    sent it waited in the engine, where that tells.
    """

    engine: EngineFacts
    keys: tuple[PrimitiveKey, ...]
    warm: bool
    queued_s: float
    sent_s: float
    first_token_s: float | None
    ended_s: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    finish_reason: str | None = None
    failure: str | None = None
    waited_s: float | None = None


@dataclass(frozen=True, slots=True)
class FiguresTold:
    """What an engine tells of itself: ``values`` by name, and ``about`` them (``Capabilities``)."""

    engine: EngineFacts
    at_s: float
    values: Mapping[str, float]
    about: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Load:
    """What waits before an engine and runs on it now, in tasks; ``kv_tokens`` are those of the
    calls that run."""

    engine: EngineFacts
    at_s: float
    waiting: int
    running: int
    kv_tokens: int | None = None


Observation: TypeAlias = (
    EngineReady
    | QueryBegan
    | QueryRefused
    | QueryEnded
    | PrimitiveBegan
    | PrimitiveEnded
    | BatchEnded
    | CallEnded
    | FiguresTold
    | Load
)
