"""What an index of vectors is, and how it is searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Metric: TypeAlias = Literal["cosine", "inner_product", "l2"]

EXACT_ROWS = 4096
"""So few vectors are all compared, whatever the index: a graph or clusters would miss most."""


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """What an index is, and how it is searched. ``nlist``: None is as many clusters as four times
    the root of the number of vectors, as FAISS's guidelines have it."""

    kind: Literal["flat", "hnsw", "ivf"] = "flat"
    metric: Metric = "cosine"
    m: int = 32
    ef_construction: int = 200
    ef_search: int = 64
    nlist: int | None = None
    nprobe: int = 16
    device: str = "cpu"

    @property
    def gpu(self) -> int | None:
        """The number of the GPU that compares, if one does."""
        return None if self.device == "cpu" else int(self.device.partition(":")[2] or 0)

    @staticmethod
    def of(config: Mapping[str, Any]) -> IndexSettings:
        """Those of an engine."""
        names = ("metric", "m", "ef_construction", "ef_search", "nlist", "nprobe", "device")
        given = {name: config[name] for name in names if config.get(name) is not None}
        return IndexSettings(config.get("index") or "flat", **given)

    def fixed(self) -> dict[str, Any]:
        """What cannot change once there are vectors in the index, as JSON data."""
        parameters: Mapping[str, dict[str, Any]] = {
            "flat": {},
            "hnsw": {"m": self.m, "ef_construction": self.ef_construction},
            "ivf": {"nlist": self.nlist},
        }
        return {"index": self.kind, "metric": self.metric, **parameters[self.kind]}
