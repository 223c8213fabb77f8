"""Operations of stores: ingest under a pending version, publish, search, fuse rankings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teola.runtime.operations.base import CpuOperation, EngineOperation, Values

if TYPE_CHECKING:
    from teola.runtime.instance.context import TaskContext

RANK_CONSTANT = 60
"""What ranks are counted from in fusion: that of the paper."""


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
        chunks = inputs["chunks"]
        return list(zip(chunks, inputs.get("embeddings") or [None] * len(chunks), strict=True))

    def common(self, inputs: Values, config: Values, context: TaskContext) -> dict[str, Any]:
        return {"collection": context.collection, "pending": context.pending}

    def outputs(self, inputs: Values, results: Sequence[Any]) -> dict[str, Any]:
        return {"count": len(results)}

    def publish(self, inputs: Values, context: TaskContext) -> tuple[str, dict[str, Any]]:
        mode = context.config.get("mode")
        return "publish", {
            "collection": context.collection,
            "pending": context.pending,
            "fingerprint": context.embedder,
            "documents": [document["name"] for document in inputs.get("documents") or ()],
            **({"mode": mode} if mode else {}),
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
        top_k = max(int(inputs["top_k"]), int(config.get("candidates", 0)))
        common = {"collection": name, "top_k": top_k}
        if config.get("min_score") is not None:
            common["min_score"] = config["min_score"]
        if config.get("where") is not None:
            common["where"] = bound(config["where"], inputs)
        return common

    def outputs(self, inputs: Values, results: Sequence[Any]) -> dict[str, Any]:
        return {"hits": list(results)}


class KeywordSearch(Search):
    """The ``top_k`` passages of each text that have most of its words, best first."""

    def items(self, inputs: Values, context: TaskContext) -> Sequence[Any]:
        return list(inputs["texts"])


class Fuse(CpuOperation):
    """The ``top_k`` best passages of two rankings for each query, by reciprocal rank fusion
    (Cormack, Clarke, Büttcher 2009): the score is the sum of ``1 / (60 + rank)``. Of equal ones
    those of ``dense`` come first."""

    def compute(self, inputs: Values, config: Values, context: TaskContext) -> dict[str, Any]:
        top_k = max(0, int(inputs["top_k"]))
        pairs = zip(inputs["dense"], inputs["keyword"], strict=True)
        return {"hits": [fused(rankings, top_k) for rankings in pairs]}


def fused(rankings: Iterable[Sequence[Values]], count: int) -> list[dict[str, Any]]:
    """The first ``count`` passages of several rankings together, with new scores and ranks."""
    scores: dict[str, float] = {}
    passages: dict[str, Values] = {}
    for ranking in rankings:
        for rank, passage in enumerate(ranking, 1):
            passages.setdefault(passage["id"], passage)
            scores[passage["id"]] = scores.get(passage["id"], 0.0) + 1 / (RANK_CONSTANT + rank)
    best = sorted(scores, key=lambda name: -scores[name])[:count]
    return [
        {**passages[name], "score": scores[name], "rank": rank} for rank, name in enumerate(best, 1)
    ]


def bound(where: Any, inputs: Values) -> Any:
    """A ``where`` with the values of the inputs that it names."""
    if isinstance(where, list):
        return [bound(part, inputs) for part in where]
    if isinstance(where, Mapping) and "input" in where:
        return {"value": inputs[f"where_{where['input']}"]}
    return where
