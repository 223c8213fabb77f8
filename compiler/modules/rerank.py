"""``rerank``: order passages by how well they answer a query, keep the best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from teola.compiler.graph.pgraph import Json, Ref
from teola.compiler.modules.build import Build
from teola.compiler.modules.definition import ModuleDefinition, Settings, Value
from teola.compiler.types import INT, TEXT, parse_type


class RerankSettings(Settings):
    """Settings of ``rerank``."""

    reranker: Annotated[str | None, Field(description="Name of an engine of kind reranker")] = None
    min_score: Annotated[
        float | None, Field(description="Passages with a lower score are left out")
    ] = None


def lower(build: Build) -> Mapping[str, Ref]:
    """Score each passage (a map), then keep the best (a gather)."""
    settings = build.settings
    if not isinstance(settings, RerankSettings):
        raise TypeError("rerank needs its own settings")
    query, passages = build.input("query"), build.input("passages")
    scored = build.add("score", {"passages": passages, "query": query}, engine="reranker")
    config: dict[str, Json] = {}
    if settings.min_score is not None:
        config["min_score"] = settings.min_score
    best = build.add(
        "top", {"items": Ref(scored, "passages"), "count": build.input("top_k")}, config
    )
    return {"passages": Ref(best, "items")}


RERANK = ModuleDefinition(
    name="rerank",
    doc="Order passages by how well they answer a query and keep the best.",
    values={
        "query": Value((TEXT,), "What the passages should answer"),
        "passages": Value((parse_type("list<passage>"),), "What to order"),
        "top_k": Value((INT,), "Passages kept", False, (3,), least=1),
    },
    settings=RerankSettings,
    outputs=lambda _: {"passages": parse_type("list<passage>")},
    lower=lower,
    engines=("reranker",),
)
