"""What each operation does at run time: one file an operation, one line here.

A CPU operation is a function ``compute(inputs, config) -> outputs``; a scan is a class that is fed
item by item; an engine operation turns inputs into an engine's items and results into outputs.
"""

from __future__ import annotations

from teola.runtime.operations.base import CpuOperation, EngineOperation, Scan
from teola.runtime.operations.chunks import Chunk
from teola.runtime.operations.collections import Fuse, Ingest, KeywordSearch, Search
from teola.runtime.operations.lists import (
    Cast,
    Cited,
    Concat,
    Convert,
    Distinct,
    Flatten,
    Take,
    Top,
    Windows,
    Wrap,
)
from teola.runtime.operations.models import Embed, Score

CPU: dict[str, CpuOperation] = {
    "cast": Cast(),
    "chunk": Chunk(),
    "cited": Cited(),
    "convert": Convert(),
    "flatten": Flatten(),
    "fuse": Fuse(),
    "top": Top(),
    "wrap": Wrap(),
}
"""Operations that run here, on all their inputs or on one group."""

SCANS: dict[str, type[Scan]] = {
    "concat": Concat,
    "distinct": Distinct,
    "take": Take,
    "windows": Windows,
}
"""Operations that run here, item by item."""

ENGINE: dict[str, EngineOperation] = {
    "embed": Embed(),
    "ingest": Ingest(),
    "keyword_search": KeywordSearch(),
    "score": Score(),
    "search": Search(),
}
"""Operations that run on a batching engine; LLM calls are units of their own."""
