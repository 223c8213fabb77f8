"""The chunk operation: documents to chunks, beside the event loop where there is much text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from teola.runtime.operations.base import CpuOperation, Values
from teola.runtime.operations.chunk import Tokenizer, chunk

if TYPE_CHECKING:
    from teola.runtime.instance.context import TaskContext

INLINE_CHARACTERS = 20_000


class Chunk(CpuOperation):
    """Each document cut into chunks; ids do not depend on the other documents."""

    def compute(self, inputs: Values, config: Values, context: TaskContext) -> dict[str, Any]:
        name = config.get("tokenizer")
        tokenizer = _Counting(context.tokenizer(str(name))) if name else None
        size = config.get("size")
        if size is None and name:
            size = context.text_limit(str(name))
        meta = inputs.get("meta") or {}
        by = str(config.get("by", "tokens"))
        chunks = []
        for document in inputs["documents"]:
            source = {**document, "meta": {**(document.get("meta") or {}), **meta}}
            chunks += chunk(
                source,
                size=size,
                overlap=int(config.get("overlap", 0)),
                by=by,
                tokenizer=tokenizer,
            )
            if tokenizer is not None:
                context.counted([tokenizer.of_document(document["text"], by)])
        return {"chunks": chunks}

    def heavy(self, inputs: Values) -> bool:
        return sum(len(document["text"]) for document in inputs["documents"]) > INLINE_CHARACTERS


class _Counting:
    """A tokenizer that tells how many tokens a document has; cutting by tokens counts them anyway,
    and counting is a good part of that work."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.found = 0

    def count(self, text: str) -> int:
        return self.tokenizer.count(text)

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        offsets = self.tokenizer.offsets(text)
        self.found = len(offsets)
        return offsets

    def of_document(self, text: str, by: str) -> int:
        """The tokens of the document that has just been cut, special ones included."""
        return self.found + self.count("") if by == "tokens" and text.strip() else self.count(text)
