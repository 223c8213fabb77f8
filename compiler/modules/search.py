"""``search``: find the passages of a collection nearest to queries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated

from pydantic import Field

from teola.compiler.graph.pgraph import Json, Operand, Ref
from teola.compiler.modules.build import Build
from teola.compiler.modules.definition import ModuleDefinition, Problem, Settings, Value
from teola.compiler.modules.index import Mode
from teola.compiler.types import COLLECTION, INT, TEXT, parse_type
from teola.compiler.where import WhereError, inputs_of, parse_where

CANDIDATES = 50
"""Passages, at least, that each of two rankings gives to be fused: one that both place behind
``top_k`` may come before all that one of them places first."""


class SearchSettings(Settings):
    """Settings of ``search``."""

    embedder: Annotated[
        str | None, Field(description="Name of an engine of kind embedder; the collection's own")
    ] = None
    store: Annotated[
        str | None,
        Field(description="Name of an engine of kind store, for collections from outside"),
    ] = None
    mode: Annotated[
        Mode | None,
        Field(description="What is compared; by default what the collection is made for"),
    ] = None
    where: Annotated[
        str | None, Field(description="Only chunks for which it holds: meta.type == 'html'")
    ] = None
    limit: Annotated[
        int | None, Field(ge=1, description="Passages of all queries together at most")
    ] = None
    min_score: Annotated[
        float | None, Field(description="Passages with a lower score are left out")
    ] = None


def unneeded(settings: SearchSettings) -> Collection[str]:
    """Who searches by words embeds nothing."""
    return ("embedder",) if settings.mode == "keyword" else ()


def problems(settings: SearchSettings) -> Iterable[Problem]:
    """What has no meaning in the mode, and a ``where`` that cannot be read."""
    if settings.mode == "keyword" and settings.embedder is not None:
        yield Problem(("embedder",), "mode: keyword embeds nothing, embedder has no use")
    if settings.mode == "hybrid" and settings.min_score is not None:
        yield Problem(
            ("min_score",),
            "mode: hybrid orders by ranks, its scores tell nothing of how near a passage is",
            "leave it out, or keep those that a rerank scores high enough",
        )
    if settings.where is not None:
        try:
            parse_where(settings.where)
        except WhereError as error:
            yield Problem(("where",), f"where: {error}")


def mentions(settings: SearchSettings) -> Iterable[str]:
    """The further inputs that ``where`` uses."""
    return inputs_of(parse_where(settings.where)) if settings.where is not None else ()


def lower(build: Build) -> Mapping[str, Ref]:
    """Search each query, join by query and rank, keep the first of equal chunks."""
    settings = build.settings
    if not isinstance(settings, SearchSettings):
        raise TypeError("search needs its own settings")
    rankings = {}
    if settings.mode != "keyword":
        rankings["dense"] = _dense(build, settings)
    if settings.mode in ("keyword", "hybrid"):
        rankings["keyword"] = _keyword(build, settings)
    hits = next(iter(rankings.values()))
    if len(rankings) > 1:
        fused = build.add("fuse", {**rankings, "top_k": build.input("top_k")})
        hits = Ref(fused, "hits")
    flat = Ref(build.add("flatten", {"items": hits}), "items")
    found = Ref(build.add("distinct", {"items": flat}), "items")
    if settings.limit is not None:
        found = Ref(build.add("take", {"items": found}, {"count": settings.limit}), "items")
    return {"passages": found}


def _queries(build: Build) -> Operand:
    return build.input("queries" if build.has("queries") else "query")


def _dense(build: Build, settings: SearchSettings) -> Ref:
    vectors = build.add("embed", {"texts": _queries(build)}, engine="embedder")
    inputs, config = _common(build, settings)
    inputs = {"embeddings": Ref(vectors, "embeddings"), **inputs}
    config = {"embedder": build.module.engines["embedder"], **config}
    return Ref(build.add("search", inputs, config, engine="store"), "hits")


def _keyword(build: Build, settings: SearchSettings) -> Ref:
    inputs, config = _common(build, settings)
    inputs = {"texts": _queries(build), **inputs}
    return Ref(build.add("keyword_search", inputs, config, engine="store"), "hits")


def _common(build: Build, settings: SearchSettings) -> tuple[dict[str, Operand], dict[str, Json]]:
    """Inputs and config of a search, whatever it compares."""
    collection = build.input("collection")
    inputs: dict[str, Operand] = {"collection": collection, "top_k": build.input("top_k")}
    config: dict[str, Json] = {}
    if settings.min_score is not None:
        config["min_score"] = settings.min_score
    if settings.mode == "hybrid":
        config["candidates"] = CANDIDATES
    if settings.where is not None:
        config["where"] = parse_where(settings.where)
        inputs |= {f"where_{name}": build.input(name) for name in mentions(settings)}
    if isinstance(collection, Ref) and build.module.inputs["collection"].type == TEXT:
        config["named"] = True
    return inputs, config


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
    open_inputs=True,
    unneeded=unneeded,
    problems=problems,
    mentions=mentions,
)
