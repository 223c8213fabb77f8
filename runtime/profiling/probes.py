"""Which probe measures which operation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from teola.compiler.graph.operations import OPERATIONS
from teola.compiler.graph.pgraph import Json, PGraph, Primitive
from teola.runtime.profiling.calls import Decode, Prefill
from teola.runtime.profiling.chunking import Chunk
from teola.runtime.profiling.collections import Ingest, KeywordSearch, Search
from teola.runtime.profiling.errors import MeasureError
from teola.runtime.profiling.items import Embed, Score
from teola.runtime.profiling.probe import Probe, Subject

PROBES: dict[str, Callable[[Subject], Probe]] = {
    "decode": Decode,
    "embed": Embed,
    "ingest": Ingest,
    "keyword_search": KeywordSearch,
    "prefill": Prefill,
    "score": Score,
    "search": Search,
}
"""How each operation that runs on an engine is measured."""
COUNTING = ("embedder", "llm")
"""Kinds of engines that have a tokenizer."""


def operations_of(kind: str) -> list[str]:
    """The operations of the table that run on engines of a kind; a hint is not worth measuring."""
    return [row.name for row in OPERATIONS.values() if row.engine_kind == kind and not row.hint]


async def probe_of(operation: str, subject: Callable[[], Awaitable[Subject]]) -> Probe:
    """The probe of an operation; its engine is started for it.

    Raises:
        MeasureError: nobody knows how to measure it.
    """
    if operation not in PROBES:
        raise MeasureError(f"there is no way to measure it, only {', '.join(sorted(PROBES))}")
    return PROBES[operation](await subject())


async def chunk_probe(
    config: Mapping[str, Json], subject: Callable[[], Awaitable[Subject]]
) -> Probe:
    """The probe of chunking with these settings, counting as this engine does."""
    found = await subject()
    limit = found.capabilities.limit or found.capabilities.context
    return Chunk(config, found.tokenizer(), limit)


def chunk_of(graph: PGraph) -> tuple[str, Mapping[str, Json]] | None:
    """The first chunking of a graph: the engine whose tokenizer counts for it (where it counts
    characters, any that has one), and its settings."""
    for node in graph.nodes:
        if isinstance(node, Primitive) and node.operation == "chunk":
            able = [name for name, one in graph.engines.items() if one["kind"] in COUNTING]
            name = node.config.get("tokenizer") or next(iter(able), None)
            return (str(name), node.config) if name else None
    return None
