"""``index``: embed chunks and write them to a collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from teola.compiler.graph.pgraph import Json, Operand, Ref
from teola.compiler.modules.build import Build
from teola.compiler.modules.definition import ModuleDefinition, Settings, Value
from teola.compiler.types import COLLECTION, INT, TEXT, parse_type


class IndexSettings(Settings):
    """Settings of ``index``."""

    embedder: Annotated[str | None, Field(description="Name of an engine of kind embedder")] = None
    store: Annotated[str | None, Field(description="Name of an engine of kind store")] = None
    mode: Annotated[Literal["dense"], Field(description="What the collection is searched by")] = (
        "dense"
    )


def lower(build: Build) -> Mapping[str, Ref]:
    """Embed, then ingest: both go group by group."""
    chunks = build.input("chunks")
    vectors = Ref(build.add("embed", {"texts": chunks}, engine="embedder"), "embeddings")
    inputs: dict[str, Operand] = {"chunks": chunks, "embeddings": vectors}
    config: dict[str, Json] = {"embedder": build.module.engines["embedder"]}
    if build.has("collection"):
        inputs["collection"] = build.input("collection")
        if isinstance(inputs["collection"], Ref):
            config["named"] = True
        if (documents := build.source(chunks, "chunk", "documents")) is not None:
            inputs["documents"] = documents  # one that gives no chunks replaces what was there
    written = build.add("ingest", inputs, config, engine="store")
    return {"collection": Ref(written, "collection"), "count": Ref(written, "count")}


INDEX = ModuleDefinition(
    name="index",
    doc="Embed chunks and write them to a collection.",
    values={
        "chunks": Value((parse_type("list<chunk>"),), "What to index"),
        "collection": Value(
            (TEXT,),
            "Name of the collection in the store; without one it belongs to this run",
            required=False,
        ),
    },
    settings=IndexSettings,
    outputs=lambda _: {"collection": COLLECTION, "count": INT},
    lower=lower,
    engines=("embedder", "store"),
)
