"""Operations of stores: ingest under a pending version, publish, search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teola.runtime.operations.base import EngineOperation, Values

if TYPE_CHECKING:
    from teola.runtime.instance.context import TaskContext


@dataclass(frozen=True, slots=True)
class CollectionHandle:
    """A collection as a value. ``epoch`` is the store's life it belongs to; None: a named one,
    looked up when it is used. ``embedder`` is the identity of what made its vectors."""

    store: str
    name: str
    epoch: int | None
    embedder: str | None = None

    def describe(self) -> dict[str, Any]:
        """As JSON data."""
        return {"collection": self.name, "store": self.store}


class Ingest(EngineOperation):
    """Chunks and their vectors, atomically, into a collection."""

    def items(self, inputs: Values, context: TaskContext) -> list[Any]:
        return list(zip(inputs["chunks"], inputs["embeddings"], strict=True))

    def common(self, inputs: Values, config: Values, context: TaskContext) -> dict[str, Any]:
        return {"collection": context.collection, "pending": context.pending}

    def outputs(self, inputs: Values, results: Sequence[Any]) -> dict[str, Any]:
        return {"count": len(results)}

    def publish(self, inputs: Values, context: TaskContext) -> tuple[str, dict[str, Any]]:
        return "publish", {
            "collection": context.collection,
            "pending": context.pending,
            "fingerprint": context.embedder,
            "documents": [document["name"] for document in inputs.get("documents") or ()],
        }

    def ending(self, reply: Any, context: TaskContext) -> dict[str, Any]:
        return {
            "collection": CollectionHandle(
                context.engine_name,
                context.collection,
                context.epoch,
                context.embedder,
            )
        }

    def discard(self, context: TaskContext) -> tuple[str, dict[str, Any]]:
        return "discard", {"pending": context.pending}


class Search(EngineOperation):
    """The ``top_k`` nearest passages of each embedding, best first."""

    def items(self, inputs: Values, context: TaskContext) -> Sequence[Any]:
        return list(inputs["embeddings"])

    def common(self, inputs: Values, config: Values, context: TaskContext) -> dict[str, Any]:
        handle = inputs["collection"]
        name = handle.name if isinstance(handle, CollectionHandle) else str(handle)
        common = {"collection": name, "top_k": inputs["top_k"]}
        if config.get("min_score") is not None:
            common["min_score"] = config["min_score"]
        return common

    def outputs(self, inputs: Values, results: Sequence[Any]) -> dict[str, Any]:
        return {"hits": list(results)}
