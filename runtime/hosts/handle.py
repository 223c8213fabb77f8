"""What a caller holds of an engine, wherever it lives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from teola.runtime.engines.protocol import BatchEngine, Capabilities, LLMEngine
from teola.runtime.hosts.errors import EngineDied

OnStatus = Callable[[str, float | None, str], None]
"""Takes the state (waiting, fetching, converting, loading, ready, failed), the done fraction 0 to 1
or None, and a detail; called on the caller's event loop."""


def ignore_status(_state: str, _fraction: float | None, _detail: str) -> None:
    """Tell nobody."""


class EngineHandle(BatchEngine, LLMEngine, Protocol):
    """An engine of any kind, through its host; a method the engine lacks is an `EngineCallError`.

    Calls in flight when the engine dies, and calls after it, raise `EngineDied`; so does every call
    until `restart`. After ``close`` they raise `HostError`.
    """

    @property
    def epoch(self) -> int:
        """Counts starts: state from another epoch is lost. 0 until a restart."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What ``start`` returned."""
        ...

    @property
    def died(self) -> asyncio.Future[EngineDied]:
        """Done, with the error as its result, when this epoch's engine has ended on its own."""
        ...

    async def restart(self) -> Capabilities:
        """Start a new engine with the next epoch; a living one is closed first."""
        ...
