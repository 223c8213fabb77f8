"""``search``: find the passages of a collection nearest to queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from teola.compiler.graph.pgraph import Json, Ref
from teola.compiler.modules.build import Build
from teola.compiler.modules.definition import ModuleDefinition, Settings, Value
from teola.compiler.types import COLLECTION, INT, TEXT, parse_type


class SearchSettings(Settings):
    """Settings of ``search``."""

    embedder: Annotated[
        str | None, Field(description="Name of an engine of kind embedder; the collection's own")
    ] = None
    store: Annotated[
        str | None,
        Field(description="Name of an engine of kind store, for collections from outside"),
    ] = None
    mode: Annotated[Literal["dense"], Field(description="What is compared")] = "dense"
    limit: Annotated[
        int | None, Field(ge=1, description="Passages of all queries together at most")
    ] = None
    min_score: Annotated[
        float | None, Field(description="Passages with a lower score are left out")
    ] = None


def lower(build: Build) -> Mapping[str, Ref]:
    """Embed the queries, search each, join by query and rank, keep the first of equal chunks."""
    settings = build.settings
    if not isinstance(settings, SearchSettings):
        raise TypeError("search needs its own settings")
    queries = build.input("queries" if build.has("queries") else "query")
    vectors = Ref(build.add("embed", {"texts": queries}, engine="embedder"), "embeddings")
    config: dict[str, Json] = {"embedder": build.module.engines["embedder"]}
    if settings.min_score is not None:
        config["min_score"] = settings.min_score
    collection = build.input("collection")
    if isinstance(collection, Ref) and build.module.inputs["collection"].type == TEXT:
        config["named"] = True
    hits = build.add(
        "search",
        {"embeddings": vectors, "collection": collection, "top_k": build.input("top_k")},
        config,
        engine="store",
    )
    flat = Ref(build.add("flatten", {"items": Ref(hits, "hits")}), "items")
    found = Ref(build.add("distinct", {"items": flat}), "items")
    if settings.limit is not None:
        found = Ref(build.add("take", {"items": found}, {"count": settings.limit}), "items")
    return {"passages": found}


SEARCH = ModuleDefinition(
    name="search",
    doc="Find the passages of a collection nearest to one or several queries.",
    values={
        "query": Value((parse_type("list<text>"),), "One query", required=False),
        "queries": Value((parse_type("list<text>"),), "Several queries", required=False),
        "collection": Value((COLLECTION, TEXT), "Where to search: a collection, or its name"),
        "top_k": Value((INT,), "Passages for each query", False, (5,), least=1),
    },
    settings=SearchSettings,
    outputs=lambda _: {"passages": parse_type("list<passage>")},
    lower=lower,
    engines=("embedder", "store"),
    one_of=(("query", "queries"),),
)
