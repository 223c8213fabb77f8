"""``index``: embed chunks and write them to a collection."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from teola.compiler.graph.pgraph import Json, Operand, Ref
from teola.compiler.modules.build import Build
from teola.compiler.modules.definition import ModuleDefinition, Problem, Settings, Value
from teola.compiler.types import COLLECTION, INT, TEXT, parse_type

Mode: TypeAlias = Literal["dense", "keyword", "hybrid"]


class IndexSettings(Settings):
    """Settings of ``index``."""

    embedder: Annotated[str | None, Field(description="Name of an engine of kind embedder")] = None
    store: Annotated[str | None, Field(description="Name of an engine of kind store")] = None
    mode: Annotated[
        Mode, Field(description="What it is searched by: embeddings, words, or both")
    ] = "dense"


def unneeded(settings: IndexSettings) -> Collection[str]:
    """Who searches by words embeds nothing."""
    return ("embedder",) if settings.mode == "keyword" else ()


def problems(settings: IndexSettings) -> Iterable[Problem]:
    """An embedder of which nothing is wanted."""
    if settings.mode == "keyword" and settings.embedder is not None:
        yield Problem(("embedder",), "mode: keyword embeds nothing, embedder has no use")


def lower(build: Build) -> Mapping[str, Ref]:
    """Embed, then ingest: both go group by group, where the index allows it."""
    settings = build.settings
    if not isinstance(settings, IndexSettings):
        raise TypeError("index needs its own settings")
    chunks = build.input("chunks")
    inputs: dict[str, Operand] = {"chunks": chunks}
    config: dict[str, Json] = {}
    if settings.mode != "keyword":
        vectors = build.add("embed", {"texts": chunks}, engine="embedder")
        inputs["embeddings"] = Ref(vectors, "embeddings")
        config["embedder"] = build.module.engines["embedder"]
        if build.orders_ingest:
            config["ordered"] = True
    if settings.mode != "dense":
        config["mode"] = settings.mode
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
    doc="Write chunks to a collection, to be searched by embeddings, by words, or by both.",
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
    unneeded=unneeded,
    problems=problems,
)
