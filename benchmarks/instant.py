"""Engines that answer at once, so that what is left is the scheduler's own cost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from teola.runtime.engines.protocol import Capabilities, Emit, Generate, Request, TokenEvent

TEXT = tuple(b"one line\nanother line\na third line\n")


class InstantHandle:
    """Any engine: embeddings are one number, scores are equal, a search finds the same passages,
    an LLM answers with three lines in one event."""

    epoch = 0
    capabilities = Capabilities(
        max_items=64, limit=256, context=1 << 20, kv_tokens=1 << 40, max_requests=1 << 20
    )

    def __init__(self) -> None:
        self.died: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.emit: Emit = lambda _: None
        self.events: list[TokenEvent] = []

    async def start(self) -> Capabilities:
        """Ready."""
        return self.capabilities

    async def restart(self) -> Capabilities:
        """Ready."""
        return self.capabilities

    async def close(self) -> None:
        """Nothing to let go."""
        self.died.cancel()

    async def run(self, batch: Sequence[Request]) -> list[list[Any]]:
        """Answer without work."""
        return [self._answer(request) for request in batch]

    def _answer(self, request: Request) -> list[Any]:
        count = len(request.items)
        if request.operation == "search":
            passage = {"document": "d", "text": "passage", "score": 1.0}
            hits = [{"id": f"p{i}", **passage} for i in range(4)]
            return [hits] * count
        return [0.0] * count

    async def control(self, command: str, arguments: Mapping[str, Any]) -> None:
        """Done."""

    def listen(self, emit: Emit) -> None:
        """Where token events go."""
        self.emit = emit

    async def submit(self, requests: Sequence[Generate]) -> None:
        """Answer in one event a call."""
        self.emit([TokenEvent(request.id, TEXT, "stop") for request in requests])

    async def abort(self, ids: Sequence[str]) -> None:
        """Nothing runs."""
