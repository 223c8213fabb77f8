"""``chunk``: cut documents into chunks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from teola.compiler.graph.pgraph import Ref
from teola.compiler.modules.build import Build
from teola.compiler.modules.definition import ModuleDefinition, Problem, Settings, Value
from teola.compiler.types import parse_type


class ChunkSettings(Settings):
    """Settings of ``chunk``."""

    size: Annotated[
        int | None,
        Field(
            ge=1,
            description="Tokens of a chunk at most, special tokens included (characters for "
            "by: characters); default: the embedder's limit",
        ),
    ] = None
    overlap: Annotated[int, Field(ge=0, description="What neighbours share, at most")] = 0
    by: Annotated[
        Literal["tokens", "sentences", "markdown", "characters"],
        Field(description="Where cuts may be"),
    ] = "tokens"
    tokenizer: Annotated[
        str | None,
        Field(
            description="Name of the embedder or llm whose tokens are counted; default: the only "
            "embedder, else the only llm"
        ),
    ] = None


def problems(settings: ChunkSettings) -> Iterable[Problem]:
    """Sizes that cannot be kept."""
    if settings.by == "characters":
        if settings.size is None:
            yield Problem(("by",), "by: characters needs a size", "add size: 1000")
        if settings.tokenizer is not None:
            yield Problem(("tokenizer",), "by: characters counts no tokens, tokenizer has no use")
    if settings.size is not None and settings.overlap >= settings.size:
        yield Problem(
            ("overlap",), f"overlap {settings.overlap} must be smaller than size {settings.size}"
        )


def lower(build: Build) -> Mapping[str, Ref]:
    """One map primitive on the CPU."""
    settings = build.settings
    if not isinstance(settings, ChunkSettings):
        raise TypeError("chunk needs its own settings")
    inputs = {"documents": build.input("documents")}
    if build.has("meta"):
        inputs["meta"] = build.input("meta")
    config = {
        "size": settings.size,
        "overlap": settings.overlap,
        "by": settings.by,
        "tokenizer": build.module.engines.get("tokenizer"),
    }
    return {"chunks": Ref(build.add("chunk", inputs, config), "chunks")}


CHUNK = ModuleDefinition(
    name="chunk",
    doc="Cut documents into chunks.",
    values={
        "documents": Value((parse_type("list<document>"),), "What to cut"),
        "meta": Value((parse_type("json"),), "Added to the meta of each chunk", required=False),
    },
    settings=ChunkSettings,
    outputs=lambda _: {"chunks": parse_type("list<chunk>")},
    lower=lower,
    engines=("tokenizer",),
    problems=problems,
)
