"""The settings of every backend that comes with Teola: one frozen model each, units in names."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from teola.compiler.model_names import check_weights

Dtype: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
Device: TypeAlias = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
SAMPLING = frozenset({"temperature", "top_p", "stop", "seed", "logprobs"})
GRAMMARS = frozenset({"json_schema", "choices"})
Milliseconds: TypeAlias = Annotated[float, Field(ge=0)]
Texts: TypeAlias = Annotated[tuple[str, ...], Field(strict=False)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
BatchTokens: TypeAlias = Annotated[
    Count | None,
    Field(
        description="Tokens of one batch, at most; four bytes of a text count as one, and a longer "
        "text goes alone"
    ),
]


class EngineSettings(BaseModel):
    """What every engine has: its kind and its backend."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    noun: ClassVar[str] = "an engine"
    sampling: ClassVar[frozenset[str] | None] = None
    """Settings of ``sampling`` beyond greedy decoding that the backend has; None: not known."""
    grammars: ClassVar[frozenset[str] | None] = None
    """What it holds answers to, a ``json_schema`` or ``choices``; None: not known. Where a setting
    ``structured_outputs`` is given, that decides, and none means that answers are checked only."""
    incidental: ClassVar[frozenset[str]] = frozenset(
        {
            *("replicas", "threads", "cores", "device", "batch_size", "batch_tokens", "cache_mib"),
            *("api_key_env", "timeout_s", "encoding"),
            *("kv_cache_gib", "gpu_memory_utilization", "block_size", "enforce_eager"),
            *("max_num_seqs", "max_num_batched_tokens", "tensor_parallel_size"),
        }
    )
    """Settings that say how the work is done: the same vectors come out."""

    kind: Annotated[str, Field(description="What the engine does")]
    backend: Annotated[str, Field(description="What does it")]
    replicas: Annotated[Count, Field(description="Copies of the engine that share its work")] = 1

    @property
    def orders_ingest(self) -> bool:
        """Whether a store's index depends on the order in which, or the groups by which, it is
        filled: what is ingested must then be there as a whole."""
        return False


class ModelSettings(EngineSettings):
    """An engine that runs a model on this machine: ``model`` or ``path`` names its weights."""

    model_kind: ClassVar[str] = "embedder"

    model: Annotated[str | None, Field(description="A known model, or hub:organisation/name")] = (
        None
    )
    path: Annotated[str | None, Field(description="Local folder with the model")] = None
    dtype: Annotated[
        Dtype, Field(description="Number format; auto: what runs best on the device")
    ] = "auto"
    device: Annotated[
        Device, Field(description="Where the model runs; cuda:1 is the second GPU")
    ] = "auto"
    threads: Annotated[
        Count | None, Field(description="CPU threads; by default what the machine has")
    ] = None
    cores: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...] | None,
        Field(strict=False, min_length=1, description="Numbers of the cores it may run on"),
    ] = None

    @model_validator(mode="after")
    def _name_weights(self) -> Self:
        check_weights(self.model_kind, self.model, self.path)
        return self

    @model_validator(mode="after")
    def _deal_cores(self) -> Self:
        if self.cores is not None and len(self.cores) < self.replicas:
            raise ValueError(
                f"{self.replicas} replicas need a core each: 'cores' names {len(self.cores)}"
            )
        return self


class TransformersLLM(ModelSettings):
    """A language model on transformers' continuous batching."""

    noun: ClassVar[str] = "an engine of kind llm on transformers"
    sampling: ClassVar[frozenset[str] | None] = SAMPLING
    grammars: ClassVar[frozenset[str] | None] = GRAMMARS
    model_kind: ClassVar[str] = "llm"

    kind: Literal["llm"]
    backend: Literal["transformers"] = "transformers"
    kv_pages: Annotated[
        int | None,
        Field(
            ge=8,
            description="Pages of the KV cache; by default 1024, on a GPU what there is room for",
        ),
    ] = None
    kv_page_tokens: Annotated[Count, Field(description="Tokens of one page")] = 16
    batch_tokens: Annotated[
        Count | None,
        Field(description="Tokens of one step, at most; by default 1024, on a GPU 2048"),
    ] = None
    gpu_memory_utilization: Annotated[
        float | None,
        Field(
            gt=0,
            le=1,
            description="Part of the GPU's memory that it may take, with its weights; by default "
            "half of what is free beside them",
        ),
    ] = None
    enforce_eager: Annotated[bool, Field(description="No CUDA graphs")] = False


class SentenceTransformersEmbedder(ModelSettings):
    """An embedding model on sentence-transformers."""

    noun: ClassVar[str] = "an engine of kind embedder on sentence-transformers"

    kind: Literal["embedder"]
    backend: Literal["sentence-transformers"] = "sentence-transformers"
    batch_size: Annotated[Count, Field(description="Texts of one batch, at most")] = 32
    batch_tokens: BatchTokens = None
    truncate: Annotated[
        bool, Field(description="Cut texts that are longer than the model's limit")
    ] = False


class MaxSimReranker(ModelSettings):
    """A reranker that compares the token embeddings of an embedding model (late interaction)."""

    noun: ClassVar[str] = "an engine of kind reranker on maxsim"

    kind: Literal["reranker"]
    backend: Literal["maxsim"] = "maxsim"
    batch_size: Annotated[Count, Field(description="Passages of one batch, at most")] = 32
    batch_tokens: BatchTokens = None
    truncate: Annotated[
        bool, Field(description="Cut texts that are longer than the model's limit")
    ] = False
    cache_mib: Annotated[
        int, Field(ge=0, description="Memory for the token embeddings of texts seen lately")
    ] = 64


