"""What all stores of collections do alike."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from teola.runtime.engines.collections.search import add_row
from teola.runtime.engines.collections.version import Change, Mode, Row, in_order
from teola.runtime.engines.protocol import Failure, Request
from teola.runtime.errors import UnsupportedError

UNNAMED = "~"
"""What the names of collections begin with that belong to a run: others do not see them."""


class CollectionStore(ABC):
    """Collections: ingested under a pending version, published in one step.

    Commands: ``publish`` {collection, pending, fingerprint?, documents?, mode?} -> {count}: the
    documents of the pending chunks, and those named, replace what the collection has of them;
    ``discard`` {pending} and ``drop`` {collection} -> whether it was there; ``describe`` {} ->
    {collections: {name: {count, dimension, fingerprint}}, pending: [names]}, or with {collection}
    that one or None.
    """

    def __init__(self) -> None:
        self._pending: dict[str, dict[str, Row]] = {}

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        """See `BatchEngine.run`. Requests that ask the same of different items are one."""
        alike: dict[str, list[int]] = {}
        for number, request in enumerate(batch):
            key = json.dumps([request.operation, dict(request.common)], sort_keys=True)
            alike.setdefault(key, []).append(number)
        results: dict[int, Sequence[Any] | Failure] = {}
        for numbers in alike.values():
            items = [item for number in numbers for item in batch[number].items]
            first = batch[numbers[0]]
            found = await self._answer(Request(first.operation, items, first.common))
            at = 0
            for number in numbers:
                end = at + len(batch[number].items)
                results[number] = found if isinstance(found, Failure) else found[at:end]
                at = end
        return [results[number] for number in range(len(batch))]

    async def _answer(self, request: Request) -> Sequence[Any] | Failure:
        if request.operation == "ingest":
            rows = self._pending.setdefault(request.common["pending"], {})
            return [add_row(rows, chunk, vector) for chunk, vector in request.items]
        if request.operation in ("search", "keyword_search"):
            return await self._search(request)
        return Failure(
            "item", f"a store cannot do {request.operation!r}: ingest, search or keyword_search"
        )

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """See the class.

        Raises:
            RunError: the pending chunks do not go into the collection; it is as it was.
            UnsupportedError: an unknown command.
        """
        if command == "publish":
            return await self._publish(**arguments)
        if command == "discard":
            return self._pending.pop(arguments["pending"], None) is not None
        if command == "drop":
            return await self._drop(arguments["collection"])
        if command == "describe":
            return await self._describe(arguments.get("collection"))
        raise UnsupportedError(
            f"stores know no command {command!r}: publish, discard, drop or describe"
        )

    async def _publish(
        self,
        collection: str,
        pending: str,
        fingerprint: str | None = None,
        documents: Sequence[str] = (),
        mode: Mode = "dense",
    ) -> dict[str, Any]:
        rows = in_order(self._pending.get(pending, {}).values())
        count = await self._bring(collection, Change(rows, documents, fingerprint, mode))
        self._pending.pop(pending, None)
        return {"count": count}

    @abstractmethod
    async def _search(self, request: Request) -> Sequence[Any] | Failure:
        """What each item finds."""

    @abstractmethod
    async def _bring(self, name: str, change: Change) -> int:
        """Publish a change; return how many chunks the collection has then."""

    @abstractmethod
    async def _drop(self, name: str) -> bool: ...

    @abstractmethod
    async def _describe(self, name: str | None) -> Any: ...
