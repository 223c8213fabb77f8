"""The chunk operation: documents to chunks, beside the event loop where there is much text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from teola.runtime.operations.base import CpuOperation, Values
from teola.runtime.operations.chunk import chunk

if TYPE_CHECKING:
    from teola.runtime.instance.context import TaskContext

INLINE_CHARACTERS = 20_000


class Chunk(CpuOperation):
    """Each document cut into chunks; ids do not depend on the other documents."""

    def compute(self, inputs: Values, config: Values, context: TaskContext) -> dict[str, Any]:
        name = config.get("tokenizer")
        tokenizer = context.tokenizer(str(name)) if name else None
        size = config.get("size")
        if size is None and name:
            size = context.text_limit(str(name))
        meta = inputs.get("meta") or {}
        chunks = []
        for document in inputs["documents"]:
            source = {**document, "meta": {**(document.get("meta") or {}), **meta}}
            chunks += chunk(
                source,
                size=size,
                overlap=int(config.get("overlap", 0)),
                by=str(config.get("by", "tokens")),
                tokenizer=tokenizer,
            )
        return {"chunks": chunks}

    def heavy(self, inputs: Values) -> bool:
        return sum(len(document["text"]) for document in inputs["documents"]) > INLINE_CHARACTERS