class FakeSettings(EngineSettings):
    """A deterministic engine for tests; its latencies pass on the event loop's clock."""

    special_tokens: ClassVar[int] = 2
    """Tokens that the fakes' tokenizer adds to each text."""

    backend: Literal["fake"]
    model: Annotated[str, Field(description="Any name; fakes of two names are two engines")] = (
        "fake"
    )
    latency_ms: Annotated[Milliseconds, Field(description="Time of each batch or step")] = 0
    per_item_ms: Annotated[Milliseconds, Field(description="Time of each item of a batch")] = 0
    fail_items: Annotated[
        Texts, Field(description="Items that contain one of these texts fail")
    ] = ()
    die_after: Annotated[
        int | None, Field(ge=0, description="The engine dies after so many batches or requests")
    ] = None


class FakeBatchSettings(FakeSettings):
    """A fake engine whose work is items."""

    batch_size: Annotated[Count, Field(description="Items of one batch, at most")] = 32
    memory_items: Annotated[
        Count | None, Field(description="Larger batches fail for want of memory")
    ] = None


class FakeLLM(FakeSettings):
    """A fake language model: its answers depend on the prompt, and on how they are sampled."""

    noun: ClassVar[str] = "a fake engine of kind llm"
    sampling: ClassVar[frozenset[str] | None] = SAMPLING
    grammars: ClassVar[frozenset[str] | None] = GRAMMARS

    kind: Literal["llm"]
    per_token_ms: Annotated[Milliseconds, Field(description="Time of each token of a prompt")] = 0
    context_tokens: Annotated[Count, Field(description="Prompt and answer, at most")] = 8192
    kv_tokens: Annotated[Count, Field(description="Tokens of all running requests")] = 65536
    max_requests: Annotated[Count, Field(description="Requests that run at once")] = 64
    structured_outputs: Annotated[
        Literal["none"] | None,
        Field(description="none: answers are lines whatever is asked for, and checked only"),
    ] = None
    adapters: Annotated[
        dict[str, str],
        Field(description="Name -> anything; each gives answers of its own"),
    ] = {}


class FakeEmbedder(FakeBatchSettings):
    """A fake embedder: embeddings that depend on the text, but not on what it means."""

    noun: ClassVar[str] = "a fake engine of kind embedder"

    kind: Literal["embedder"]
    batch_tokens: BatchTokens = None
    dimension: Annotated[Count, Field(description="Numbers of an embedding")] = 32
    limit_tokens: Annotated[Count | None, Field(description="Longest text")] = None


class FakeReranker(FakeBatchSettings):
    """A fake reranker: scores that depend on query and passage only."""

    noun: ClassVar[str] = "a fake engine of kind reranker"

    kind: Literal["reranker"]
    batch_tokens: BatchTokens = None


class FakeStore(FakeBatchSettings):
    """A fake store: exact search, in memory."""

    noun: ClassVar[str] = "a fake engine of kind store"

    kind: Literal["store"]
    metric: Annotated[
        Literal["cosine", "inner_product", "l2"], Field(description="How embeddings are compared")
    ] = "cosine"


class SimulatedSettings(EngineSettings):
    """An engine that takes the time that profiles say another one would take."""

    backend: Literal["simulated"]
    stands_for: Annotated[
        dict[str, JsonValue], Field(description="Settings of the engine that it stands for")
    ] = {}
    profile: Annotated[
        str | None, Field(description="Profile file that counts before the shipped ones")
    ] = None


class SimulatedLLM(SimulatedSettings):
    """A simulated language model: answers of random lengths that a seed and the prompt give."""

    noun: ClassVar[str] = "a simulated engine of kind llm"
    sampling: ClassVar[frozenset[str] | None] = SAMPLING
    grammars: ClassVar[frozenset[str] | None] = GRAMMARS

    kind: Literal["llm"]
    answer_tokens: Annotated[
        dict[str, int],
        Field(description="Primitive or workflow:primitive -> mean length of its answers; else 64"),
    ] = {}
    answer_lines: Annotated[
        dict[str, int],
        Field(description="Primitive or workflow:primitive -> lines of its answers; else one text"),
    ] = {}
    adapters: Annotated[dict[str, str], Field(description="Name -> anything")] = {}
    spread: Annotated[
        float, Field(ge=0, description="Sigma of the log-normal lengths; 0: all are the mean")
    ] = 0.5
    seed: Annotated[int, Field(description="What lengths are drawn with")] = 0


class SimulatedEmbedder(SimulatedSettings):
    """A simulated embedder."""

    noun: ClassVar[str] = "a simulated engine of kind embedder"

    kind: Literal["embedder"]


class SimulatedReranker(SimulatedSettings):
    """A simulated reranker."""

    noun: ClassVar[str] = "a simulated engine of kind reranker"

    kind: Literal["reranker"]


class SimulatedStore(SimulatedSettings):
    """A simulated store: every query finds passages of its own."""

    noun: ClassVar[str] = "a simulated engine of kind store"

    kind: Literal["store"]
    passage_tokens: Annotated[Count, Field(description="Tokens of a passage")] = 256
    common_passages: Annotated[
        int, Field(ge=0, description="So many passages all searches of a collection find alike")
    ] = 0
