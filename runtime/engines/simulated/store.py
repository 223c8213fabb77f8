"""A simulated store: it remembers how much it holds, and finds passages that it makes up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from teola.runtime.engines.protocol import Failure, Request
from teola.runtime.engines.simulated.base import SimulatedBatchEngine, number
from teola.runtime.engines.tokenizer.estimate import CHARACTERS


class SimulatedStore(SimulatedBatchEngine):
    """Every search finds ``top_k`` passages of its own, so that what several queries find has as
    many different passages as can be: the case that estimates assume, too. But the first
    ``common_passages`` are those that all searches of the collection find."""

    operations = ("ingest", "search", "keyword_search")

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self._rest = "x" * (CHARACTERS * int(config.get("passage_tokens", 256)))
        self._common = int(config.get("common_passages", 0))
        self._pending: dict[str, int] = {}
        self._held: dict[str, int] = {}

    def tokens(self, item: Any) -> int:
        """Of a chunk with its vector, a vector alone, or a text."""
        if isinstance(item, str):
            return super().tokens(item)
        return super().tokens(item[0]["text"]) if isinstance(item[0], Mapping) else 1

    def results(self, request: Request) -> Sequence[Any] | Failure:
        if request.operation == "ingest":
            name = request.common["pending"]
            self._pending[name] = self._pending.get(name, 0) + len(request.items)
            return [None] * len(request.items)
        name, top_k = request.common["collection"], request.common["top_k"]
        if name not in self._held:
            return Failure("item", f"there is no collection {name!r}")
        return [self._found(name, _own(query), top_k) for query in request.items]

    def _found(self, name: str, own: str, top_k: int) -> list[dict[str, Any]]:
        whose = [name] * self._common + [own] * top_k
        return [self._passage(f"{whose[rank - 1]}.{rank}", rank) for rank in range(1, top_k + 1)]

    def _passage(self, name: str, rank: int) -> dict[str, Any]:
        return {
            "id": name,
            "text": f"{name} {self._rest[len(name) + 1 :]}",
            "document": "simulated",
            "index": rank,
            "context": "",
            "meta": {},
            "score": 1 / rank,
            "rank": rank,
        }

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """See the fake store's."""
        if command == "publish":
            name = arguments["collection"]
            new = self._pending.pop(arguments["pending"], 0)
            self._held[name] = self._held.get(name, 0) + new
            return {"count": self._held[name]}
        if command == "discard":
            return self._pending.pop(arguments["pending"], None) is not None
        if command == "drop":
            return self._held.pop(arguments["collection"], None) is not None
        if command == "describe":
            held = {name: {"count": count} for name, count in self._held.items()}
            return {"collections": held, "pending": sorted(self._pending)}
        return await super().control(command, arguments)


def _own(query: str | Sequence[float]) -> str:
    """What the passages are called that only a query finds."""
    return f"words.{number(query)!r}" if isinstance(query, str) else repr(query[0])
