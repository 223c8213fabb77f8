"""The settings of stores: what their indexes are, and where collections with a name are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from teola.compiler.engine_settings import Count, EngineSettings

IndexKind: TypeAlias = Literal["flat", "hnsw", "ivf"]
Language: TypeAlias = Literal[
    "simple", "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish",
    "french", "german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian",
    "lithuanian", "nepali", "norwegian", "portuguese", "romanian", "russian", "serbian", "spanish",
    "swedish", "tamil", "turkish", "yiddish",
]  # fmt: skip

PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "flat": (),
    "hnsw": ("m", "ef_construction", "ef_search"),
    "ivf": ("nlist", "nprobe"),
}
"""Index -> the settings that only it has."""


class VectorStoreSettings(EngineSettings):
    """What stores with a choice of indexes share."""

    metric: Annotated[
        Literal["cosine", "inner_product", "l2"], Field(description="How embeddings are compared")
    ] = "cosine"
    index: Annotated[
        IndexKind,
        Field(description="flat: exact; hnsw: a graph; ivf: clusters, of which some are searched"),
    ] = "flat"
    m: Annotated[int | None, Field(ge=2, description="hnsw: neighbours of a vector (32)")] = None
    ef_construction: Annotated[
        Count | None, Field(description="hnsw: candidates while it is built (200)")
    ] = None
    ef_search: Annotated[
        Count | None, Field(description="hnsw: candidates while it is searched (64)")
    ] = None
    nlist: Annotated[
        Count | None, Field(description="ivf: clusters; by default from the number of vectors")
    ] = None
    nprobe: Annotated[Count | None, Field(description="ivf: clusters searched (16)")] = None
    language: Annotated[
        Language, Field(description="Whose words keywords are; simple: of none, as they stand")
    ] = "english"

    @property
    def orders_ingest(self) -> bool:
        """A graph depends on the order in which it is filled, clusters on all that is there."""
        return self.index != "flat"

    @model_validator(mode="after")
    def _fit_index(self) -> Self:
        for index, names in PARAMETERS.items():
            for name in names if index != self.index else ():
                if getattr(self, name) is not None:
                    raise PydanticCustomError(
                        "bad-setting",
                        "{what}",
                        {
                            "what": f"{name!r} is a setting of index: {index}, "
                            f"the index is {self.index}",
                            "at": name,
                            "help": f"leave it out, or write index: {index}",
                        },
                    )
        return self


class FaissStore(VectorStoreSettings):
    """FAISS indexes, in memory; with ``path`` collections that have a name stay in a folder."""

    noun: ClassVar[str] = "an engine of kind store on faiss"

    kind: Literal["store"]
    backend: Literal["faiss"] = "faiss"
    path: Annotated[
        str | None, Field(description="Folder that keeps collections which have a name")
    ] = None
    device: Annotated[
        str,
        Field(
            pattern=r"^(cpu|cuda(:\d+)?)$",
            description="Where vectors are compared; cuda: flat and ivf; cuda:1 is the second GPU",
        ),
    ] = "cpu"

    @model_validator(mode="after")
    def _fit_device(self) -> Self:
        if self.device != "cpu" and self.index == "hnsw":
            raise PydanticCustomError(
                "bad-setting",
                "{what}",
                {
                    "what": "FAISS has no hnsw on a GPU",
                    "at": "device",
                    "help": "device: cpu, or index: ivf",
                },
            )
        return self


class PostgresStore(VectorStoreSettings):
    """A database with pgvector, shared by whoever reaches the server."""

    noun: ClassVar[str] = "an engine of kind store on postgres"

    kind: Literal["store"]
    backend: Literal["postgres"]
    url_env: Annotated[
        str, Field(min_length=1, description="Environment variable that holds the database's URL")
    ] = "DATABASE_URL"
    connections: Annotated[Count, Field(description="Connections at once, at most")] = 4
