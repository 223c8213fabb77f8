"""The settings of rerankers with weights of their own."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from teola.compiler.engine_settings import BatchTokens, Count, ModelSettings


class CrossEncoderReranker(ModelSettings):
    """A reranker that reads query and passage together, on sentence-transformers."""

    noun: ClassVar[str] = "an engine of kind reranker on cross-encoder"
    model_kind: ClassVar[str] = "reranker"

    kind: Literal["reranker"]
    backend: Literal["cross-encoder"] = "cross-encoder"
    batch_size: Annotated[Count, Field(description="Passages of one batch, at most")] = 32
    batch_tokens: BatchTokens = None
    truncate: Annotated[
        bool, Field(description="Cut pairs that are longer than the model's limit")
    ] = False
