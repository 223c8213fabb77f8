"""Operations of small models: embed and score."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from teola.runtime.operations.base import EngineOperation, Values

if TYPE_CHECKING:
    from teola.runtime.instance.context import TaskContext


def text_of(item: Any) -> str:
    """The text that stands for an item: of a chunk with its context before it, or itself."""
    if isinstance(item, str):
        return item
    context = item.get("context")
    return f"{context}\n{item['text']}" if context else str(item["text"])


class Embed(EngineOperation):
    """Texts (or chunks) to unit vectors of ``(d,)`` float32."""

    def items(self, inputs: Values, context: TaskContext) -> list[str]:
        return [text_of(item) for item in inputs["texts"]]

    def outputs(self, inputs: Values, results: Sequence[Any]) -> dict[str, Any]:
        return {"embeddings": list(results)}

    def same(self, item: Any) -> Hashable | None:
        return str(item)


class Score(EngineOperation):
    """Passages, each with its relevance to the query as ``score``."""

    def items(self, inputs: Values, context: TaskContext) -> list[str]:
        return [text_of(item) for item in inputs["passages"]]

    def common(self, inputs: Values, config: Values, context: TaskContext) -> dict[str, Any]:
        return {"query": inputs["query"]}

    def outputs(self, inputs: Values, results: Sequence[Any]) -> dict[str, Any]:
        pairs = zip(inputs["passages"], results, strict=True)
        return {"passages": [{**passage, "score": float(score)} for passage, score in pairs]}

    def same(self, item: Any) -> Hashable | None:
        return str(item)
