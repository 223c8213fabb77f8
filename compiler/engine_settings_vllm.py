"""The settings of engines on vLLM; what is vLLM's own bears its name there."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from teola.compiler.engine_settings import GRAMMARS, SAMPLING, Count, ModelSettings


class VllmSettings(ModelSettings):
    """What all engines on vLLM share."""

    backend: Literal["vllm"] = "vllm"
    max_model_len: Annotated[
        Count | None, Field(description="Tokens of one request, at most; by default the model's")
    ] = None
    kv_cache_gib: Annotated[
        float | None, Field(gt=0, description="Memory of the KV cache; on a CPU 1 if not said")
    ] = None
    gpu_memory_utilization: Annotated[
        float | None, Field(gt=0, le=1, description="Part of the GPU's memory that it may take")
    ] = None
    block_size: Annotated[
        Count | None, Field(description="Tokens of a block of KV; on a CPU 32 if not said")
    ] = None
    max_num_seqs: Annotated[
        Count | None, Field(description="Requests that run at once, at most")
    ] = None
    max_num_batched_tokens: Annotated[
        Count | None, Field(description="Tokens of one step, at most")
    ] = None
    tensor_parallel_size: Annotated[
        Count, Field(description="GPUs that hold the model together")
    ] = 1
    enforce_eager: Annotated[
        bool | None, Field(description="No compiling and no CUDA graphs; on a CPU if not said")
    ] = None


class VllmLLM(VllmSettings):
    """A language model on vLLM."""

    noun: ClassVar[str] = "an engine of kind llm on vllm"
    sampling: ClassVar[frozenset[str] | None] = SAMPLING
    grammars: ClassVar[frozenset[str] | None] = GRAMMARS
    model_kind: ClassVar[str] = "llm"

    kind: Literal["llm"]
    max_num_queued_reqs: Annotated[
        Count | None, Field(description="Requests in vLLM, waiting or running; more are put back")
    ] = None
    lora: Annotated[
        str | None,
        Field(description="Local folder with a LoRA adapter for calls that name no other"),
    ] = None
    adapters: Annotated[
        dict[str, str],
        Field(
            default_factory=dict,
            description="Name -> local folder with a LoRA adapter, for modules with adapter:",
        ),
    ]


class VllmEmbedder(VllmSettings):
    """An embedding model on vLLM."""

    noun: ClassVar[str] = "an engine of kind embedder on vllm"

    kind: Literal["embedder"]
    batch_size: Annotated[Count, Field(description="Texts of one batch, at most")] = 64
    truncate: Annotated[
        bool, Field(description="Cut texts that are longer than the model's limit")
    ] = False


class VllmReranker(VllmSettings):
    """A cross-encoder on vLLM."""

    noun: ClassVar[str] = "an engine of kind reranker on vllm"
    model_kind: ClassVar[str] = "reranker"

    kind: Literal["reranker"]
    batch_size: Annotated[Count, Field(description="Passages of one batch, at most")] = 64
    truncate: Annotated[
        bool, Field(description="Cut passages that are longer than the model's limit")
    ] = False
